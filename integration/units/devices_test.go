package units

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/resource"
)

// fuse makes a character device on the host, with a mode and an owner that
// nothing else has, and the record that gives it to a container.
func fuse(t testing.TB, container string) devices.Device {
	t.Helper()
	host := filepath.Join(t.TempDir(), "node")
	must(t, sandbox.Mknod(host, unix.S_IFCHR|0o640, 10, 229, 3, 4))
	return devices.Device{Type: "c", Major: 10, Minor: 229, PathOnHost: host, PathInContainer: container, CgroupPermissions: "rw"}
}

const (
	fuseNode = "c 0640 3:4 10:229"
	fuseRule = "c 10:229 rw"
)

func addDevice(t testing.TB, target *resource.Target, d devices.Device) error {
	t.Helper()
	return devices.Kind.Apply(t.Context(), target, d)
}

// bothRoots runs a test on a container that is not pivoted yet, and on one that is.
func bothRoots(t *testing.T, test func(t *testing.T, options ...option)) {
	t.Run("before pivot_root", func(t *testing.T) { test(t) })
	t.Run("after pivot_root", func(t *testing.T) { test(t, pivoted) })
}

func TestANodeIsTheHostsNodeAgain(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		h := hold(t, nil, options...)
		target := h.target(t, hostOwner)
		d := fuse(t, "/dev/a/b/node")
		if err := devices.Kind.Verify(t.Context(), target, d); err == nil {
			t.Error("verified before it was made")
		}
		defer unix.Umask(unix.Umask(0o777))
		for range 2 { // what is real already is left as it is
			must(t, addDevice(t, target, d))
			must(t, devices.Kind.Verify(t.Context(), target, d))
			node(t, h.root+"/dev/a/b/node", fuseNode)
			node(t, h.root+"/dev/a/b", "d 0755 3:4")
			node(t, h.root+"/dev/a", "d 0755 3:4")
		}
		if rules := h.allowed(t); strings.Count(rules, fuseRule) != 1 {
			t.Errorf("the container may use %q, want %q once", rules, fuseRule)
		}
		// It stands on the container's tmpfs, not on the image's disk below that.
		if entries, err := os.ReadDir(filepath.Join(h.image, "dev")); err != nil || len(entries) != 0 {
			t.Errorf("on the image's disk: %v, %v", entries, err)
		}
	})
}

func TestANodesPathIsTheContainers(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		h := hold(t, func(image string) {
			must(t, os.Symlink("dev", filepath.Join(image, "relative")))
			must(t, os.Symlink("/mnt", filepath.Join(image, "absolute")))
			must(t, os.Symlink("../../../../../../dev", filepath.Join(image, "up")))
		}, options...)
		target := h.target(t, hostOwner)
		for path, at := range map[string]string{
			"/mnt/new/node": "/mnt/new/node", "/relative/r": "/dev/r", "/absolute/a": "/mnt/a", "/up/u": "/dev/u",
			"/../../x": "/x", "/dev//./y": "/dev/y", "/etc/../dev/z": "/dev/z",
		} {
			must(t, addDevice(t, target, fuse(t, path)))
			node(t, h.root+at, fuseNode)
		}
	})
}

func TestWhatStandsInANodesPlaceIsReplaced(t *testing.T) {
	for what, make := range map[string]func(path string) error{
		"a file":               func(p string) error { return os.WriteFile(p, []byte("image"), 0o600) },
		"an empty directory":   func(p string) error { return os.Mkdir(p, 0o700) },
		"another device":       func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 3, 0, 0) },
		"a block device":       func(p string) error { return sandbox.Mknod(p, unix.S_IFBLK|0o600, 10, 229, 0, 0) },
		"a FIFO":               func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a socket":             func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
		"a link to a folder":   func(p string) error { return os.Symlink("/etc", p) },
		"a link to a neighbor": func(p string) error { return os.Symlink("null", p) },
		"a link to itself":     func(p string) error { return os.Symlink("node", p) },
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, nil)
			must(t, sandbox.Mknod(h.root+"/dev/null", unix.S_IFCHR|0o666, 1, 3, 0, 0))
			must(t, make(h.root+"/dev/node"))
			if err := addDevice(t, h.target(t, hostOwner), fuse(t, "/dev/node")); err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			node(t, h.root+"/dev/node", fuseNode)
			node(t, h.root+"/dev/null", "c 0666 0:0 1:3")
		})
	}
}

