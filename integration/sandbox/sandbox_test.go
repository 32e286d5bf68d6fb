package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

func TestContainerSeesItsBundle(t *testing.T) {
	// The folder itself stays: an overlay whose layer below changes, as under an iSulad
	// that is just installed, may show that one's when ours goes.
	const graph = "/var/lib/isulad"
	if err := os.MkdirAll(graph, 0o755); err != nil {
		t.Fatal(err)
	}
	before := fingerprint(t)
	id := strings.Repeat("ab", 32)
	dir := filepath.Join(graph, "engines/runc", id)
	if err := sandbox.Rootfs(filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "hook-ran")
	b := &sandbox.Bundle{
		Dir: dir, ID: id, Env: []string{"GREETING=hello"},
		Hooks: sandbox.Hooks{Prestart: []sandbox.Hook{{Path: "/bin/busybox", Args: []string{"touch", mark}}}},
	}
	if err := sandbox.WriteBundle(b); err != nil {
		t.Fatal(err)
	}
	var runc sandbox.Runc
	if err := runc.Run(id, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("prestart hook did not run: %v", err)
	}
	out, err := runc.Exec(id, "/bin/sh", "-c", "echo $GREETING; cat /proc/1/comm; ls /dev/fuse")
	if err == nil || !strings.HasPrefix(out, "hello\nsleep\n") {
		t.Errorf("exec: %q, %v; want greeting, sleep, and no /dev/fuse", out, err)
	}
	s, err := runc.State(id)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := runc.Pid(id); err != nil || pid != s.Pid {
		t.Errorf("pid: got %d, %v, want %d as the state says", pid, err, s.Pid)
	}
	tree, err := sandbox.ContainerTree(s.Pid, "/")
	if err != nil {
		t.Fatal(err)
	}
	if got := tree["/dev/null"].String(); got != "c 0666 0:0 1:3" {
		t.Errorf("/dev/null in the container is %q", got)
	}
	rules, err := sandbox.Devices(filepath.Join(sandbox.CgroupParent(), id))
	if !sandbox.Unified() && (err != nil || !slices.Contains(rules, "c 1:3 rwm") || slices.Contains(rules, "a *:* rwm")) {
		t.Errorf("devices.list: %q, %v", rules, err)
	}
	if diff := before.Diff(fingerprint(t), "file /run/runc"); len(diff) == 0 {
		t.Error("the fingerprint does not show a running container")
	}
	if err := runc.Stop(id); err != nil {
		t.Fatal(err)
	}
	if pid, err := runc.Pid(id); err == nil || !runc.Knows(id) {
		t.Errorf("pid of a stopped container: got %d, %v, want an error", pid, err)
	}
	if err := runc.Delete(id); err != nil {
		t.Fatal(err)
	}
	if runc.Knows(id) {
		t.Error("a deleted container is known")
	}
	if err := os.RemoveAll(filepath.Join(graph, "engines")); err != nil {
		t.Fatal(err)
	}
	if diff := before.Diff(fingerprint(t), "file /run/runc"); len(diff) != 0 {
		t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
	}
}

func TestHeldContainerIsNotPivotedYet(t *testing.T) {
	const id = "held"
	dir := t.TempDir()
	if err := sandbox.Rootfs(filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	var runc sandbox.Runc
	runc.DeleteAtEnd(t, id)
	h, err := runc.CreateHeld(&sandbox.Bundle{Dir: dir, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := h.Tree()
	if err != nil {
		t.Error(err)
	}
	if got := tree["/dev/null"].String(); got != "c 0666 0:0 1:3" {
		t.Errorf("/dev/null in the held container is %q", got)
	}
	if _, err := sandbox.Lstat(filepath.Join(h.Root, "dev/null")); err == nil {
		t.Error("the container's /dev is visible from the host")
	}
	if err := h.Release(0); err != nil {
		t.Fatal(err)
	}
	if s, err := runc.State(id); err != nil || s.Status != specs.StateCreated || s.Pid != h.Pid {
		t.Errorf("state after release: %+v, %v", s, err)
	}
}

func TestHeldContainerCanFail(t *testing.T) {
	dir := t.TempDir()
	if err := sandbox.Rootfs(filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	var runc sandbox.Runc
	h, err := runc.CreateHeld(&sandbox.Bundle{Dir: dir, ID: "failing"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(3); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("runc says %v, want the hook's status", err)
	}
	if _, err := runc.State("failing"); err == nil {
		t.Error("the container exists although its hook failed")
	}
}

func TestUserNamespace(t *testing.T) {
	const id = "mapped"
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "rootfs")
	if err := sandbox.Rootfs(root); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, 100000, 100000)
	})
	if err != nil {
		t.Fatal(err)
	}
	maps := []sandbox.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	if err := sandbox.WriteBundle(&sandbox.Bundle{Dir: dir, ID: id, UID: maps, GID: maps}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var runc sandbox.Runc
	runc.DeleteAtEnd(t, id)
	if err := runc.Run(id, dir); err != nil {
		t.Fatal(err)
	}
	out, err := runc.Exec(id, "/bin/sh", "-c", "id -u; awk '{print $2}' /proc/self/uid_map")
	if err != nil || out != "0\n100000\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	// PID 1 of a PID namespace ignores what it does not handle.
	if err := runc.Kill(id, "TERM"); err != nil {
		t.Error(err)
	}
	if s, err := runc.State(id); err != nil || s.Status != specs.StateRunning {
		t.Errorf("after SIGTERM: %+v, %v", s, err)
	}
}

func TestWorldIsPrivate(t *testing.T) {
	mounts, err := sandbox.Mounts(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		line := sandbox.MountLine(m)
		if !strings.Contains(line, "prop=shared") {
			t.Errorf("not shared: %s", line)
		}
		if strings.Contains(m.Mountpoint, "isulad-sandbox-") {
			t.Errorf("staging is visible: %s", line)
		}
		if m.Mountpoint == "/" && m.FSType != "overlay" {
			t.Errorf("root is not a layer: %s", line)
		}
	}
	if err := os.Chown("/dev/null", 1, 1); err != nil {
		t.Fatal(err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs("/dev", &s); err != nil || s.Type != unix.TMPFS_MAGIC {
		t.Errorf("/dev is %#x, %v; want tmpfs", s.Type, err)
	}
	if os.Getpid() == 1 {
		t.Error("the tests are PID 1 and would not reap")
	}
}

func fingerprint(t *testing.T) sandbox.Fingerprint {
	t.Helper()
	f, err := sandbox.TakeFingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestABundleHasNothingOfTheRecordedContainer(t *testing.T) {
	for name, b := range map[string]*sandbox.Bundle{
		"an ordinary container": {ID: "ordinary"},
		"a system container":    {ID: "system", System: true},
	} {
		t.Run(name, func(t *testing.T) {
			b.Dir = t.TempDir()
			if err := sandbox.WriteBundle(b); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(b.Dir, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"592419e58e91", "3ff9041b5e1c", "/root/myrootfs", "/opt/test", "ip_vs", "engines/"} {
				if strings.Contains(string(text), word) {
					t.Errorf("it has %q: %s", word, text)
				}
			}
			for _, word := range []string{`"swappiness":18446744073709551615`, `{"access":"rwm","allow":true,"major":10,"minor":200,"type":"c"}`} {
				if !strings.Contains(string(text), word) {
					t.Errorf("it has not %s: %s", word, text)
				}
			}
		})
	}
}
