package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// withNode is a folder of the host that has /dev/zero's device in it.
func withNode(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "with")
	must(t, os.MkdirAll(filepath.Join(dir, "in"), 0o755))
	must(t, sandbox.Mknod(filepath.Join(dir, "in/zero"), unix.S_IFCHR|0o666, 1, 5, 0, 0))
	return dir
}

func TestADeviceThatAPathWouldHideIsRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		first   string // what is recorded
		command string
		says    string // "": it is done
	}{
		{"below a path", "add-path ID DIR:/opt", "add-device ID /dev/zero:/opt/a/zero", "device /dev/zero:/opt/a/zero would be hidden by the path DIR:/opt"},
		{"in the place of a path", "add-path ID DIR:/opt", "add-device ID /dev/zero:/opt", "would be hidden by the path DIR:/opt"},
		{"beside a path", "add-path ID DIR:/opt", "add-device ID /dev/zero:/opt2", ""},
		{"below the inner one of two paths", "add-path ID WITH:/opt DIR:/opt/in", "add-device ID /dev/zero:/opt/in/zero", "would be hidden by the path DIR:/opt/in"},
		{"the host has it there", "add-path ID WITH:/opt", "add-device ID /dev/zero:/opt/in/zero", ""},
		{"the host has another one there", "add-path ID WITH:/opt", "add-device ID /dev/null:/opt/in/zero", "would be hidden"},
		{"a path above it", "add-device ID /dev/zero:/opt/a/zero", "add-path ID DIR:/opt", "device /dev/zero:/opt/a/zero would be hidden by the path DIR:/opt"},
		{"a path above it that has it", "add-device ID /dev/zero:/opt/in/zero", "add-path ID WITH:/opt", ""},
		{"a path below it", "add-device ID /dev/zero:/opt/zero", "add-path ID DIR:/opt/dir", ""},
	} {
		for _, runs := range []bool{true, false} {
			name := c.name + map[bool]string{true: ", it runs", false: ", it does not run"}[runs]
			t.Run(name, func(t *testing.T) {
				if !canShare([]option{pivoted}) {
					return
				}
				h := hold(t, nil, pivoted)
				must(t, share(t, h.target(t, hostOwner)))
				b := inBundle(t, h, "")
				if !runs {
					write(t, filepath.Join(b.runc, h.id, "state.json"), asJSON(t, map[string]any{
						"id": h.id, "config": map[string]any{"labels": []string{"bundle=" + b.dir}},
					}))
				}
				dir, with := hostDir(t), withNode(t)
				words := strings.NewReplacer("ID", h.id, "DIR", dir, "WITH", with)
				if o := b.tool(t, strings.Fields(words.Replace(c.first))...); o.code != 0 {
					t.Fatalf("%s: %d, %s", c.first, o.code, o.said)
				}
				before, file := tree(t, dir)+tree(t, with), read(t, filepath.Join(b.dir, config.Name))
				o := b.tool(t, strings.Fields(words.Replace(c.command))...)
				if c.says == "" && o.code != 0 || c.says != "" && (o.code != 1 || !strings.Contains(o.said, words.Replace(c.says))) {
					t.Errorf("%s: %d, %q, want %q", c.command, o.code, o.said, words.Replace(c.says))
				}
				if after := tree(t, dir) + tree(t, with); after != before {
					t.Errorf("the host's folders were\n%s\nand are\n%s", before, after)
				}
				if after := read(t, filepath.Join(b.dir, config.Name)); (after == file) != (c.says != "") {
					t.Errorf("the file is %s", after)
				}
			})
		}
	}
}

// What older versions recorded, and what an image's links come to, is said by a start.
func TestAStartSaysWhichDeviceAPathHides(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		if !canShare(options) {
			return
		}
		h := hold(t, func(image string) { must(t, os.Symlink("opt", filepath.Join(image, "link"))) }, options...)
		dir, with := hostDir(t), withNode(t)
		before := tree(t, dir) + tree(t, with)
		null := devices.Device{Type: "c", Major: 1, Minor: 3, PathOnHost: "/dev/null", PathInContainer: "/link/null"}
		b := inBundle(t, h, asJSON(t, map[string]any{
			"bindToAdd":   []string{dir + ":/opt:rw", with + ":/with:rw"},
			"deviceToAdd": []devices.Device{zero("/opt/zero"), zero("/dev/plain"), zero("/with/in/zero"), null},
		}))
		log := filepath.Join(t.TempDir(), "log")
		if o := start(t, b.state, "prestart", "--log", log).wait(); o.code != 0 {
			t.Fatalf("prestart: %d, %s", o.code, o.said)
		}
		said := read(t, log)
		for _, want := range []string{
			"device /dev/zero:/opt/zero:rw (1:5) is hidden by the path " + dir + ":/opt:rw: remove-device or remove-path one of them",
			"device /dev/null:/link/null: (1:3) is hidden by a mount over it",
		} {
			if !strings.Contains(said, want) {
				t.Errorf("the log does not say %q:\n%s", want, said)
			}
		}
		if n := strings.Count(said, "is hidden"); n != 2 {
			t.Errorf("%d devices are said to be hidden, want 2:\n%s", n, said)
		}
		if after := tree(t, dir) + tree(t, with); after != before {
			t.Errorf("the host's folders were\n%s\nand are\n%s", before, after)
		}
		if o := b.hook(t, "poststop"); o.code != 0 || o.said != "" {
			t.Errorf("poststop: %d, %s", o.code, o.said)
		}
	})
}
