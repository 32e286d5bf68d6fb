package units

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/nsenter"
)

// mountMany has the container bind a folder, "." for itself, so often, at the end of a path
// of so many names of newlines, which are four bytes each in a mount table.
func (h *fakeContainer) mountMany(t testing.TB, what, at string, times, depth int) {
	t.Helper()
	ns, err := nsenter.EnterMount(h.pid, "container "+h.id, nil)
	must(t, err)
	defer ns.Close()
	must(t, ns.Do(func() error {
		if err := unix.Chdir(at); err != nil {
			return err
		}
		name := strings.Repeat("\n", 240)
		for range depth {
			if err := errors.Join(unix.Mkdir(name, 0o755), unix.Chdir(name)); err != nil {
				return err
			}
		}
		for range times {
			if err := unix.Mount(what, ".", "", unix.MS_BIND, ""); err != nil {
				return os.NewSyscallError("mount", err)
			}
		}
		return nil
	}))
}

func TestAPathIsRemovedAmongVeryManyMounts(t *testing.T) {
	if !canShare([]option{pivoted}) {
		return
	}
	const most = 32 << 20 // the first table has 59 MB
	for _, c := range []struct {
		name         string
		what, at     string
		times, depth int
		code         int
	}{
		{"many long lines", ".", "/mnt", 2000, 15, 0},
		{"longer ones than a path can be", ".", "/mnt", 3, 50, 0},
		{"many copies of the path itself", ".", "/mnt/x", 2000, 0, 0},
		{"a copy of it further down than anybody looks", "/mnt/x", "/mnt", 1, 100, 1}, // that is said
	} {
		t.Run(c.name, func(t *testing.T) {
			h, target := shared(t, nil, pivoted)
			target.Pivoted = true
			b := inBundle(t, h, "")
			data := hostDir(t)
			if got := b.tool(t, "add-path", b.id, data+":/mnt/x"); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			b.mountMany(t, c.what, c.at, c.times, c.depth)
			// The kernel counts what this process has when it starts another, too.
			usual := b.tool(t, "list-path", b.id).rss
			got := b.tool(t, "remove-path", b.id, data+":/mnt/x")
			if got.code != c.code || len(got.said) > 1000 || got.rss > usual+most {
				t.Errorf("exit code %d, %q, with %d bytes of memory; want %d, and less than %d and %d", got.code, got.said, got.rss, c.code, usual, most)
			}
			if kept := strings.Contains(read(t, filepath.Join(b.dir, config.Name)), "/mnt/x"); kept != (c.code != 0) {
				t.Errorf("it is still recorded: %v", kept)
			}
			if c.code == 0 {
				gone(t, h.root+"/mnt/x/file")
			}
			b.hook(t, "poststop") // what is still granted is kept until then
			gone(t, "/run/isulad-tools/containers/."+b.id+".granted")
		})
	}
}
