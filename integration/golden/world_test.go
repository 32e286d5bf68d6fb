package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// world is the sandbox, furnished like the recorder's host. Every case starts
// from and leaves the same world.
type world struct {
	runc   sandbox.Runc
	loop   int                 // minor number of the loop device that stands for the recorder's
	mounts map[int]bool        // ids of the mounts that belong here
	before sandbox.Fingerprint // when no case runs
}

// Directories of this package's own, which no program under test looks at.
const (
	ownDir    = "/run/golden"
	sysBlock  = "/sys/dev/block"
	bundleDir = "/run/golden/bundle" // what runc reads; the hook's config.json is elsewhere
)

// strays are what cases and programs under test leave behind.
var strays = []string{
	"/.sharedpath", "/goldhost", "/srv/graph", "/var/lib/isulad/engines", "/var/lib/isulad/engines/lcr_", "/etc/selinux",
	callsDir, bundleDir, modprobeLoads, "/run/mount", "/var/log/hyperagent", "/dev/zram0",
}

// newWorld puts the programs under test and the stand-ins in place.
func newWorld(t *testing.T) *world {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	for name := range standIns {
		for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
			check(t, os.RemoveAll(filepath.Join(dir, name)))
		}
		check(t, os.Symlink(self, filepath.Join("/usr/sbin", name)))
	}
	binary, err := os.ReadFile(sandbox.Binary(t))
	check(t, err)
	for _, dir := range []string{"/var/lib/isulad/hooks", "/etc/udev/rules.d", ownDir} {
		check(t, os.MkdirAll(dir, 0o755))
	}
	for _, n := range generations {
		check(t, os.WriteFile(filepath.Join("/var/lib/isulad/hooks", n.hook), binary, 0o755))
		check(t, os.WriteFile(filepath.Join("/usr/local/bin", n.tool), binary, 0o755))
	}
	check(t, unix.Mount("tmpfs", sysModule, "tmpfs", 0, "mode=755"))

	syslog(t)

	w := &world{runc: sandbox.Runc{Root: ownDir + "/runc"}, loop: sandbox.Loop(t, 16<<20), mounts: map[int]bool{}}
	check(t, w.addDisk())
	w.clear(t)
	list, err := sandbox.Mounts(0)
	check(t, err)
	for _, m := range list {
		w.mounts[m.ID] = true
	}
	w.before = w.fingerprint(t)
	return w
}

// addDisk puts the recorder's disk, zram0 with the number 253:0, into sysfs in
// place of whatever has that number here. Nobody opens it.
func (w *world) addDisk() error {
	entries, err := os.ReadDir(sysBlock)
	if err != nil {
		return err
	}
	links := map[string]string{}
	for _, e := range entries {
		if links[e.Name()], err = os.Readlink(filepath.Join(sysBlock, e.Name())); err != nil {
			return err
		}
	}
	links["253:0"] = "disk/zram0"
	if err := unix.Mount("tmpfs", sysBlock, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(sysBlock, name)); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(sysBlock, "disk/zram0"), 0o755)
}

// loopNode is the node of the loop device.
func (w *world) loopNode() string { return fmt.Sprintf("/dev/loop%d", w.loop) }

// syslog is the socket that hooks log to; what it gets need not agree.
func syslog(t *testing.T) {
	t.Helper()
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	check(t, err)
	t.Cleanup(func() { check(t, log.Close()) })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			if _, err := log.Read(buf); err != nil {
				return
			}
		}
	}()
}

// prepare makes the world of one case, up to its shell commands. Cleaning up
// includes the proof that the host is as it was.
func (w *world) prepare(t *testing.T, c *testCase) {
	t.Helper()
	t.Cleanup(func() {
		w.clear(t)
		if diff := w.before.Diff(w.fingerprint(t)); len(diff) > 0 {
			t.Errorf("the host changed for good:\n%s", strings.Join(diff, "\n"))
		}
	})
	check(t, os.MkdirAll(callsDir, 0o755))
	check(t, w.makeGoldhost())
	check(t, sandbox.Rootfs(filepath.Join(c.dir(), "rootfs")))
	check(t, os.WriteFile(filepath.Join(c.dir(), "rootfs/etc/hostname"), []byte("gold\n"), 0o644))
	if text, ok := c.resourceFile(); ok {
		check(t, os.WriteFile(filepath.Join(c.dir(), "device_hook.json"), []byte(text), 0o600))
	}
}