func TestANodeThatIsTheDeviceAlreadyIsAdopted(t *testing.T) {
	h := hold(t, nil)
	must(t, sandbox.Mknod(h.root+"/dev/node", unix.S_IFCHR|0o777, 10, 229, 9, 9))
	before, err := os.Lstat(h.root + "/dev/node")
	must(t, err)
	must(t, addDevice(t, h.target(t, hostOwner), fuse(t, "/dev/node")))
	node(t, h.root+"/dev/node", fuseNode)
	after, err := os.Lstat(h.root + "/dev/node")
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("it was replaced")
	}
}

func TestTheHostsOwnNodesKeepTheirModeAndOwner(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	d := fuse(t, "/dev/node")
	// A node that is bound into the container is the host's own; this one is not
	// what PathOnHost is, but another node of the same device.
	other := filepath.Join(t.TempDir(), "other")
	must(t, sandbox.Mknod(other, unix.S_IFCHR|0o604, 10, 229, 11, 12))
	for _, host := range []string{other, d.PathOnHost} {
		before, err := sandbox.Lstat(host)
		must(t, err)
		write(t, h.root+"/dev/node", "")
		must(t, target.NS.Do(func() error { return unix.Mount(host, h.image+"/dev/node", "", unix.MS_BIND, "") }))
		must(t, addDevice(t, target, d))
		node(t, host, before.String())
		if err := devices.Kind.Verify(t.Context(), target, d); err != nil {
			t.Errorf("a bound node: %v", err)
		}
		must(t, target.NS.Do(func() error { return unix.Unmount(h.image+"/dev/node", unix.MNT_DETACH) }))
	}
}

func TestTheHostsDevIsNeverChanged(t *testing.T) {
	// A container may have the host's /dev as its own.
	h := hold(t, nil, imageDev)
	target := h.target(t, hostOwner)
	must(t, target.NS.Do(func() error { return unix.Mount("/dev", h.image+"/dev", "", unix.MS_BIND, "") }))
	before := tree(t, "/dev/net")
	d := fuse(t, "/dev/units-node")
	if err := addDevice(t, target, d); err == nil || !strings.Contains(err.Error(), "host directory") {
		t.Errorf("a new node: %v, want it refused", err)
	}
	gone(t, "/dev/units-node")
	d.PathInContainer = "/dev/net/units-node"
	if err := addDevice(t, target, d); err == nil {
		t.Error("a new node in a directory of it was made")
	}
	d.PathInContainer = "/dev/units-dir/node"
	if err := addDevice(t, target, d); err == nil {
		t.Error("a new node in a new directory was made")
	}
	gone(t, "/dev/units-dir")
	d.PathInContainer = "/dev/net/tun" // another device: not replaced
	if err := addDevice(t, target, d); err == nil {
		t.Error("a node of the host was replaced")
	}
	// One that is there already is all that is wanted.
	fuseBefore, err := sandbox.Lstat("/dev/fuse")
	must(t, err)
	t.Cleanup(func() { // for the other tests, when this one fails
		must(t, os.Chown("/dev/fuse", fuseBefore.UID, fuseBefore.GID))
		must(t, os.Chmod("/dev/fuse", os.FileMode(fuseBefore.Mode)))
	})
	d.PathInContainer = "/dev/fuse"
	must(t, addDevice(t, target, d))
	node(t, "/dev/fuse", fuseBefore.String())
	if after := tree(t, "/dev/net"); after != before {
		t.Errorf("/dev/net was\n%s\nand is\n%s", before, after)
	}
}

