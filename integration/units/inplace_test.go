package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/place"
)

// What stands in a file's place is told at once: nobody opens the other end of a
// FIFO.
func TestWhatIsNoFileIsToldAtOnce(t *testing.T) {
	ours := func(p string) func(*bundle) string { return func(b *bundle) string { return filepath.Join(b.dir, p) } }
	host := func(p string) func(*bundle) string { return func(*bundle) string { return p } }
	started := func(b *bundle) string { return filepath.Join(place.Isulad.Starts(), b.id) }
	pin := func(b *bundle) string { return filepath.Join(place.Isulad.NetNS(), b.id) }
	const survives, fails = false, true
	stages := map[string]func(*testing.T, *bundle) outcome{
		"prestart":     func(t *testing.T, b *bundle) outcome { return b.hook(t, "prestart") },
		"poststop":     func(t *testing.T, b *bundle) outcome { return b.hook(t, "poststop") },
		"list-path":    func(t *testing.T, b *bundle) outcome { return b.tool(t, "list-path", b.id) },
		"add-path":     func(t *testing.T, b *bundle) outcome { return b.tool(t, "add-path", b.id, "/usr:/mnt/y") },
		"add-device":   func(t *testing.T, b *bundle) outcome { return b.tool(t, "add-device", b.id, "/dev/zero:/dev/y") },
		"add-module":   func(t *testing.T, b *bundle) outcome { return b.tool(t, "add-module", b.id, "loop") },
		"list-module":  func(t *testing.T, b *bundle) outcome { return b.tool(t, "list-module") },
		"check-module": func(t *testing.T, b *bundle) outcome { return b.tool(t, "check-module", "loop") },
		"with a log there": func(t *testing.T, b *bundle) outcome {
			return b.tool(t, "--log", filepath.Join(b.dir, "log"), "list-path", b.id)
		},
		"prestart with a log there": func(t *testing.T, b *bundle) outcome {
			return start(t, b.state, "prestart", "--log", filepath.Join(b.dir, "log")).wait()
		},
	}
	for _, c := range []struct {
		stage, file string
		path        func(*bundle) string
		fails       bool
	}{
		{"prestart", "the specification", ours(container.SpecName), fails},
		{"prestart", "the resource file", ours(config.Name), fails},
		{"prestart", "the container's lock", ours(config.LockName), fails},
		{"prestart", "the start record", started, survives},
		{"prestart", "the udev rules", host(rules), fails},
		{"prestart", "the older udev rules", host(oldRules), fails},
		{"prestart", "the pinned network namespace", pin, survives},
		{"prestart with a log there", "the log", ours("log"), survives},
		{"poststop", "the specification", ours(container.SpecName), survives},
		{"poststop", "the resource file", ours(config.Name), survives},
		{"poststop", "the container's lock", ours(config.LockName), survives},
		{"poststop", "the start record", started, survives},
		{"poststop", "the udev rules", host(rules), survives},
		{"poststop", "the pinned network namespace", pin, survives},
		{"list-path", "the resource file", ours(config.Name), fails},
		{"list-path", "runc's state", func(b *bundle) string { return filepath.Join(b.runc, b.id, "state.json") }, fails},
		{"add-path", "the specification", ours(container.SpecName), fails},
		{"add-path", "the resource file", ours(config.Name), fails},
		{"add-path", "the container's lock", ours(config.LockName), fails},
		{"add-path", "the start record", started, fails},
		{"add-device", "the start record", started, fails},
		{"add-module", "the policy for modules", host(place.ModulePolicy), fails},
		{"add-module", "the specification", ours(container.SpecName), fails},
		{"list-module", "what we loaded", host("/run/isulad-tools/modules/loaded"), fails},
		{"check-module", "the policy for modules", host(place.ModulePolicy), fails},
		{"with a log there", "the log", ours("log"), fails},
	} {
		for kind, put := range map[string]func(string) error{
			"FIFO":      func(p string) error { return unix.Mkfifo(p, 0o600) },
			"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		} {
			c := c // one for each kind
			t.Run(fmt.Sprintf("%s, %s, %s", c.stage, c.file, kind), func(t *testing.T) {
				b := inBundle(t, hold(t, nil), `{"networkInterfaces":[]}`)
				p := c.path(b)
				must(t, os.MkdirAll(filepath.Dir(p), 0o755))
				must(t, os.RemoveAll(p))
				must(t, put(p))
				t.Cleanup(func() { must(t, os.RemoveAll(p)) })
				got := stages[c.stage](t, b)
				// A file takes a FIFO's place, but no directory's.
				c.fails = c.fails || p == started(b) && c.stage == "prestart" && kind == "directory"
				if c.fails && (got.code != 1 || !strings.Contains(got.said, p)) || !c.fails && got.code != 0 {
					t.Errorf("exit code %d, %q; want a failure that names %s: %v", got.code, got.said, p, c.fails)
				}
				if got.took > 20*time.Second {
					t.Errorf("took %v", got.took)
				}
				if strings.HasPrefix(c.stage, "prestart") {
					b.hook(t, "poststop")
				}
			})
		}
	}
}