// makeGoldhost makes the recorder's scratch folder and the block devices that
// its cases name.
func (w *world) makeGoldhost() error {
	for _, dir := range []string{"/goldhost/dir", "/goldhost/dir2"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"dir/f": "f\n", "file1": "f1\n", "regular": "regular\n"} {
		if err := os.WriteFile(filepath.Join("/goldhost", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"link0": "/goldhost/chr0", "dirlink": "/goldhost/dir", "broken": "/goldhost/nothing"} {
		if err := os.Symlink(target, filepath.Join("/goldhost", name)); err != nil {
			return err
		}
	}
	return errors.Join(
		sandbox.Mknod("/goldhost/chr0", unix.S_IFCHR|0o666, 1, 3, 0, 0),
		sandbox.Mknod("/goldhost/chr1", unix.S_IFCHR|0o640, 10, 229, 1000, 1001),
		sandbox.Mknod("/goldhost/chr3", unix.S_IFCHR|0o666, 1, 5, 0, 0),
		sandbox.Mknod("/goldhost/blkX", unix.S_IFBLK|0o660, 7, uint32(w.loop), 0, 6),
		sandbox.Mknod(w.loopNode(), unix.S_IFBLK|0o660, 7, uint32(w.loop), 0, 0),
		sandbox.Mknod("/dev/zram0", unix.S_IFBLK|0o600, 253, 0, 0, 0),
	)
}

// bundle is the container of the case as runc gets it.
func (c *testCase) bundle() *sandbox.Bundle {
	return &sandbox.Bundle{
		Dir: bundleDir, ID: containerID, Root: filepath.Join(c.dir(), "rootfs"), CgroupsPath: c.cgroup(),
		Edit: func(spec map[string]any) {
			// The recorder's containers used the files of their root.
			mounts, _ := spec["mounts"].([]sandbox.Mount)
			spec["mounts"] = slices.DeleteFunc(mounts, func(m sandbox.Mount) bool {
				// The kernel refuses sysfs to a user namespace where, as here,
				// something covers a part of it.
				return strings.HasPrefix(m.Destination, "/etc/") || c.userNamespace() && strings.HasPrefix(m.Destination, "/sys")
			})
			merge(spec, c.Setup.SpecExtras)
		},
	}
}

// writeSpec writes the config.json that the hook reads.
func (c *testCase) writeSpec() error {
	if c.Setup.SpecOverrides == "MISSING" {
		return nil
	}
	b := c.bundle()
	edit := b.Edit
	b.Dir = c.dir()
	b.Edit = func(spec map[string]any) {
		edit(spec)
		if o, ok := c.Setup.SpecOverrides.(map[string]any); ok {
			merge(spec, o)
		}
	}
	return sandbox.WriteBundle(b)
}

// merge puts what is in extra into spec; objects are merged, the rest replaced.
func merge(spec, extra map[string]any) {
	for k, v := range extra {
		have, ok1 := spec[k].(map[string]any)
		add, ok2 := v.(map[string]any)
		if ok1 && ok2 {
			merge(have, add)
		} else {
			spec[k] = v
		}
	}
}

// describe tells isula's stand-in about the container.
func (c *testCase) describe(pid int) error {
	file := func(name string) string { return filepath.Join(c.dir(), name) }
	data, err := json.MarshalIndent([]any{map[string]any{
		"Id": containerID, "Name": containerName,
		"State":   map[string]any{"Pid": pid, "Running": pid > 0},
		"LogPath": file("console.log"), "HostsPath": file("hosts"), "ResolvConfPath": file("resolv.conf"),
		"HostConfig": map[string]any{"Runtime": "lcr", "CgroupParent": c.Setup.CgroupParent, "SystemContainer": true},
	}}, "", "    ")
	if err != nil {
		return err
	}
	return os.WriteFile(isulaFile, data, 0o600)
}

// shell runs the recorder's commands.
func shell(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("setup %q: %v: %s", line, err, out)
		}
	}
}

// clear takes everything away that did not belong to the empty world.
func (w *world) clear(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(w.runc.Root, containerID)); err == nil {
		check(t, w.runc.Delete(containerID))
	}
	if len(w.mounts) > 0 {
		list, err := sandbox.Mounts(0)
		check(t, err)
		for _, m := range slices.Backward(list) {
			if !w.mounts[m.ID] {
				// Gone already when it was below another one.
				if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
					t.Errorf("umount %s: %v", m.Mountpoint, err)
				}
			}
		}
		// A case makes / private.
		check(t, unix.Mount("", "/", "", unix.MS_SHARED, ""))
	}
	clearLinks(t)
	gone := append(slices.Clone(strays), w.loopNode())
	for _, n := range generations {
		gone = append(gone, n.runDir(), n.rules())
	}
	modules, err := filepath.Glob(sysModule + "/*")
	check(t, err)
	for _, p := range append(gone, modules...) {
		check(t, os.RemoveAll(p))
	}
}

// clearLinks deletes every link but lo; the second end of a pair goes with
// the first.
func clearLinks(t *testing.T) {
	t.Helper()
	links, err := net.Interfaces()
	check(t, err)
	for _, l := range links {
		if _, err := net.InterfaceByName(l.Name); err != nil || l.Name == "lo" {
			continue
		}
		if out, err := exec.Command("ip", "link", "delete", l.Name).CombinedOutput(); err != nil {
			t.Errorf("delete link %s: %v: %s", l.Name, err, out)
		}
	}
}

// fingerprint is taken when no case runs; runc's and our own files do not count.
func (w *world) fingerprint(t *testing.T) sandbox.Fingerprint {
	t.Helper()
	f, err := sandbox.TakeFingerprint("/goldhost")
	check(t, err)
	maps.DeleteFunc(f, func(k, _ string) bool {
		return strings.HasPrefix(k, "file "+ownDir) || strings.HasPrefix(k, "cgroup ")
	})
	return f
}

// check ends the test when the harness itself fails.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fmt.Errorf("harness: %w", err))
	}
}