// Whatever step fails, nothing that it made remains, and nobody may use more.
func TestADeviceThatCannotBeGivenLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, h *fakeContainer, target *resource.Target, d *devices.Device)
		want error // nil: any
	}{
		{"the host's node is gone", func(t *testing.T, _ *fakeContainer, _ *resource.Target, d *devices.Device) {
			must(t, os.Remove(d.PathOnHost))
		}, unix.ENOENT},
		{"a parent is a file", func(t *testing.T, h *fakeContainer, _ *resource.Target, d *devices.Device) {
			write(t, h.root+"/dev/file", "image")
			d.PathInContainer = "/dev/file/x/node"
		}, unix.ENOTDIR},
		{"a parent is a link to itself", func(t *testing.T, h *fakeContainer, _ *resource.Target, d *devices.Device) {
			must(t, os.Symlink("link", h.root+"/dev/link"))
			d.PathInContainer = "/dev/link/node"
		}, unix.ELOOP},
		{"a full directory has its place", func(t *testing.T, h *fakeContainer, _ *resource.Target, d *devices.Device) {
			write(t, h.root+"/dev/a/b/node/file", "image")
		}, unix.ENOTEMPTY},
		{"a mount point has its place", func(t *testing.T, h *fakeContainer, target *resource.Target, d *devices.Device) {
			write(t, h.root+"/dev/point", "image")
			d.PathInContainer = "/dev/point"
			must(t, target.NS.Do(func() error { return unix.Mount("/etc/hostname", h.image+"/dev/point", "", unix.MS_BIND, "") }))
		}, nil},
		{"a mounted directory has its place", func(t *testing.T, h *fakeContainer, target *resource.Target, d *devices.Device) {
			// It is not in use by anyone in our namespace, and empty below the mount.
			must(t, os.Mkdir(h.root+"/dev/shm", 0o755))
			d.PathInContainer = "/dev/shm"
			must(t, target.NS.Do(func() error { return unix.Mount("tmpfs", h.image+"/dev/shm", "tmpfs", 0, "mode=1777") }))
		}, nil},
		{"the root has its place", func(_ *testing.T, _ *fakeContainer, _ *resource.Target, d *devices.Device) {
			d.PathInContainer = "/dev/../.."
		}, unix.EEXIST},
		{"its file system is read-only", func(t *testing.T, h *fakeContainer, target *resource.Target, _ *devices.Device) {
			must(t, target.NS.Do(func() error {
				return unix.Mount("", h.image+"/dev", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
			}))
		}, unix.EROFS},
		{"its file system is full", func(t *testing.T, h *fakeContainer, target *resource.Target, _ *devices.Device) {
			// Room for the directories, not for the node.
			must(t, target.NS.Do(func() error { return unix.Mount("", h.image+"/dev", "", unix.MS_REMOUNT, "nr_inodes=3") }))
		}, unix.ENOSPC},
		{"its name is too long", func(_ *testing.T, _ *fakeContainer, _ *resource.Target, d *devices.Device) {
			d.PathInContainer = "/dev/a/b/" + strings.Repeat("x", 256)
		}, unix.ENAMETOOLONG},
		{"the cgroup is gone", func(_ *testing.T, _ *fakeContainer, target *resource.Target, _ *devices.Device) {
			target.Cgroups.Path += "-gone"
		}, unix.ENOENT},
		{"the controller does not take the rule", func(_ *testing.T, _ *fakeContainer, _ *resource.Target, d *devices.Device) {
			d.Type = "x"
		}, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hold(t, nil)
			target := h.target(t, hostOwner)
			d := fuse(t, "/dev/a/b/node")
			c.make(t, h, target, &d)
			before, rules := tree(t, h.root+"/dev"), h.allowed(t)
			err := addDevice(t, target, d)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if after := tree(t, h.root+"/dev"); after != before {
				t.Errorf("/dev was\n%s\nand is\n%s", before, after)
			}
			if now := h.allowed(t); now != rules {
				t.Errorf("the container could use\n%sand can use\n%s", rules, now)
			}
			if err := devices.Kind.Verify(t.Context(), target, d); err == nil {
				t.Error("verified what was not made")
			}
		})
	}
}

func TestAnAdoptedNodeIsAsBeforeWhenItCannotBeGiven(t *testing.T) {
	for what, make := range map[string]func(path string) error{
		"the same device": func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o604, 10, 229, 9, 9) },
		"a file":          func(p string) error { return os.WriteFile(p, []byte("image"), 0o600) },
		"a link":          func(p string) error { return os.Symlink("null", p) },
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, nil)
			target := h.target(t, hostOwner)
			must(t, make(h.root+"/dev/node"))
			target.Cgroups.Path += "-gone"
			before := tree(t, h.root+"/dev")
			if err := addDevice(t, target, fuse(t, "/dev/node")); err == nil {
				t.Errorf("%s: no error without a cgroup", what)
			}
			if after := tree(t, h.root+"/dev"); after != before {
				t.Errorf("%s: /dev was\n%s\nand is\n%s", what, before, after)
			}
		})
	}
}

