package units

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/nsenter"
)

// mountMany has the container bind a folder on itself so often, at the end of a path
// of so many names of newlines, which are four bytes each in a mount table.
func (h *holder) mountMany(t testing.TB, times, depth int) {
	t.Helper()
	ns, err := nsenter.EnterMount(h.pid, "container "+h.id, nil)
	must(t, err)
	defer ns.Close()
	must(t, ns.Do(func() error {
		if err := unix.Chdir("/mnt"); err != nil {
			return err
		}
		name := strings.Repeat("\n", 240)
		for range depth {
			if err := errors.Join(unix.Mkdir(name, 0o755), unix.Chdir(name)); err != nil {
				return err
			}
		}
		for range times {
			if err := unix.Mount(".", ".", "", unix.MS_BIND, ""); err != nil {
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
		times, depth int
	}{
		{"many long lines", 2000, 15},
		{"longer ones than a path can be", 3, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, target := shared(t, nil, pivoted)
			target.Pivoted = true
			b := inBundle(t, h, "")
			data := hostDir(t)
			if got := b.tool(t, "add-path", b.id, data+":/mnt/x"); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			b.mountMany(t, c.times, c.depth)
			// The kernel counts what this process has when it starts another, too.
			usual := b.tool(t, "list-path", b.id).rss
			got := b.tool(t, "remove-path", b.id, data+":/mnt/x")
			if got.code != 0 || got.rss > usual+most {
				t.Errorf("exit code %d, %q, with %d bytes of memory; want less than %d and %d", got.code, got.said, got.rss, usual, most)
			}
			gone(t, h.root+"/mnt/x/file")
		})
	}
}
