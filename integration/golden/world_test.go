package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
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
	loops  loops
	mounts map[int]bool        // ids of the mounts that belong here
	before sandbox.Fingerprint // when no case runs
}

// Directories of this package's own, which no program under test looks at.
const (
	ownDir    = "/run/golden"
	bundleDir = "/run/golden/bundle" // what runc reads; the hook's config.json is elsewhere
)

// strays are what cases and programs under test leave behind.
var strays = []string{
	"/.sharedpath", "/goldhost", "/srv/graph", "/var/lib/isulad/engines", "/var/lib/isulad/engines/lcr_", "/etc/selinux",
	callsDir, bundleDir, modprobeLoads, "/run/mount", "/var/log/hyperagent", "/var/lib/fakeisula",
}

// newWorld puts the programs under test and the stand-ins in place.
func newWorld(t *testing.T) *world {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	for name, s := range standIns {
		for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
			check(t, os.RemoveAll(filepath.Join(dir, name)))
		}
		for _, dir := range s.dirs {
			check(t, os.MkdirAll(dir, 0o755))
			check(t, os.Symlink(self, filepath.Join(dir, name)))
		}
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

	w := &world{runc: sandbox.Runc{Root: ownDir + "/runc"}, loops: loops{sandbox.Loop(t, 16<<20), sandbox.Loop(t, 16<<20)}, mounts: map[int]bool{}}
	check(t, w.makeBlockDevices())
	w.clear(t)
	list, err := sandbox.Mounts(0)
	check(t, err)
	for _, m := range list {
		w.mounts[m.ID] = true
	}
	w.before = w.fingerprint(t)
	return w
}

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
	check(t, w.makeDisk(strings.Contains(c.Env["PATH"], lsblkSaysDisk)))
	if c.network() {
		makeBridges(t)
	}
	if c.Setup.Container == "absent" {
		return
	}
	check(t, os.MkdirAll(c.dir(), 0o755))
	if c.Kind != "cli" || c.Setup.Container == "running" {
		check(t, sandbox.Rootfs(filepath.Join(c.dir(), "rootfs")))
		check(t, os.WriteFile(filepath.Join(c.dir(), "rootfs/etc/hostname"), []byte("gold\n"), 0o644))
	}
	if text, ok := c.resourceFile(); ok {
		check(t, os.WriteFile(filepath.Join(c.dir(), "device_hook.json"), []byte(text), 0o600))
	}
}

// makeGoldhost makes the recorder's scratch folder.
func (w *world) makeGoldhost() error {
	for _, dir := range []string{"/goldhost/dir", "/goldhost/dir2"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"dir/f": "f\n", "file1": "fb\n", "regular": "regular\n"} {
		if err := os.WriteFile(filepath.Join("/goldhost", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"link0": "/goldhost/chr0", "dirlink": "/goldhost/dir", "broken": "/goldhost/nothere"} {
		if err := os.Symlink(target, filepath.Join("/goldhost", name)); err != nil {
			return err
		}
	}
	return errors.Join(
		sandbox.Mknod("/goldhost/chr0", unix.S_IFCHR|0o666, 1, 3, 0, 0),
		sandbox.Mknod("/goldhost/chr1", unix.S_IFCHR|0o640, 10, 229, 1000, 1001),
		sandbox.Mknod("/goldhost/chr3", unix.S_IFCHR|0o640, 1, 5, 1000, 1001),
		sandbox.Mknod("/goldhost/blkX", unix.S_IFBLK|0o660, 7, uint32(w.loops[1]), 0, 6),
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
	gone := append(slices.Clone(strays), w.diskNodes()...)
	for _, n := range generations {
		gone = append(gone, n.runDir(), n.rules())
	}
	modules, err := filepath.Glob(sysModule + "/*")
	check(t, err)
	for _, p := range append(gone, modules...) {
		check(t, os.RemoveAll(p))
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
