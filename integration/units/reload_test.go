package units

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// administrators points a link of which udevd does not know to a disk, or nowhere.
func administrators(t testing.TB, p *plugged) (link string, point func(*plugged)) {
	t.Helper()
	link = "/dev/of-the-administrator"
	point = func(p *plugged) {
		t.Helper()
		must(t, os.RemoveAll(link))
		if p != nil {
			must(t, os.Symlink(p.name, link))
		}
	}
	point(p)
	t.Cleanup(func() { point(nil) })
	return link, point
}

// follows requires the rules to be those of a disk, and not of another.
func follows(t testing.TB, p, not *plugged) {
	t.Helper()
	rule := func(p *plugged) string { return fmt.Sprintf("KERNEL==%q", p.name+"*") }
	if got := read(t, rules); !strings.Contains(got, rule(p)) || strings.Contains(got, rule(not)) {
		t.Errorf("rules %s, want those of %s, not of %s", got, p.name, not.name)
	}
}

func TestTheRulesOfADiskThatWasRenumberedAreRenewedByAnyCommand(t *testing.T) {
	was, is := plug(t), plug(t)
	link, point := administrators(t, was)
	h, b := withRules(t, "")
	if o := b.tool(t, "add-device", h.id, link+":/dev/x:rw"); o.code != 0 {
		t.Fatalf("add-device: %d, %s", o.code, o.said)
	}
	follows(t, was, is)
	point(is)
	b.tool(t, "add-path", h.id, "/etc:/mnt/etc:ro") // which older kernels refuse
	follows(t, is, was)
}

// reloading is an udevd that is told of rules for the first time no sooner than meanwhile is done.
func reloading(t *testing.T, meanwhile func()) (reloads func() string) {
	t.Helper()
	asked, done := filepath.Join(t.TempDir(), "asked"), filepath.Join(t.TempDir(), "done")
	reloads = fakeProgram(t, "udevadm", "touch "+asked+"; while [ ! -e "+done+" ]; do sleep 0.01; done")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = os.WriteFile(done, nil, 0o600) }()
		if sandbox.Await(func() bool { _, err := os.Stat(asked); return err == nil }) {
			meanwhile()
		}
	}()
	t.Cleanup(func() { <-ended })
	return reloads
}

// Before udevd knows the rules nobody tells what becomes of a device: whoever changes them looks again.
func TestWhatChangesWhileUdevdReloadsIsNotMissed(t *testing.T) {
	record := func(p *plugged, link string) string {
		return asJSON(t, map[string]any{"deviceToAdd": []devices.Device{p.record(link, "/dev/x", "rw")}})
	}
	for who, gets := range map[string]func(t *testing.T, p *plugged, link string) (root, dir string){
		"a start": func(t *testing.T, p *plugged, link string) (root, dir string) {
			h := hold(t, nil)
			dir = bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
			write(t, filepath.Join(dir, config.Name), record(p, link))
			t.Cleanup(startsIn(t, h, dir))
			return h.root, dir
		},
		"the helper": func(t *testing.T, p *plugged, link string) (root, dir string) {
			b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(link, "/dev/x", "rw")}}, pivoted)
			b.start()
			t.Cleanup(func() { must(t, os.Remove(rules)) })
			helper(t, 0, "add", b.id, p.name, "/dev/x", "-")
			return b.root, b.dir
		},
		"a unit of systemd's": func(t *testing.T, p *plugged, link string) (root, dir string) {
			b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(link, "/dev/x", "rw")}}, boundNodes()...)
			b.start()
			t.Cleanup(func() { must(t, os.Remove(rules)) })
			units := booted(t)
			args := []string{"add", b.id, p.name, "/dev/x", "-"}
			helper(t, 0, args...)
			if !strings.Contains(units(), "--direct "+strings.Join(args, " ")) {
				t.Errorf("systemd-run %s", units())
			}
			helper(t, 0, append([]string{"--direct"}, args...)...)
			return b.root, b.dir
		},
		"a command": func(t *testing.T, p *plugged, link string) (root, dir string) {
			h := hold(t, nil, pivoted)
			b := inBundle(t, h, "")
			t.Cleanup(func() { must(t, os.Remove(rules)) })
			if o := b.tool(t, "add-device", h.id, link+":/dev/x:rw"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			return h.root, b.dir
		},
	} {
		number := func(p *plugged) string { return fmt.Sprintf("7:%d", p.minor) }
		for what, meanwhile := range map[string]func(t *testing.T, point func(*plugged), was, is *plugged) (x, xp1 string){
			"renumbered": func(_ *testing.T, point func(*plugged), _, is *plugged) (x, xp1 string) {
				point(is)
				return number(is), ""
			},
			"gone": func(_ *testing.T, point func(*plugged), _, _ *plugged) (x, xp1 string) {
				point(nil)
				return "", ""
			},
			"partitioned": func(t *testing.T, _ func(*plugged), was, _ *plugged) (x, xp1 string) {
				return number(was), was.cut(t, 1)
			},
		} {
			t.Run(who+", "+what, func(t *testing.T) {
				was, is := plug(t), plug(t)
				link, point := administrators(t, was)
				var x, xp1 string
				reloads := reloading(t, func() { x, xp1 = meanwhile(t, point, was, is) })
				root, dir := gets(t, was, link)
				for path, want := range map[string]string{"/dev/x": x, "/dev/xp1": xp1} {
					if got := numbersAt(t, root+path); got != want {
						t.Errorf("%s is %q, want %q", path, got, want)
					}
				}
				file := read(t, filepath.Join(dir, config.Name))
				if !strings.Contains(file, `"/dev/x"`) || strings.Contains(file, `"/dev/xp1"`) != (xp1 != "") {
					t.Errorf("recorded is %s", file)
				}
				times := 1
				if what == "renumbered" {
					follows(t, is, was)
				}
				if what != "partitioned" {
					times = 2
				}
				if got, want := reloads(), strings.Repeat("control --reload --timeout=3\n", times); got != want {
					t.Errorf("udevd was told %q, want %q", got, want)
				}
			})
		}
	}
}

// numbersAt are those of a device node; "" if there is none.
func numbersAt(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	switch err := unix.Lstat(path, &st); {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}
