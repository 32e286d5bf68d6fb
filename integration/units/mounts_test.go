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
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

const (
	master  = "/.sharedpath/master"
	midpath = "/.sharedpath/midpath"
)

// share gives the container its shared path, which is taken away when the test
// ends.
func share(t testing.TB, target *resource.Target) error {
	t.Helper()
	t.Cleanup(func() { must(t, mounts.PurgeStaging(target.ID)) })
	return mounts.Share(t.Context(), target, func(err error) { t.Error(err) })
}

// canShare tells whether a pivoted container can be reached: on kernels before
// 5.2 it cannot.
func canShare(options []option) bool {
	return !has(options, pivoted) || !lacks(unix.SYS_OPEN_TREE)
}

// shared is a container with its shared path.
func shared(t testing.TB, prepare func(image string), options ...option) (*fakeContainer, *resource.Target) {
	t.Helper()
	h := hold(t, prepare, options...)
	target := h.target(t, hostOwner)
	must(t, share(t, target))
	return h, target
}

func addPath(t testing.TB, target *resource.Target, host, container, options string) error {
	t.Helper()
	b := mounts.Bind{Host: host, Container: container, Options: options}
	if _, _, err := mounts.Kind.Resolve(b); err != nil {
		return err
	}
	return mounts.Kind.Apply(t.Context(), target, b)
}

func hasPath(t testing.TB, target *resource.Target, host, container string) error {
	t.Helper()
	return mounts.Kind.Verify(t.Context(), target, mounts.Bind{Host: host, Container: container, Options: "rw"})
}

// hostDir is a directory of the host with a file in it.
func hostDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	write(t, filepath.Join(dir, "file"), "hi")
	return dir
}

// names are the entries of a directory; none when it does not exist.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestTheSharedPathIsThereReadOnlyAndReceivesMounts(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		h := hold(t, nil, options...)
		target := h.target(t, hostOwner)
		err := share(t, target)
		if !canShare(options) {
			if err == nil || !strings.Contains(err.Error(), "5.2") || !strings.Contains(err.Error(), "make-rshared") {
				t.Errorf("%v, want an error that says what to do", err)
			}
			gone(t, filepath.Join(master, h.id))
			gone(t, filepath.Join(h.image, ".sharedpath"))
			return
		}
		must(t, err)
		node(t, "/.sharedpath", "d 0600 0:0")
		node(t, filepath.Join(master, h.id), "d 0600 0:0")
		at := h.mountAt(t, "/.sharedpath")
		if !strings.Contains(at, " root=/"+h.id+" ") || !strings.Contains(at, " opts=ro,") || !strings.Contains(at, " prop=slave ") || !strings.Contains(at, "fs=tmpfs") {
			t.Errorf("the container has %q", at)
		}
		point := filepath.Join(master, h.id, "x")
		must(t, os.Mkdir(point, 0o700))
		must(t, unix.Mount(hostDir(t), point, "", unix.MS_BIND, ""))
		if got := read(t, h.root+"/.sharedpath/x/file"); got != "hi" {
			t.Errorf("a mount on the host arrives as %q", got)
		}
		// Nothing of it is on the host's view of the image.
		if got := names(t, filepath.Join(h.image, ".sharedpath")); got != "" {
			t.Errorf("on the host the image's /.sharedpath holds %q", got)
		}
		must(t, unix.Unmount(point, 0))
		gone(t, h.root+"/.sharedpath/x/file")
	})
}

