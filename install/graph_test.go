package install

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"isula.org/isulad-tools/internal/place"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func TestTheGraphRootIsTheOneAskedForElseConfiguredElseDefault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, asked, daemon string
		dirs                []string
		want                string
	}{
		{name: "nothing known", want: "/var/lib/isulad"},
		{name: "asked", asked: "/g/", daemon: `{"graph":"/other"}`, want: "/g"},
		{name: "asked, configuration broken", asked: "/g", daemon: `{`, want: "/g"},
		{name: "configured", daemon: `{"group":"isula","graph":"/data/isulad"}`, want: "/data/isulad"},
		{name: "configured elsewhere than it lies", daemon: `{"graph":"/data"}`, dirs: []string{"/var/lib/isulad"}, want: "/data"},
		{name: "no such key", daemon: `{"Graph":"/data"}`, want: "/var/lib/isulad"},
		{name: "empty", daemon: `{"graph":""}`, want: "/var/lib/isulad"},
		{name: "null", daemon: `{"graph":null}`, want: "/var/lib/isulad"},
		{name: "of 2019", dirs: []string{"/var/lib/lcrd"}, want: "/var/lib/lcrd"},
		{name: "of 2019, upgraded", dirs: []string{"/var/lib/lcrd", "/var/lib/isulad"}, want: "/var/lib/isulad"},
		{name: "of 2019, today's configured", dirs: []string{"/var/lib/lcrd"}, daemon: `{}`, want: "/var/lib/isulad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, dir := range c.dirs {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if c.daemon != "" {
				put(t, root, place.DaemonJSON, c.daemon, 0o600)
			}
			dest, err := openTree(root, false)
			if err != nil {
				t.Fatal(err)
			}
			defer dest.close()
			got, err := findGraph(dest, c.asked)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestABrokenConfigurationStopsBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	for daemon, word := range map[string]string{
		"":                         "daemon.json",
		"{":                        "daemon.json",
		`{"graph":"/a"} x`:         "daemon.json",
		`{"graph":3}`:              "graph",
		`{"graph":"a/b"}`:          "a/b",
		strings.Repeat(" ", 2<<20): "larger than",
	} {
		t.Run(daemon, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, place.DaemonJSON, daemon, 0o600)
			out, err := do(t, root, "", build(t, "v1"))
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%.20q: error %v does not name %q\n%s", daemon, err, word, out)
			}
			if got := files(t, root, false); len(got) != 1 {
				t.Errorf("%.20q: made %v", daemon, got)
			}
		})
	}
	if _, err := do(t, t.TempDir(), "relative", build(t, "v1")); err == nil {
		t.Error("a relative GRAPH was accepted")
	}
}

// Below DESTDIR an absolute symlink is refused; on the running system an
// operator's /var/lib/isulad -> /data/isulad is the ordinary case.
func TestOnTheRunningSystemAbsoluteSymlinksAreFollowed(t *testing.T) {
	t.Parallel()
	real, links := t.TempDir(), t.TempDir()
	link(t, real, filepath.Join(links, "isulad"))
	host, err := openTree("/", false)
	if err != nil {
		t.Fatal(err)
	}
	defer host.close()
	hooks := filepath.Join(links, "isulad/hooks")
	if err := host.mkdir(hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := host.write(filepath.Join(hooks, "isulad-hooks"), strings.NewReader("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := read(t, real, "hooks/isulad-hooks"); got != "x" {
		t.Errorf("wrote %q", got)
	}
}
