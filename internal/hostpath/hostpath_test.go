package hostpath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinksAreShownInTheOrderInWhichTheyAreFollowed(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	if err := os.MkdirAll(filepath.Join(top, "a/real/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"a/rel": "real", "abs": top + "/a/rel", "up": "a/rel/../real", "slashes": top + "//a///real//", "dot": ".",
		"loop": "loop", "gone": "nowhere", "parent": "..",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, c := range []struct {
		path, leads string
		shown       []string // the names of the links
		err         error
	}{
		{"a/real/x", "a/real/x", nil, nil},
		{"a/rel/x", "a/real/x", []string{"rel"}, nil},
		{"a/rel", "a/real", []string{"rel"}, nil},
		{"abs/x", "a/real/x", []string{"abs", "rel"}, nil},
		{"up/x", "a/real/x", []string{"up", "rel"}, nil},
		{"slashes/x", "a/real/x", []string{"slashes"}, nil},
		{"dot/dot/abs", "a/real", []string{"dot", "dot", "abs", "rel"}, nil},
		{"gone", "", []string{"gone"}, unix.ENOENT},
		{"a/rel/missing", "", []string{"rel"}, unix.ENOENT},
		{"a/real/x/y", "", nil, unix.ENOENT},
		{"loop", "", slices.Repeat([]string{"loop"}, maxLinks+1), unix.ELOOP},
	} {
		t.Run(c.path, func(t *testing.T) {
			var shown []string
			f, err := Open(filepath.Join(top, c.path), func(l Link) error {
				shown = append(shown, filepath.Base(l.Path))
				return nil
			})
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if !slices.Equal(shown, c.shown) {
				t.Errorf("shown are %q, want %q", shown, c.shown)
			}
			if err != nil {
				return
			}
			defer f.Close()
			is, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
			if err != nil || is != filepath.Join(top, c.leads) {
				t.Errorf("it leads to %s, %v, want %s", is, err, c.leads)
			}
		})
	}
}

func TestALinkThatIsRefusedIsNotFollowed(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	if err := os.Symlink("/", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	f, err := Open(filepath.Join(top, "link/etc"), func(l Link) error {
		if l.Path != filepath.Join(top, "link") || l.Target != "/" {
			t.Errorf("shown is %s -> %s", l.Path, l.Target)
		}
		return no
	})
	if f != nil || !errors.Is(err, no) {
		t.Errorf("%v, %v, want %v", f, err, no)
	}
}

// What a link of /proc says is not where it leads.
func TestLinksToWhatAProcessHasOpenAreRefused(t *testing.T) {
	t.Parallel()
	for path, ok := range map[string]bool{
		"/proc/self/status": true, "/proc/thread-self/status": true, "/": true, "/proc": true,
		"/proc/self/root": false, "/proc/self/cwd/x": false, "/proc/self/fd/0": false, "/proc/1/root/etc": false,
	} {
		t.Run(path, func(t *testing.T) {
			f, err := Open(path, func(Link) error { return nil })
			f.Close()
			if (err == nil) != ok {
				t.Errorf("%s: %v, want it opened: %v", path, err, ok)
			}
		})
	}
}
