package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/resource"
)

// withoutNodes mounts the container's root, or a tmpfs on /mnt, with nodev.
func withoutNodes(t testing.TB, h *fakeContainer, target *resource.Target, point string) {
	t.Helper()
	at := "/"
	if !strings.HasSuffix(h.root, "/root") {
		at = h.image
	}
	must(t, target.NS.Do(func() error {
		if point != "/" {
			return unix.Mount("tmpfs", filepath.Join(at, point), "tmpfs", unix.MS_NODEV, "mode=755")
		}
		var fs unix.Statfs_t // its flags are locked, in a user namespace
		if err := unix.Statfs(at, &fs); err != nil {
			return err
		}
		flags := uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NOEXEC)
		return unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NODEV|flags, "")
	}))
}

// zero is a device that anybody may open.
func zero(container string) devices.Device {
	return devices.Device{Type: "c", Major: 1, Minor: 5, PathOnHost: "/dev/zero", PathInContainer: container, CgroupPermissions: "rw"}
}

func TestANodeOnAMountWithoutNodesIsBound(t *testing.T) {
	for _, c := range []struct {
		name, point, path string
		options           []option
	}{
		{"the root", "/", "/opt/a/zero", nil},
		{"the root, when it runs", "/", "/opt/a/zero", []option{pivoted}},
		{"another mount", "/mnt", "/mnt/zero", nil},
		{"another mount, when it runs", "/mnt", "/mnt/zero", []option{pivoted}},
		{"the root, user namespace", "/", "/opt/a/zero", []option{userns}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !canShare(c.options) {
				return
			}
			h := hold(t, nil, c.options...)
			own := hostOwner
			if has(c.options, userns) {
				own = resource.MappedRoot{UID: mappedRoot, GID: mappedRoot}
			}
			target := h.target(t, own)
			target.UserNS = has(c.options, userns)
			withoutNodes(t, h, target, c.point)
			h.keepLedger(t, target)
			must(t, share(t, target))
			for _, d := range []devices.Device{zero(c.path), zero("/dev/plain")} {
				for range 2 { // what is real already is left as it is
					must(t, addDevice(t, target, d))
				}
				must(t, devices.Kind.Verify(t.Context(), target, d))
				f, err := os.Open(h.root + d.PathInContainer)
				must(t, err)
				must(t, f.Close())
				bound := strings.Contains(h.mountsOf(t), d.PathInContainer+" ")
				if want := d.PathInContainer == c.path || target.UserNS; bound != want || !devices.Binds(h.id) {
					t.Errorf("%s is bound: %v, want %v", d.PathInContainer, bound, want)
				}
			}
			for _, d := range []devices.Device{zero(c.path), zero("/dev/plain")} {
				removeDevice(t, target, d)
				gone(t, h.root+d.PathInContainer)
			}
			if strings.Contains(h.mountsOf(t), c.path) || devices.Binds(h.id) {
				t.Errorf("the bound node is left:\n%s", h.mountsOf(t))
			}
		})
	}
}

func TestANodeThatCannotBeBoundEitherIsRefused(t *testing.T) {
	h := hold(t, nil, pivoted)
	target := h.target(t, hostOwner)
	withoutNodes(t, h, target, "/")
	target.NoSharedPath = errTest
	before := tree(t, h.root+"/etc")
	err := addDevice(t, target, zero("/etc/a/zero"))
	if err == nil || !strings.Contains(err.Error(), "nodev") || !strings.Contains(err.Error(), "choose a path below /dev") || !strings.Contains(err.Error(), errTest.Error()) {
		t.Errorf("got %v, want what to do about nodev", err)
	}
	if after := tree(t, h.root+"/etc"); after != before || strings.Contains(h.allowed(t), "1:5") {
		t.Errorf("refused, but the container has\n%s\nand may use\n%s", after, h.allowed(t))
	}
	must(t, addDevice(t, target, zero("/dev/zero"))) // a tmpfs where nodes work
}

// A node that the image has there is of no use, and stays the image's.
func TestANodeIsBoundOntoAnotherThatDoesNotWork(t *testing.T) {
	h := hold(t, func(image string) {
		must(t, sandbox.Mknod(filepath.Join(image, "mnt/zero"), unix.S_IFCHR|0o600, 1, 5, 7, 7))
	}, imageDev)
	target := h.target(t, hostOwner)
	withoutNodes(t, h, target, "/")
	h.keepLedger(t, target)
	must(t, share(t, target))
	d := zero("/mnt/zero")
	d.Own = d.HadBefore(target)
	must(t, target.Ledger.Intend(devices.Kind.Name, nil, d))
	must(t, addDevice(t, target, d))
	f, err := os.Open(h.root + "/mnt/zero")
	must(t, err)
	must(t, f.Close())
	removeDevice(t, target, d)
	node(t, h.root+"/mnt/zero", "c 0600 7:7 1:5")
	if left := h.mountsOf(t); strings.Contains(left, "/mnt/zero ") {
		t.Errorf("it is still bound:\n%s", left)
	}
}

func TestAStartBindsNodesOnAMountWithoutNodes(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		if !canShare(options) {
			return
		}
		h := hold(t, nil, options...)
		withoutNodes(t, h, h.target(t, hostOwner), "/")
		write(t, h.image+"/opt/zero", "") // as an earlier start left it
		b := inBundle(t, h, asJSON(t, map[string]any{"deviceToAdd": []devices.Device{zero("/opt/zero"), zero("/opt/b/zero")}}))
		for range 2 { // the second changes nothing
			if o := b.hook(t, "prestart"); o.code != 0 || o.said != "" {
				t.Fatalf("prestart: %d, %s", o.code, o.said)
			}
		}
		for _, p := range []string{"/opt/zero", "/opt/b/zero"} {
			f, err := os.Open(h.root + p)
			must(t, err)
			must(t, f.Close())
		}
		if o := b.hook(t, "poststop"); o.code != 0 || o.said != "" {
			t.Errorf("poststop: %d, %s", o.code, o.said)
		}
		if devices.Binds(h.id) {
			t.Error("a node is left on the host")
		}
	})
}
