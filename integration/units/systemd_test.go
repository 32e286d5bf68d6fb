package units

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/integration/sandbox"
)

// inScope puts a held container into a cgroup that has the name of a unit of systemd's.
func inScope(t testing.TB, h *fakeContainer) {
	t.Helper()
	before := h.cgroupDir()
	h.cgroup = filepath.Join(sandbox.CgroupParent()+".slice", h.id+".scope")
	must(t, os.MkdirAll(h.cgroupDir(), 0o755))
	write(t, h.cgroupDir()+"/devices.deny", "a")
	write(t, h.cgroupDir()+"/devices.allow", "c *:* m")
	move := func(dir string) { write(t, filepath.Join(dir, "cgroup.procs"), strconv.Itoa(h.pid)) }
	move(h.cgroupDir())
	t.Cleanup(func() {
		move(before)
		must(t, os.Remove(h.cgroupDir()))
		must(t, os.Remove(filepath.Dir(h.cgroupDir())))
	})
}

// ofSystemd makes the machine one of systemd's, until the test ends.
func ofSystemd(t testing.TB) {
	t.Helper()
	must(t, os.MkdirAll("/run/systemd/system", 0o755))
	t.Cleanup(func() { must(t, os.RemoveAll("/run/systemd")) })
}

// deafSystemd makes the machine one of systemd's, which takes calls and answers none.
func deafSystemd(t testing.TB) {
	t.Helper()
	ofSystemd(t)
	l, err := net.Listen("unix", "/run/systemd/private")
	must(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
}

// systemd takes a device away at its next daemon-reload that it does not know of.
func TestADeviceThatSystemdIsNotToldOf(t *testing.T) {
	d := fuse(t, "/dev/a")
	record := asJSON(t, map[string]any{"deviceToAdd": []any{d}})
	const rule = "c 10:229 rw"
	add := func(b *bundle) outcome { return b.tool(t, "add-device", b.id, d.PathOnHost+":/dev/a:rw") }
	for _, c := range []struct {
		name     string
		recorded string
		deaf     bool
		do       func(*bundle) outcome
		code     int
		says     []string // on its output or in its log
		has      bool
	}{
		{"is taken back by a command, which says what to do", "", true, add, 1, []string{
			"Failed to add device: tell systemd that unit ", "nothing is added, because", "repeat the command when systemctl works", "--update-config-only",
		}, false},
		{"is there where no systemd runs", "", false, add, 0, nil, true},
		{"is recorded with --update-config-only", "", true, func(b *bundle) outcome {
			return b.tool(t, "add-device", "--update-config-only", b.id, d.PathOnHost+":/dev/b:rw")
		}, 0, nil, false},
		{"is there after a start, which says it in the log", record, true, func(b *bundle) outcome {
			log := filepath.Join(t.TempDir(), "log")
			got := start(t, b.state, "prestart", "--log", log).wait()
			got.said += read(t, log)
			t.Cleanup(func() { b.hook(t, "poststop") })
			return got
		}, 0, []string{"systemd's next daemon-reload "}, true},
		{"is taken away for all that, with a warning", record, true, func(b *bundle) outcome {
			if got := start(t, b.state, "prestart").wait(); got.code != 0 {
				t.Fatalf("start: %+v", got)
			}
			t.Cleanup(func() { b.hook(t, "poststop") })
			return b.tool(t, "remove-device", b.id, d.PathOnHost+":/dev/a")
		}, 0, []string{"warning: ", "systemd's next daemon-reload ", "done"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hold(t, nil, pivoted)
			inScope(t, h)
			b := inBundle(t, h, c.recorded)
			if c.deaf {
				deafSystemd(t)
			}
			got := c.do(b)
			if got.code != c.code {
				t.Errorf("it ends with %d, want %d: %s", got.code, c.code, got.said)
			}
			for _, want := range c.says {
				if !strings.Contains(got.said, want) {
					t.Errorf("it says %q, want %q", got.said, want)
				}
			}
			if len(c.says) == 0 && strings.Contains(got.said, "warning") {
				t.Errorf("it says %q, want no warning", got.said)
			}
			_, err := os.Lstat(b.root + "/dev/a")
			if allowed := strings.Contains(b.allowed(t), rule); allowed != c.has || (err == nil) != c.has {
				t.Errorf("allowed: %t, its node: %v, want it there: %t", allowed, err, c.has)
			}
			// What a command could not do is not recorded either.
			if now, _ := os.ReadFile(filepath.Join(b.dir, config.Name)); c.code != 0 && strings.Contains(string(now), "deviceToAdd") {
				t.Errorf("recorded is %s", now)
			}
		})
	}
}