func TestVerifySeesWhatIsMissing(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	d := fuse(t, "/dev/node")
	must(t, addDevice(t, target, d))
	path := h.root + "/dev/node"
	verify := func(what string, d devices.Device, want bool) {
		t.Helper()
		if err := devices.Kind.Verify(t.Context(), target, d); (err == nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	verify("as made", d, true)
	more := d
	more.CgroupPermissions = ""
	verify("with more permissions, one of which all devices have", more, true)
	other := d
	other.Minor++
	verify("another number", other, false)
	must(t, os.Remove(path))
	verify("without the node", d, false)
	must(t, os.Symlink(d.PathOnHost, path))
	verify("a link", d, false)
	must(t, os.Remove(path))
	must(t, sandbox.Mknod(path, unix.S_IFBLK|0o600, 10, 229, 0, 0))
	verify("a block device", d, false)
	must(t, os.Remove(path))
	must(t, sandbox.Mknod(path, unix.S_IFCHR|0o600, 10, 229, 0, 0))
	verify("the node again", d, true)
	must(t, os.WriteFile(h.cgroupDir()+"/devices.deny", []byte("c 10:229 w"), 0))
	verify("with less than its permissions", d, false)
}

func TestInAUserNamespaceANodeIsTheMappedRootsAndCanBeOpened(t *testing.T) {
	for _, c := range []struct {
		what    string
		options []option
		must    bool
	}{
		{"on the image's file system", []option{userns, imageDev}, true},
		// The kernel opens no device there, whoever made the node.
		{"on a file system that the namespace owns", []option{userns}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := hold(t, nil, c.options...)
			target := h.target(t, resource.MappedRoot{UID: mappedRoot, GID: mappedRoot})
			target.UserNS = true
			d := fuse(t, "/dev/a/node")
			must(t, os.Remove(d.PathOnHost))
			must(t, sandbox.Mknod(d.PathOnHost, unix.S_IFCHR|0o640, 1, 3, 3, 4))
			d.Major, d.Minor = 1, 3
			before := tree(t, h.root+"/dev")
			if err := addDevice(t, target, d); err != nil {
				if c.must {
					t.Error(err)
				}
				if after := tree(t, h.root+"/dev"); after != before {
					t.Errorf("refused with %v, but /dev was\n%s\nand is\n%s", err, before, after)
				}
				t.Logf("refused: %v", err)
				return
			}
			node(t, h.root+"/dev/a", "d 0755 100000:100000")
			node(t, d.PathOnHost, "c 0640 3:4 1:3")
			f, err := os.Open(h.root + "/dev/a/node")
			if err != nil {
				t.Fatalf("a device was given, and cannot be opened: %v", err)
			}
			f.Close()
		})
	}
}

func TestAContainerThatChangesItsDevMeanwhileGainsNothing(t *testing.T) {
	out, untouched := victim(t)
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	dev := h.root + "/dev"
	must(t, os.Mkdir(dev+"/a", 0o755))
	must(t, os.Symlink(out, dev+"/b"))
	must(t, os.Symlink(out+"/file", dev+"/trap"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for flips := 0; ; flips++ {
			select {
			case <-stop:
				return
			default:
			}
			// A directory becomes a link, and the new node a link to a file.
			_ = unix.Renameat2(unix.AT_FDCWD, dev+"/a", unix.AT_FDCWD, dev+"/b", unix.RENAME_EXCHANGE)
			_ = unix.Renameat2(unix.AT_FDCWD, dev+"/node", unix.AT_FDCWD, dev+"/trap", unix.RENAME_EXCHANGE)
			time.Sleep(time.Duration(flips%4) * 10 * time.Microsecond) // or nothing ever succeeds
		}
	}()
	d, below := fuse(t, "/dev/node"), fuse(t, "/dev/a/node")
	made := 0
	for i := 0; i < 300 || made < 10 && i < 100_000; i++ { // it may fail; it may not reach the host
		for _, d := range []devices.Device{d, below} {
			if addDevice(t, target, d) == nil {
				made++
			}
		}
	}
	if made < 10 {
		t.Errorf("only %d attempts succeeded: nothing was tested", made)
	}
	close(stop)
	<-stopped
	untouched()
	node(t, d.PathOnHost, fuseNode)
}
