package units

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/credentials"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// granted is a container that has a folder of the host on /mnt.
type granted struct {
	*fakeContainer
	target *resource.Target
	dir    string // of the host
}

// grant gives a container a folder of the host that belongs to uid, as its runtime or
// a path gives it one, with flags of mount(2) more.
func grant(t testing.TB, uid int, flags uintptr, options ...option) *granted {
	t.Helper()
	g := &granted{dir: filepath.Join(t.TempDir(), "granted")}
	write(t, filepath.Join(g.dir, "old/file"), "the host's")
	must(t, sandbox.Mknod(filepath.Join(g.dir, "old/null"), unix.S_IFCHR|0o600, 1, 3, 0, 0))
	for _, dir := range []string{g.dir, filepath.Join(g.dir, "old")} {
		must(t, os.Chmod(dir, 0o755))
		must(t, os.Chown(dir, uid, uid))
	}
	g.fakeContainer = hold(t, nil, options...)
	own, rights := hostOwner, credentials.Rights{}
	if has(options, userns) {
		own = resource.MappedRoot{UID: mappedRoot, GID: mappedRoot}
		rights.UIDs = []credentials.Range{{First: mappedRoot, Size: 1000}}
		rights.GIDs = rights.UIDs
	}
	g.target = g.fakeContainer.target(t, own)
	g.target.UserNS = has(options, userns)
	g.target.Root.Restrict(rootfs.Rights{Rights: rights})
	must(t, g.target.NS.Do(func() error {
		if err := unix.Mount(g.dir, g.image+"/mnt", "", unix.MS_BIND|unix.MS_REC, ""); err != nil || flags == 0 {
			return err
		}
		var fs unix.Statfs_t // its flags are locked, in a user namespace
		if err := unix.Statfs(g.image+"/mnt", &fs); err != nil {
			return err
		}
		if flags&unix.MS_REMOUNT != 0 {
			flags |= uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
		}
		return unix.Mount("", g.image+"/mnt", "", flags, "")
	}))
	return g
}

// overrides gives the container CAP_DAC_OVERRIDE.
func (g *granted) overrides() {
	rights := credentials.Rights{Override: func() bool { return true }}
	if g.target.UserNS {
		rights.UIDs = []credentials.Range{{First: mappedRoot, Size: 1000}}
		rights.GIDs = rights.UIDs
	}
	g.target.Root.Restrict(rootfs.Rights{Rights: rights})
}

func TestInATreeOfTheHostOnlyWhatTheContainersRootMayMakeIsMade(t *testing.T) {
	const readOnly = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY
	for _, c := range []struct {
		name     string
		mapped   bool
		uid      int // whose the folder is
		flags    uintptr
		override bool
		want     error
	}{
		{"the host root's, user namespace", true, 0, 0, true, unix.EACCES},
		{"the container root's", true, mappedRoot, 0, false, nil},
		{"the container root's, read-only", true, mappedRoot, readOnly, true, unix.EROFS},
		{"another user's of the container, who has the capability", true, mappedRoot + 7, 0, true, nil},
		{"another user's of the container, without", true, mappedRoot + 7, 0, false, unix.EACCES},
		{"nobody's in the container", true, mappedRoot + 1000, 0, true, unix.EACCES},
		{"the host root's, no user namespace", false, 0, 0, false, nil},
		{"the host root's, read-only", false, 0, readOnly, true, unix.EROFS},
		{"another user's, with the capability", false, 7, 0, true, nil},
		{"another user's, without", false, 7, 0, false, unix.EACCES},
	} {
		t.Run(c.name, func(t *testing.T) {
			var options []option
			if c.mapped {
				options = append(options, userns)
			}
			g := grant(t, c.uid, c.flags, options...)
			if c.override {
				g.overrides()
			}
			own := g.target.Owner.Or(rootfs.Owner{})
			for _, make := range []struct {
				what string
				do   func(*undo.Stack) (*os.File, error)
				made map[string]string
			}{
				{"directories", func(u *undo.Stack) (*os.File, error) { return g.target.Root.MkdirAll("/mnt/a/b", own, u) }, map[string]string{"a": "d 0755", "a/b": "d 0755"}},
				{"a directory below", func(u *undo.Stack) (*os.File, error) { return g.target.Root.MkdirAll("/mnt/old/b", own, u) }, map[string]string{"old/b": "d 0755"}},
				{"a file", func(u *undo.Stack) (*os.File, error) { return g.target.Root.Create("/mnt/old/f", own, u) }, map[string]string{"old/f": "f 0644"}},
				{"a file's directory", func(u *undo.Stack) (*os.File, error) { return g.target.Root.Create("/mnt/a/f", own, u) }, map[string]string{"a": "d 0755", "a/f": "f 0644"}},
			} {
				before := tree(t, g.dir)
				var u undo.Stack
				f, err := make.do(&u)
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Fatalf("%s: %v, want %v", make.what, err, c.want)
				}
				if err != nil {
					if !strings.Contains(err.Error(), "mounted on "+g.image+"/mnt") {
						t.Errorf("%s: %q does not say which mount it is", make.what, err)
					}
					if after := tree(t, g.dir); after != before {
						t.Errorf("%s: refused, but the host's tree was\n%s\nand is\n%s", make.what, before, after)
					}
					continue
				}
				f.Close()
				for p, want := range make.made {
					node(t, filepath.Join(g.dir, p), fmt.Sprintf("%s %d:%d", want, own.UID, own.GID))
				}
				err = errTest
				if u.OnError(&err); err.Error() != errTest.Error() {
					t.Errorf("%s: undone with %v", make.what, err)
				}
				if after := tree(t, g.dir); after != before {
					t.Errorf("%s: undone, but the host's tree was\n%s\nand is\n%s", make.what, before, after)
				}
			}
		})
	}
}

