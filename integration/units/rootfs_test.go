package units

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
)

var errTest = errors.New("something later fails")

// rootAt opens dir as a container's root. Its own namespace is that of a
// container that has not been pivoted.
func rootAt(t testing.TB, dir string) *rootfs.Root {
	t.Helper()
	host, err := rootfs.OfProcess(os.Getpid(), "this host", nil)
	must(t, err)
	defer host.Close()
	root, err := host.Sub(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// inside checks that a file lies below dir.
func inside(t testing.TB, what string, f *os.File, dir string) {
	t.Helper()
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	must(t, err)
	if path != dir && !strings.HasPrefix(path, dir+"/") {
		t.Errorf("%s led to %s", what, path)
	}
}

// exits are the ways out that an image can try, as a link's target.
func exits(victim string) []string {
	up := strings.Repeat("../", 30)
	return []string{
		"/", victim, victim + "/dir", victim + "/file", victim + "/node", victim + "/new", victim + "/dir/new",
		up, up + victim, up + victim + "/dir", up + victim + "/file", up + victim + "/new",
		"..", "../..", ".", "trap", "/proc/self/root", "/proc/self/root" + victim + "/dir", "/proc/1/root" + victim, "/proc/self/cwd",
		"/proc/thread-self/root" + victim, "/proc/self/fd", "/dev/fd/0", "//" + victim, "/./" + up + victim,
	}
}

func TestNothingLeadsOutOfARoot(t *testing.T) {
	out, untouched := victim(t)
	type use struct {
		name string
		do   func(*rootfs.Root, *undo.Stack) (*os.File, error)
	}
	uses := []use{
		{"open", func(r *rootfs.Root, _ *undo.Stack) (*os.File, error) { return r.Open("/trap", unix.O_PATH) }},
		{"open below", func(r *rootfs.Root, _ *undo.Stack) (*os.File, error) { return r.Open("/trap/dir/deep", unix.O_RDONLY) }},
		{"open a directory", func(r *rootfs.Root, _ *undo.Stack) (*os.File, error) {
			return r.Open("trap/..", unix.O_RDONLY|unix.O_DIRECTORY)
		}},
		{"make directories", func(r *rootfs.Root, u *undo.Stack) (*os.File, error) {
			return r.MkdirAll("/trap/a/b", rootfs.Owner{UID: 5, GID: 5}, u)
		}},
		{"make a directory", func(r *rootfs.Root, u *undo.Stack) (*os.File, error) {
			return r.MkdirAll("/trap", rootfs.Owner{UID: 5, GID: 5}, u)
		}},
		{"create", func(r *rootfs.Root, u *undo.Stack) (*os.File, error) {
			return r.Create("/trap", rootfs.Owner{UID: 5, GID: 5}, u)
		}},
		{"create below", func(r *rootfs.Root, u *undo.Stack) (*os.File, error) {
			return r.Create("/trap/f", rootfs.Owner{UID: 5, GID: 5}, u)
		}},
		{"hold a directory", func(r *rootfs.Root, u *undo.Stack) (*os.File, error) {
			d, _, err := r.Dir("/trap/x/f", rootfs.Owner{UID: 5, GID: 5}, u)
			return d, err
		}},
	}
	for _, target := range exits(out) {
		for _, use := range uses {
			for _, fail := range []bool{false, true} {
				dir := filepath.Join(t.TempDir(), "image")
				must(t, os.MkdirAll(filepath.Join(dir, "proc"), 0o755))
				must(t, os.Symlink(target, filepath.Join(dir, "trap")))
				var u undo.Stack
				f, err := use.do(rootAt(t, dir), &u)
				if err == nil {
					inside(t, use.name+" through a link to "+target, f, dir)
					f.Close()
				}
				if fail {
					err = errTest
					u.OnError(&err)
				}
				if link, err := os.Readlink(filepath.Join(dir, "trap")); err != nil || link != target {
					t.Errorf("%s: the link to %s became %q, %v", use.name, target, link, err)
				}
			}
		}
	}
	untouched()
}

func TestARootThatChangesMeanwhileLeadsNowhereElse(t *testing.T) {
	out, untouched := victim(t)
	dir := filepath.Join(t.TempDir(), "image")
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.Symlink(out, filepath.Join(dir, "b")))
	root := rootAt(t, dir)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the container's own processes
		defer close(stopped)
		for flips := 0; ; flips++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/b", unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(flips%4) * 10 * time.Microsecond) // or nothing ever succeeds
		}
	}()
	own := rootfs.Owner{UID: 9, GID: 9}
	made := 0
	for i := 0; i < 400 || made < 10 && i < 100_000; i++ {
		for _, f := range []func(*undo.Stack) (*os.File, error){
			func(u *undo.Stack) (*os.File, error) { return root.MkdirAll(fmt.Sprintf("/a/x%d/y", i), own, u) },
			func(u *undo.Stack) (*os.File, error) { return root.Create(fmt.Sprintf("/a/f%d", i), own, u) },
		} {
			var u undo.Stack
			got, err := f(&u)
			if err != nil {
				continue
			}
			made++
			inside(t, "a changing path", got, dir)
			got.Close()
			if i%2 == 0 {
				err = errTest
				u.OnError(&err)
			}
		}
	}
	close(stop)
	<-stopped
	if made < 10 {
		t.Errorf("only %d attempts succeeded: nothing was tested", made)
	}
	untouched()
}