func TestAHostWhoseRootIsNotSharedWorksAtTheFirstStart(t *testing.T) {
	if lacks(unix.SYS_OPEN_TREE) {
		return // then the error says to make it shared; see above
	}
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	t.Cleanup(func() { must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")) })
	if mounted(t, master) {
		must(t, unix.Unmount(master, 0))
	}
	bothRoots(t, func(t *testing.T, options ...option) {
		h, target := shared(t, nil, options...)
		dir := hostDir(t)
		must(t, addPath(t, target, dir, "/mnt/x", "rw,rslave"))
		if got := read(t, h.root+"/mnt/x/file"); got != "hi" {
			t.Errorf("the path holds %q", got)
		}
	})
}

// mounted tells whether path is a mount point here.
func mounted(t testing.TB, path string) bool {
	t.Helper()
	for line := range strings.Lines(allMounts(t)) {
		if strings.HasPrefix(line, path+" ") {
			return true
		}
	}
	return false
}

func TestLeftoversOfAnEarlierStartAreReplaced(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	// A start whose poststop never ran: other mounts under our names.
	stale, wrong := hostDir(t), hostDir(t)
	must(t, os.WriteFile(filepath.Join(wrong, "file"), []byte("stale"), 0o600))
	must(t, share(t, target))
	must(t, addPath(t, target, stale, "/mnt/one", "rw"))
	must(t, mounts.PurgeStaging(h.id))
	for _, dir := range []string{master, midpath} {
		must(t, os.MkdirAll(filepath.Join(dir, h.id, "left"), 0o600))
		must(t, unix.Mount(wrong, filepath.Join(dir, h.id, "left"), "", unix.MS_BIND, ""))
		must(t, unix.Mount("tmpfs", filepath.Join(dir, h.id, "left"), "tmpfs", 0, "")) // on top of it
	}
	next := hold(t, nil)
	again := next.target(t, hostOwner)
	again.ID = h.id
	must(t, share(t, again))
	if got := names(t, filepath.Join(master, h.id)); got != "" {
		t.Errorf("left in master: %q", got)
	}
	gone(t, filepath.Join(midpath, h.id))
	if got := read(t, filepath.Join(wrong, "file")); got != "stale" {
		t.Errorf("the mounted file became %q", got)
	}
	must(t, addPath(t, again, stale, "/mnt/one", "rw"))
	if got := read(t, next.root+"/mnt/one/file"); got != "hi" {
		t.Errorf("the path holds %q", got)
	}
}

func TestATransferMountOfSomethingElseIsReplacedNotTrusted(t *testing.T) {
	h, target := shared(t, nil)
	dir, wrong := hostDir(t), hostDir(t)
	must(t, os.WriteFile(filepath.Join(wrong, "file"), []byte("stale"), 0o600))
	must(t, addPath(t, target, dir, "/mnt/one", "rw"))
	sha := names(t, filepath.Join(master, h.id))
	for _, side := range []string{midpath, master} {
		point := filepath.Join(side, h.id, sha)
		must(t, unix.Unmount(point, unix.MNT_DETACH))
		must(t, unix.Mount(wrong, point, "", unix.MS_BIND, ""))
	}
	must(t, addPath(t, target, dir, "/mnt/two", "rw"))
	if got := read(t, h.root+"/mnt/two/file"); got != "hi" {
		t.Errorf("the path holds %q", got)
	}
}

func TestAnImageThatTakesTheSharedPathsPlaceIsRefused(t *testing.T) {
	out, untouched := victim(t)
	for what, make := range map[string]func(path string) error{
		"a link to a folder":    func(p string) error { return os.Symlink(out+"/empty", p) },
		"a link to the host's":  func(p string) error { return os.Symlink("/.sharedpath", p) },
		"a link inside":         func(p string) error { return os.Symlink("mnt", p) },
		"a link that dangles":   func(p string) error { return os.Symlink("nowhere", p) },
		"a file":                func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"a FIFO":                func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a device of the image": func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 3, 0, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, func(image string) { must(t, make(filepath.Join(image, ".sharedpath"))) })
			before, image := h.mountsOf(t), tree(t, h.image)
			err := share(t, h.target(t, hostOwner))
			if err == nil || !strings.Contains(err.Error(), "remove it from the image") {
				t.Errorf("%s: %v, want an error that says what to do", what, err)
			}
			gone(t, filepath.Join(master, h.id))
			if after := h.mountsOf(t); after != before {
				t.Errorf("%s: the container's mounts were\n%s\nand are\n%s", what, before, after)
			}
			if after := tree(t, h.image); after != image {
				t.Errorf("%s: the image was\n%s\nand is\n%s", what, image, after)
			}
		})
	}
	untouched()
}

