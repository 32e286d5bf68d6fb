package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
)

// iSulad takes "no such file or directory" for the container's command that is not
// there.
func TestARefusalDoesNotReadAsACommandThatIsNotThere(t *testing.T) {
	gone := devices.Device{Type: "b", Major: 7, Minor: 99, PathOnHost: "/dev/units-gone", PathInContainer: "/dev/x"}
	for _, c := range []struct {
		name  string
		file  map[string]any
		spoil func(t *testing.T, b *bundle)
		says  string
	}{
		{"a device is gone", map[string]any{"deviceToAdd": []devices.Device{gone}}, nil, "/dev/units-gone"},
		{"a disk with a limit is gone", map[string]any{"readBps": []devices.Limit{{Path: "/dev/units-gone", Value: "1"}}}, nil, "/dev/units-gone"},
		{"config.json is gone", map[string]any{}, func(t *testing.T, b *bundle) { must(t, os.Remove(filepath.Join(b.dir, container.SpecName))) }, container.SpecName},
		{"the bundle is gone", map[string]any{}, func(t *testing.T, b *bundle) { must(t, os.RemoveAll(b.dir)) }, "bundle"},
		{"the cgroup is gone", map[string]any{"deviceToAdd": []devices.Device{zero("/dev/z")}}, func(t *testing.T, b *bundle) {
			write(t, filepath.Join(b.dir, container.SpecName), asJSON(t, map[string]any{
				"root": map[string]any{"path": b.image}, "linux": map[string]any{"cgroupsPath": "/units/none"},
			}))
		}, "/units/none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hold(t, nil)
			b := inBundle(t, h, asJSON(t, c.file))
			if c.spoil != nil {
				c.spoil(t, b)
			}
			o := b.hook(t, "prestart")
			if o.code != 1 || !strings.Contains(o.said, c.says) || !strings.Contains(o.said, "it is not there") ||
				strings.Contains(strings.ToLower(o.said), "no such file") || strings.Count(o.said, "\n") != 1 {
				t.Errorf("%d, %q, want one line that names %s and has no such words", o.code, o.said, c.says)
			}
			if _, err := os.Stat(filepath.Join(b.dir, config.Name)); err != nil && c.name != "the bundle is gone" {
				t.Error(err)
			}
			log := filepath.Join(t.TempDir(), "log")
			if o := start(t, b.state, "poststop", "--log", log).wait(); o.code != 0 {
				t.Errorf("poststop: %d, %s", o.code, o.said)
			}
			if c.name == "the bundle is gone" { // which is what poststop is used to
				if said := read(t, log); strings.Contains(said, "warning") {
					t.Errorf("poststop warns: %s", said)
				}
			}
		})
	}
}