func TestWhatIsMadeHasItsModeAndOwnerWhateverIsAroundIt(t *testing.T) {
	defer unix.Umask(unix.Umask(0o777))
	for _, own := range []rootfs.Owner{{UID: 0, GID: 0}, {UID: 7, GID: 8}} {
		dir := filepath.Join(t.TempDir(), "image")
		must(t, os.MkdirAll(dir, 0o755))
		for _, p := range []string{"plain", "setgid"} {
			must(t, os.Mkdir(filepath.Join(dir, p), 0o755))
			must(t, os.Chmod(filepath.Join(dir, p), 0o755))
		}
		// As Debian's images have /usr/local: what is made there would be the group's.
		must(t, os.Chown(filepath.Join(dir, "setgid"), 0, 50))
		must(t, os.Chmod(filepath.Join(dir, "setgid"), 0o2775|os.ModeSetgid))
		root := rootAt(t, dir)
		for _, p := range []string{"plain", "setgid"} {
			var u undo.Stack
			f, err := root.Create(p+"/a/b/file", own, &u)
			if err != nil {
				t.Errorf("%s: %v", p, err)
				continue
			}
			f.Close()
			d, err := root.MkdirAll(p+"/c/d", own, &u)
			must(t, err)
			d.Close()
			for path, want := range map[string]string{"a": "d 0755", "a/b": "d 0755", "a/b/file": "f 0644", "c": "d 0755", "c/d": "d 0755"} {
				node(t, filepath.Join(dir, p, path), fmt.Sprintf("%s %d:%d", want, own.UID, own.GID))
			}
		}
	}
}

func TestWhatIsThereIsLeftAsItIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	write(t, filepath.Join(dir, "d/file"), "mine")
	must(t, os.Chmod(filepath.Join(dir, "d"), 0o700))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("d", filepath.Join(dir, "link")))
	before := tree(t, dir)
	root := rootAt(t, dir)
	own := rootfs.Owner{UID: 7, GID: 7}
	for _, path := range []string{"/d", "/d/file", "/fifo", "/link", "/link/file", "/"} {
		var u undo.Stack
		f, err := root.Create(path, own, &u)
		if err != nil {
			t.Errorf("create %s: %v", path, err)
			continue
		}
		f.Close()
		err = errTest
		u.OnError(&err)
	}
	for _, path := range []string{"/", "", ".", "/d", "/link", "/link/.", "/d/../../d"} {
		var u undo.Stack
		f, err := root.MkdirAll(path, own, &u)
		if err != nil {
			t.Errorf("make %s: %v", path, err)
			continue
		}
		f.Close()
		err = errTest
		u.OnError(&err)
	}
	for _, path := range []string{"/d/file", "/d/file/x", "/fifo", "/fifo/x"} {
		var u undo.Stack
		if f, err := root.MkdirAll(path, own, &u); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("make %s: %v, %v, want ENOTDIR", path, f, err)
		}
	}
	if after := tree(t, dir); after != before {
		t.Errorf("the image was\n%s\nand is\n%s", before, after)
	}
}

func TestWhatWasMadeIsUndoneAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	write(t, filepath.Join(dir, "old/file"), "mine")
	before := tree(t, dir)
	root := rootAt(t, dir)
	make := func(u *undo.Stack) {
		d, err := root.MkdirAll("/old/a/b/c", rootfs.Owner{}, u)
		must(t, err)
		d.Close()
		f, err := root.Create("/new/x/file", rootfs.Owner{}, u)
		must(t, err)
		f.Close()
	}
	var u undo.Stack
	make(&u)
	err := errTest
	u.OnError(&err)
	if err != errTest { //nolint:errorlint // nothing is to be added
		t.Errorf("undone with %v", err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("the image was\n%s\nand is\n%s", before, after)
	}

	// What somebody put into it since stays, and is told.
	u = undo.Stack{}
	make(&u)
	write(t, filepath.Join(dir, "old/a/b/theirs"), "theirs")
	err = errTest
	u.OnError(&err)
	if !errors.Is(err, errTest) || !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("undone with %v, want ENOTEMPTY too", err)
	}
	if got := read(t, filepath.Join(dir, "old/a/b/theirs")); got != "theirs" {
		t.Errorf("their file is %q", got)
	}
	gone(t, filepath.Join(dir, "new"))
	gone(t, filepath.Join(dir, "old/a/b/c"))
}

func TestTheRootItselfIsNoPlaceForAFile(t *testing.T) {
	root := rootAt(t, t.TempDir())
	for _, path := range []string{"/", "", ".", "/..", "/a/.."} {
		var u undo.Stack
		if _, _, err := root.Dir(path, rootfs.Owner{}, &u); !errors.Is(err, unix.EEXIST) {
			t.Errorf("%q: %v, want EEXIST", path, err)
		}
	}
}

func TestARootIsToldFromTheHosts(t *testing.T) {
	dir := t.TempDir()
	host, err := rootfs.OfProcess(os.Getpid(), "this host", nil)
	must(t, err)
	defer host.Close()
	for _, c := range []struct {
		root *rootfs.Root
		path string
		want bool
	}{
		{host, "/", true},
		{host, "/..", true},
		{host, dir, false},
		{rootAt(t, dir), dir, true},
		{rootAt(t, dir), dir + "/.", true},
		{rootAt(t, dir), "/", false},
		{rootAt(t, "/"), "/", true},
	} {
		if same, err := c.root.Same(c.path); err != nil || same != c.want {
			t.Errorf("%s: %v, %v, want %v", c.path, same, err, c.want)
		}
	}
	if _, err := host.Same(dir + "/gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
	h := hold(t, nil, pivoted)
	inside, err := rootfs.OfProcess(h.pid, "container "+h.id, nil)
	must(t, err)
	defer inside.Close()
	if same, err := inside.Same("/"); err != nil || same {
		t.Errorf("a pivoted container's root is the host's: %v, %v", same, err)
	}
	if _, err := rootfs.OfProcess(1<<30, "nobody", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no process: %v, want ErrNotExist", err)
	}
}