func TestPathsAreThereWithTheirOptions(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		if !canShare(options) {
			return // TestTheSharedPath… has the refusal
		}
		h, target := shared(t, nil, options...)
		for i, c := range []struct {
			options, access string
			receives        bool // mounts that the host makes below it later
		}{
			{"rw", "rw", true},
			{"ro", "ro", false}, // they could be written
			{"rw,rslave", "rw", true},
			{"ro,rslave", "ro", true},
			{"rw,rprivate", "rw", false},
			{"private,ro", "ro", false},
			{"private", "rw", false},
			{"rslave", "rw", true},
		} {
			dir := hostDir(t)
			must(t, os.Mkdir(filepath.Join(dir, "later"), 0o755))
			point := fmt.Sprintf("/mnt/deep/%d", i)
			must(t, addPath(t, target, dir, point, c.options))
			must(t, hasPath(t, target, dir, point))
			at := h.mountAt(t, point)
			if !strings.Contains(at, " opts="+c.access+",") {
				t.Errorf("%s: the container has %q", c.options, at)
			}
			err := os.WriteFile(h.root+point+"/new", nil, 0o600)
			if errors.Is(err, unix.EROFS) != (c.access == "ro") {
				t.Errorf("%s: writing inside: %v", c.options, err)
			}
			if got := read(t, h.root+point+"/file"); got != "hi" {
				t.Errorf("%s: the file is %q", c.options, got)
			}
			node(t, filepath.Dir(h.root+point), "d 0755 0:0")
			must(t, unix.Mount("tmpfs", filepath.Join(dir, "later"), "tmpfs", 0, ""))
			write(t, filepath.Join(dir, "later/mounted"), "")
			_, err = os.Lstat(h.root + point + "/later/mounted")
			if (err == nil) != c.receives {
				t.Errorf("%s: a later mount inside: %v", c.options, err)
			}
			must(t, unix.Unmount(filepath.Join(dir, "later"), unix.MNT_DETACH))
		}
	})
}

