package units

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
)

func descriptors(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(fds)
}

// noCollector keeps files that were forgotten from being closed by the garbage
// collector, until the test ends.
func noCollector(t testing.TB) {
	t.Helper()
	old := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(old) })
	runtime.GC() // what earlier tests forgot is closed now, not later
	for before := -1; before != descriptors(t); {
		before = descriptors(t)
		time.Sleep(20 * time.Millisecond)
	}
}

// A descriptor of a container that stays open keeps its mounts, and the process
// that keeps it may be the command line of somebody else's long program.
func TestNothingIsLeftOpen(t *testing.T) {
	h, target := shared(t, func(image string) { write(t, image+"/etc/file", "image") })
	noCollector(t)
	dir, elsewhere, d := hostDir(t), hostDir(t), fuse(t, "/dev/a/node")
	below := d
	below.PathInContainer = "/etc/file/node"
	must(t, addDevice(t, target, d)) // opens the cgroup's file, once for the target
	target.Root.Leave()
	for _, c := range []struct {
		what  string
		fails bool
		do    func() error
	}{
		{"add a device that is there", false, func() error { return addDevice(t, target, d) }},
		{"add a device in place of a file", false, func() error {
			must(t, os.Remove(h.root+"/dev/a/node"))
			must(t, os.WriteFile(h.root+"/dev/a/node", nil, 0o600))
			return addDevice(t, target, d)
		}},
		{"add a device below a file", true, func() error { return addDevice(t, target, below) }},
		{"verify a device", false, func() error { return devices.Kind.Verify(t.Context(), target, d) }},
		{"verify none", true, func() error { return devices.Kind.Verify(t.Context(), target, below) }},
		{"add a path", false, func() error { return addPath(t, target, dir, "/mnt/x", "ro,rslave") }},
		{"add it elsewhere", false, func() error { return addPath(t, target, dir, "/mnt/y", "ro,rslave") }},
		{"add a file", false, func() error { return addPath(t, target, dir+"/file", "/mnt/file", "ro") }},
		{"add a path below a file", true, func() error { return addPath(t, target, hostDir(t), "/etc/file/x", "rw") }},
		{"add a path that dangles", true, func() error {
			must(t, os.Symlink("nowhere", dir+"/link"))
			return addPath(t, target, dir+"/link", "/mnt/z", "rw")
		}},
		{"hide a path", false, func() error {
			return target.NS.Do(func() error { return unix.Mount("tmpfs", h.image+"/mnt/y", "tmpfs", 0, "") })
		}},
		{"remove what is hidden", true, func() error { return mounts.Kind.Remove(t.Context(), target, bindOf(dir, "/mnt/y")) }},
		{"remove a path", false, func() error { return mounts.Kind.Remove(t.Context(), target, bindOf(dir+"/file", "/mnt/file")) }},
		{"remove one that is gone", false, func() error { return mounts.Kind.Remove(t.Context(), target, bindOf(elsewhere, "/nowhere")) }},
		{"remove one whose host path is gone", false, func() error {
			return mounts.Kind.Remove(t.Context(), target, bindOf(dir+"/gone/x", "/etc"))
		}},
		{"remove one on the root", false, func() error {
			target.Pivoted = true
			defer func() { target.Pivoted = false }()
			return mounts.Kind.Remove(t.Context(), target, bindOf(elsewhere, "/"))
		}},
		{"settle", false, func() error {
			return mounts.Kind.Reconcile(t.Context(), target, []mounts.Bind{bindOf(dir, "/mnt/x")}, []mounts.Bind{bindOf(dir, "/mnt")})
		}},
		{"make a host path", true, func() error { return mounts.MakeHost(nil, mounts.Container{}, dir+"/link/x", rootfs.Owner{}) }},
		{"verify a path", false, func() error { return hasPath(t, target, dir, "/mnt/x") }},
		{"verify no path", true, func() error { return hasPath(t, target, dir, "/etc") }},
		{"clean", false, func() error { return mounts.PurgeStaging(h.id) }},
		{"pin", false, func() error { return network.Pin(place.Isulad, h.id, h.pid) }},
		{"unpin", false, func() error { return network.Unpin(h.id) }},
		{"pin nobody", true, func() error { return network.Pin(place.Isulad, h.id, 1<<30) }},
		{"record a start", false, func() error { return container.WriteStart(place.Isulad, h.id, container.Start{}) }},
		{"read it", false, func() error { _, err := container.ReadStart(h.id); return err }},
		{"forget it", false, func() error { return container.RemoveStart(h.id) }},
		{"enter nobody", true, func() error { _, err := nsenter.EnterMount(1<<30, "nobody", nil); return err }},
		{"write a file", false, func() error { return atomicfile.Write(dir, "f", nil, 0o600) }},
		{"write in place of a folder", true, func() error {
			return errors.Join(os.MkdirAll(dir+"/full/x", 0o700), atomicfile.Write(dir, "full", nil, 0o600))
		}},
		{"load a resource file", false, func() error { _, err := config.Load(dir); return err }},
		{"lock twice", true, func() error {
			l, err := config.LockContainer(t.Context(), dir, 0)
			must(t, err)
			defer l.Unlock()
			_, err = config.LockContainer(t.Context(), dir, 0)
			return err
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := descriptors(t)
			if err := c.do(); (err != nil) != c.fails {
				t.Errorf("%s: %v", c.what, err)
			}
			target.Root.Leave() // the directory of the last node is kept for the next
			if after := descriptors(t); after != before {
				t.Errorf("%s: %d descriptors before, %d after", c.what, before, after)
			}
		})
	}

	other := hold(t, nil).target(t, hostOwner)
	before := descriptors(t)
	must(t, share(t, other))
	if after := descriptors(t); after != before {
		t.Errorf("share: %d descriptors before, %d after", before, after)
	}
}
