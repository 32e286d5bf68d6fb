package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// write makes files with their folders.
func write(t *testing.T, files ...string) {
	t.Helper()
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsHidden(t *testing.T) {
	const config = "/etc/isulad/daemon.json"
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("disk", filepath.Join(dir, "graph")); err != nil {
		t.Fatal(err)
	}
	write(t, config)
	t.Cleanup(func() {
		if err := os.RemoveAll(filepath.Dir(config)); err != nil {
			t.Error(err)
		}
	})
	usual := hidden() // the configuration is no JSON
	for _, want := range []string{"/.sharedpath", "/etc/isulad", "/etc/udev/rules.d", "/usr/local/bin/isulad-tools", "/var/lib/isulad"} {
		if !slices.Contains(usual, want) {
			t.Errorf("%s is not hidden: %q", want, usual)
		}
	}
	for _, p := range places {
		if !withinAny(p, fresh) && !withinAny(p, usual) {
			t.Errorf("in %s a fingerprint shows what the host has", p)
		}
	}
	for _, c := range []struct {
		what, config string
		more         []string
	}{
		{"a graph of its own", `{"graph": "` + dir + `/disk/", "group": "isula"}`, []string{dir + "/disk"}},
		{"a graph that is a link", `{"graph": "` + dir + `/graph"}`, []string{dir + "/disk", dir + "/graph"}},
		{"a graph that is not there yet", `{"graph": "` + dir + `/later"}`, []string{dir + "/later"}},
		{"a graph below what is hidden", `{"graph": "/var/lib/isulad/graph"}`, nil},
		{"the root as graph", `{"graph": "/"}`, nil},
		{"a relative graph", `{"graph": "graph"}`, nil},
		{"no graph", `{}`, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			if err := os.WriteFile(config, []byte(c.config), 0o644); err != nil {
				t.Fatal(err)
			}
			got := hidden()
			want := append(slices.Clone(usual), c.more...)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("hidden: %q, want %q", got, want)
			}
		})
	}
}

func TestALayerTakesChangesAndHides(t *testing.T) {
	dir := t.TempDir()
	lower := filepath.Join(dir, `odd: "name", with \ in it`)
	write(t, lower+"/kept/file", lower+"/kept/hidden/deep/file", lower+"/gone")
	if err := os.Chmod(lower+"/kept", 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(lower+"/kept", 7, 8); err != nil {
		t.Fatal(err)
	}
	before, err := Tree(lower, nil)
	if err != nil {
		t.Fatal(err)
	}

	l := layers{dir: filepath.Join(dir, "layers"), hidden: []string{lower + "/kept/hidden", lower + "/kept/later", "/elsewhere"}}
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.layer(lower, target); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	})
	write(t, lower+"/kept/later") // as the host would

	for path, want := range map[string]string{"/kept": "d 0711 7:8", "/kept/file": "f 0644 0:0", "/gone": "f 0644 0:0", "/kept/hidden": "", "/kept/later": ""} {
		t.Run(path, func(t *testing.T) {
			n, err := Lstat(target + path)
			if want == "" && errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err != nil || n.String() != want {
				t.Errorf("%s is %q, %v, want %q", path, n, err, want)
			}
		})
	}
	write(t, target+"/kept/hidden/new", target+"/new")
	if err := os.Remove(target + "/gone"); err != nil {
		t.Fatal(err)
	}
	if found, err := os.ReadDir(target + "/kept/hidden"); err != nil || len(found) != 1 {
		t.Errorf("what is made anew has %v, %v", found, err)
	}
	if err := os.Remove(lower + "/kept/later"); err != nil {
		t.Fatal(err)
	}
	// Made and removed while the host has none; then the host has one again.
	write(t, target+"/kept/later/file")
	if err := os.RemoveAll(target + "/kept/later"); err != nil {
		t.Fatal(err)
	}
	write(t, lower+"/kept/later")
	write(t, target+"/kept/other")
	if found, err := os.ReadDir(target + "/kept"); err != nil || len(found) != 3 {
		t.Errorf("a folder of the host's shines through: %v, %v", found, err)
	}
	if n, err := Lstat(target + "/kept/later"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the host made meanwhile is %v, %v", n, err)
	}
	if err := os.Remove(lower + "/kept/later"); err != nil {
		t.Fatal(err)
	}
	after, err := Tree(lower, nil)
	if err != nil {
		t.Fatal(err)
	}
	for p, n := range before {
		if after[p] != n || len(after) != len(before) {
			t.Errorf("below the layer %s is %v, was %v", p, after[p], n)
		}
	}
}

func TestChangedIsWhatThisWorldChanged(t *testing.T) {
	changed := func() map[string]Node {
		t.Helper()
		all, err := Changed()
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	const made, removed = "/opt/of-the-sandbox/file", "/etc/passwd"
	before := changed()
	for _, p := range []string{made, removed, "/etc/hosts"} {
		if n, ok := before[p]; ok {
			t.Errorf("%s is changed already: %v", p, n)
		}
	}
	write(t, made)
	if err := os.Rename(removed, removed+"~"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(os.Rename(removed+"~", removed), os.RemoveAll(filepath.Dir(made))); err != nil {
			t.Error(err)
		}
	})
	after := changed()
	if got := after[made].String(); got != "f 0644 0:0" {
		t.Errorf("%s is %q", made, got)
	}
	if got := after[removed].String(); got != "c 0000 0:0 0:0" {
		t.Errorf("%s, which was removed, is %q", removed, got)
	}
	if n, ok := after["/etc/hosts"]; ok {
		t.Errorf("/etc/hosts is said to be changed: %v", n)
	}
}