func TestAReadOnlyPathIsReadOnlyAllTheWayDown(t *testing.T) {
	dir := hostDir(t)
	below := filepath.Join(dir, "below")
	must(t, os.Mkdir(below, 0o755))
	must(t, unix.Mount("tmpfs", below, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	t.Cleanup(func() { must(t, unix.Unmount(below, unix.MNT_DETACH)) })
	h, target := shared(t, nil)
	must(t, addPath(t, target, dir, "/mnt/x", "ro,rslave"))
	for _, path := range []string{"/mnt/x/new", "/mnt/x/below/new"} {
		if err := os.WriteFile(h.root+path, nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing %s: %v, want EROFS", path, err)
		}
	}
	if at := h.mountAt(t, "/mnt/x/below"); !strings.Contains(at, "nosuid,nodev,noexec") {
		t.Errorf("a mount below lost its flags: %q", at)
	}
	write(t, filepath.Join(below, "on the host it"), "is still writable")
}

func TestOneHostPathServesManyContainerPaths(t *testing.T) {
	h, target := shared(t, nil)
	dir := hostDir(t)
	for i := range 5 {
		must(t, addPath(t, target, dir, fmt.Sprintf("/mnt/%d", i), "rw"))
		if n := len(strings.Fields(names(t, filepath.Join(master, h.id)))); n != 1 {
			t.Errorf("after %d: %d staging mounts", i+1, n)
		}
	}
	// One that fails leaves the others theirs.
	write(t, h.root+"/mnt/file", "image")
	if err := addPath(t, target, dir, "/mnt/file/x", "rw"); err == nil {
		t.Error("a path below a file was added")
	}
	for i := range 5 {
		if got := read(t, fmt.Sprintf("%s/mnt/%d/file", h.root, i)); got != "hi" {
			t.Errorf("path %d holds %q", i, got)
		}
	}
}

func TestAPathRecordedReadOnlyIsNeverWritable(t *testing.T) {
	// The same host path with other options: refused, or as it says.
	h, target := shared(t, nil)
	dir := hostDir(t)
	records := []mounts.Bind{{Host: dir, Container: "/mnt/rw", Options: "rw"}, {Host: dir + "/", Container: "/mnt/ro", Options: "ro"}}
	if err := mounts.Check(records); err != nil {
		return
	}
	for _, r := range records {
		if err := mounts.Kind.Apply(t.Context(), target, r); err != nil && r.Options == "rw" {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(h.root + "/mnt/ro/file"); err != nil {
		return
	}
	if err := os.WriteFile(h.root+"/mnt/ro/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a path that is recorded as read-only can be written: %v", err)
	}
}

func TestAFileIsBoundOnAFile(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		if !canShare(options) {
			return
		}
		h, target := shared(t, func(image string) { write(t, image+"/etc/there", "image") }, options...)
		defer unix.Umask(unix.Umask(0o077))
		file := filepath.Join(hostDir(t), "file")
		for _, path := range []string{"/etc/there", "/new/a/file"} {
			must(t, addPath(t, target, file, path, "ro"))
			must(t, hasPath(t, target, file, path))
			if got := read(t, h.root+path); got != "hi" {
				t.Errorf("%s is %q", path, got)
			}
		}
		node(t, filepath.Join(h.image, "new/a"), "d 0755 0:0")
		node(t, filepath.Join(h.image, "new/a/file"), "f 0644 0:0")
		if got := read(t, h.image+"/etc/there"); got != "image" {
			t.Errorf("below the mount the image's file became %q", got)
		}
	})
}

func TestAMissingHostPathIsMadeForTheContainersRoot(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, resource.MappedRoot{UID: 7, GID: 8})
	defer unix.Umask(unix.Umask(0o077))
	must(t, share(t, target))
	dir := filepath.Join(t.TempDir(), "made")
	must(t, addPath(t, target, dir+"/a/b", "/mnt/x", "rw"))
	for _, p := range []string{dir, dir + "/a", dir + "/a/b", h.root + "/mnt/x"} {
		node(t, p, "d 0755 7:8")
	}
	must(t, addPath(t, target, dir+"/a/c", "/etc/y/z", "rw"))
	node(t, filepath.Join(h.image, "etc/y"), "d 0755 7:8")
	node(t, filepath.Join(h.image, "etc/y/z"), "d 0755 7:8")
	node(t, filepath.Join(h.image, "etc"), "d 0755 0:0")
}