// A file system that the container has mounted itself is its own, as its root is.
func TestOnAMountOfTheContainersOwnAnythingIsMade(t *testing.T) {
	h := hold(t, nil, userns)
	target := h.target(t, resource.MappedRoot{UID: mappedRoot, GID: mappedRoot})
	// By another user, in a directory that only that user may write.
	must(t, target.NS.Do(func() error { return unix.Mount("tmpfs", h.image+"/mnt", "tmpfs", 0, "mode=700,uid=7") }))
	var u undo.Stack
	f, err := target.Root.Create("/mnt/a/f", rootfs.Owner{UID: mappedRoot, GID: mappedRoot}, &u)
	must(t, err)
	f.Close()
	node(t, h.root+"/mnt/a/f", "f 0644 100000:100000")
}

func TestInATreeOfTheHostNoNodeIsMadeReplacedOrRemoved(t *testing.T) {
	for _, options := range [][]option{nil, {userns}} {
		t.Run(fmt.Sprint(options), func(t *testing.T) {
			g := grant(t, 0, 0, append(options, imageDev)...)
			g.overrides()
			must(t, os.Symlink("/mnt/old", filepath.Join(g.image, "dev/link")))
			before := tree(t, g.dir)
			for _, path := range []string{"/mnt/new", "/mnt/old/file", "/dev/link/file", "/dev/link/new", "/mnt/a/b/new", "/mnt/old/null"} {
				d := fuse(t, path)
				if err := addDevice(t, g.target, d); err == nil || !strings.Contains(err.Error(), "host directory") {
					t.Errorf("%s: %v, want it refused", path, err)
				}
				if got := g.allowed(t); strings.Contains(got, "10:229") {
					t.Errorf("%s: refused, and permitted:\n%s", path, got)
				}
				removeDevice(t, g.target, d)
			}
			// The host's node of that device is as good as one of ours, and not ours.
			zero := fuse(t, "/mnt/old/null")
			zero.Major, zero.Minor, zero.PathOnHost = 1, 3, "/dev/null"
			must(t, addDevice(t, g.target, zero))
			removeDevice(t, g.target, zero)
			if after := tree(t, g.dir); after != before {
				t.Errorf("the host's tree was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

func TestAMountPointThatTheHostSharesIsRefused(t *testing.T) {
	g := grant(t, 0, unix.MS_SHARED)
	g.target.NoSharedPath = errTest
	must(t, g.target.NS.Do(func() error { return os.Mkdir(g.image+"/mnt/point", 0o755) }))
	before := allMounts(t)
	if err := addPath(t, g.target, hostDir(t), "/mnt/point", "rw"); err == nil || !strings.Contains(err.Error(), "shares its mounts with the host") {
		t.Errorf("%v, want it refused", err)
	}
	if after := allMounts(t); after != before {
		t.Errorf("the host's mounts were\n%s\nand are\n%s", before, after)
	}
}