// Whatever step fails, nothing that it made remains, on the host or inside.
func TestAPathThatCannotBeGivenLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, h *fakeContainer, target *resource.Target, b *mounts.Bind)
		want string
	}{
		{"the host path is a link that dangles", func(t *testing.T, _ *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			b.Host = filepath.Join(t.TempDir(), "link")
			must(t, os.Symlink("nowhere", b.Host))
		}, "is a link to nowhere, which does not exist"},
		{"a parent of the host path is a file", func(t *testing.T, _ *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			b.Host += "/file/x"
		}, "not a directory"},
		{"the container path is below a file", func(t *testing.T, h *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			write(t, h.image+"/etc/file", "image")
			b.Container = "/etc/file/x"
		}, "not a directory"},
		{"the host path is new and the container path is below a file", func(t *testing.T, h *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			write(t, h.image+"/etc/file", "image")
			b.Host, b.Container = b.Host+"/new/deep", "/etc/file/x"
		}, "not a directory"},
		{"a directory on a file", func(t *testing.T, h *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			write(t, h.image+"/etc/file", "image")
			b.Container = "/etc/file"
		}, "not a directory"},
		{"a file on a directory", func(_ *testing.T, _ *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			b.Host, b.Container = b.Host+"/file", "/etc"
		}, "not a directory"},
		{"a container path whose name is too long", func(_ *testing.T, _ *fakeContainer, _ *resource.Target, b *mounts.Bind) {
			b.Container = "/a/b/" + strings.Repeat("x", 256)
		}, "file name too long"},
		{"the shared path is gone inside", func(t *testing.T, h *fakeContainer, target *resource.Target, _ *mounts.Bind) {
			must(t, target.NS.Do(func() error { return unix.Unmount(h.image+"/.sharedpath", unix.MNT_DETACH) }))
		}, "does not reach the container"},
		{"something else is where it arrives", func(t *testing.T, h *fakeContainer, target *resource.Target, _ *mounts.Bind) {
			must(t, target.NS.Do(func() error { return unix.Mount("tmpfs", h.image+"/.sharedpath", "tmpfs", 0, "") }))
		}, "does not reach the container"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, target := shared(t, nil)
			dir := hostDir(t)
			other := hostDir(t)
			must(t, addPath(t, target, other, "/mnt/other", "rw"))
			b := mounts.Bind{Host: dir, Container: "/new/x", Options: "ro,rslave"}
			c.make(t, h, target, &b)
			host, image, here, there := tree(t, filepath.Dir(dir)), tree(t, h.image), allMounts(t), h.mountsOf(t)
			err := mounts.Kind.Apply(t.Context(), target, b)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
			for what, state := range map[string][2]string{
				"the host's folder": {host, tree(t, filepath.Dir(dir))}, "the image": {image, tree(t, h.image)},
				"the host's mounts": {here, allMounts(t)}, "the container's mounts": {there, h.mountsOf(t)},
			} {
				if state[0] != state[1] {
					t.Errorf("%s: was\n%s\nand is\n%s", what, state[0], state[1])
				}
			}
			if err := mounts.Kind.Verify(t.Context(), target, b); err == nil {
				t.Error("verified what was not made")
			}
		})
	}
}

func TestNoPathOfAnImageLeadsToTheHost(t *testing.T) {
	out, untouched := victim(t)
	targets := append(exits(out), "trap-to-itself")
	trap := func(i int) string {
		if i == len(targets)-1 {
			return "/mnt/trap-to-itself"
		}
		return fmt.Sprintf("/mnt/trap%d", i)
	}
	dir := hostDir(t)
	for _, host := range []string{dir, filepath.Join(dir, "file")} {
		for _, below := range []string{"", "/x", "/dir"} {
			h, ctr := shared(t, func(image string) {
				for i, target := range targets {
					must(t, os.Symlink(target, image+trap(i)))
				}
			})
			before := outsideOf(t, h)
			for i, target := range targets {
				_ = addPath(t, ctr, host, trap(i)+below, "rw") // it may fail; it may not lead out
				if after := outsideOf(t, h); after != before {
					t.Fatalf("%s is a link to %s: outside of its root the container had\n%s\nand has\n%s", trap(i)+below, target, before, after)
				}
			}
		}
	}
	untouched()
}

// outsideOf are the mounts of the container's namespace that are neither in its
// root nor below the shared path: what it has of the host before pivot_root.
func outsideOf(t testing.TB, h *fakeContainer) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(h.mountsOf(t)) {
		if !strings.HasPrefix(line, h.image) && !strings.HasPrefix(line, "/.sharedpath") {
			all = append(all, line)
		}
	}
	return strings.Join(all, "")
}

func TestCleanTakesAwayTheContainersPartAndNoData(t *testing.T) {
	h, target := shared(t, nil)
	dir, file := hostDir(t), filepath.Join(hostDir(t), "file")
	must(t, addPath(t, target, dir, "/mnt/x", "rw"))
	must(t, addPath(t, target, file, "/mnt/f", "ro"))
	before := tree(t, dir)
	other, otherTarget := shared(t, nil)
	must(t, addPath(t, otherTarget, dir, "/mnt/x", "rw"))
	for range 2 { // also when nothing is there
		must(t, mounts.PurgeStaging(h.id))
		gone(t, filepath.Join(master, h.id))
		gone(t, filepath.Join(midpath, h.id))
	}
	for line := range strings.Lines(allMounts(t)) {
		if strings.Contains(line, h.id) {
			t.Errorf("left: %s", line)
		}
	}
	if after := tree(t, dir); after != before || read(t, file) != "hi" {
		t.Errorf("the host's data was\n%s\nand is\n%s", before, after)
	}
	if got := read(t, other.root+"/mnt/x/file"); got != "hi" {
		t.Errorf("another container has %q", got)
	}
	if err := mounts.PurgeStaging("no-such-container"); err != nil {
		t.Error(err)
	}
}

// A tree that is bound with what is mounted below it must not take that away
// from the host when it goes: where mounts are shared, as under systemd,
// unmounting one copy unmounts all of them.
func TestTheHostsOwnMountsStayWhenAPathGoes(t *testing.T) {
	for _, options := range []string{"rw", "ro", "rw,rslave", "ro,rprivate", "private", "rslave"} {
		for _, how := range []string{"cleaned", "undone"} {
			t.Run(options+" "+how, func(t *testing.T) {
				h, target := shared(t, func(image string) { write(t, image+"/etc/file", "image") })
				dir := hostDir(t)
				below := filepath.Join(dir, "below")
				must(t, os.Mkdir(below, 0o755))
				must(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
				t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
				write(t, filepath.Join(below, "deeper/x"), "")
				must(t, unix.Mount("tmpfs", filepath.Join(below, "deeper"), "tmpfs", 0, ""))
				write(t, filepath.Join(below, "deeper/data"), "mine")
				before := mountsBelow(t, dir)
				if how == "undone" {
					if err := addPath(t, target, dir, "/etc/file/x", options); err == nil {
						t.Fatal("a path below a file was added")
					}
				} else {
					must(t, addPath(t, target, dir, "/mnt/x", options))
					must(t, mounts.PurgeStaging(h.id))
				}
				if after := mountsBelow(t, dir); after != before {
					t.Errorf("the host had\n%sand has\n%s", before, after)
				}
			})
		}
	}
}

// mountsBelow are the mounts at and below dir, here.
func mountsBelow(t testing.TB, dir string) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(allMounts(t)) {
		if strings.HasPrefix(line, dir) {
			all = append(all, line)
		}
	}
	return strings.Join(all, "")
}

func TestCleanWorksWhileTheContainerStillUsesIt(t *testing.T) {
	h, target := shared(t, nil)
	dir := hostDir(t)
	must(t, addPath(t, target, dir, "/mnt/x", "rw"))
	f, err := os.Open(filepath.Join(master, h.id, names(t, filepath.Join(master, h.id)), "file"))
	must(t, err)
	defer f.Close()
	must(t, mounts.PurgeStaging(h.id))
	gone(t, filepath.Join(master, h.id))
	if got := read(t, h.root+"/mnt/x/file"); got != "hi" {
		t.Errorf("the running container has %q", got)
	}
}

func TestVerifySeesThatAPathIsSomethingElse(t *testing.T) {
	h, target := shared(t, nil)
	dir := hostDir(t)
	if err := hasPath(t, target, dir, "/mnt/x"); err == nil {
		t.Error("verified before it was made")
	}
	must(t, addPath(t, target, dir, "/mnt/x", "rw"))
	must(t, hasPath(t, target, dir, "/mnt/x"))
	must(t, target.NS.Do(func() error { return unix.Mount("tmpfs", h.image+"/mnt/x", "tmpfs", 0, "") }))
	if err := hasPath(t, target, dir, "/mnt/x"); err == nil {
		t.Error("verified with something mounted on it")
	}
	if err := hasPath(t, target, filepath.Join(dir, "gone"), "/mnt/x"); err == nil {
		t.Error("verified a host path that is gone")
	}
}
