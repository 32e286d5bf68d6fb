package units

import (
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/place"
)

func (b *bundle) onDemand(t *testing.T, stage string) outcome {
	t.Helper()
	return start(t, b.state, stage, "--on-demand", "--log", filepath.Join(t.TempDir(), "log")).wait()
}

// What an on-demand hook leaves alone it does not touch.
func TestAContainerThatAsksForNothingIsLeftAlone(t *testing.T) {
	b := inBundle(t, hold(t, nil, pivoted), "")
	files, mounts, inside := tree(t, b.dir), allMounts(t), mountsOf(t, b.pid)
	for _, stage := range []string{"prestart", "poststart", "poststop"} {
		if got := b.onDemand(t, stage); got.code != 0 || got.said != "" {
			t.Errorf("%s: %+v", stage, got)
		}
		if now := tree(t, b.dir); now != files {
			t.Errorf("%s: the bundle was\n%s\nand is\n%s", stage, files, now)
		}
		if now := allMounts(t); now != mounts {
			t.Errorf("%s: the host's mounts were\n%s\nand are\n%s", stage, mounts, now)
		}
		if now := mountsOf(t, b.pid); now != inside {
			t.Errorf("%s: the container's mounts were\n%s\nand are\n%s", stage, inside, now)
		}
		for _, path := range []string{filepath.Join(place.Isulad.Starts(), b.id), filepath.Join(place.Isulad.NetNS(), b.id), filepath.Join(place.Master, b.id)} {
			gone(t, path)
		}
	}
}

func TestAContainerThatAsksForSomethingIsServedOnDemand(t *testing.T) {
	for name, ask := range map[string]func(*testing.T, *bundle){
		"something is recorded": func(t *testing.T, b *bundle) { write(t, filepath.Join(b.dir, config.Name), "{}") },
		"its environment names a module": func(t *testing.T, b *bundle) {
			write(t, filepath.Join(b.dir, container.SpecName), asJSON(t, map[string]any{
				"root": map[string]any{"path": b.image}, "linux": map[string]any{"cgroupsPath": b.cgroup},
				"process": map[string]any{"env": []string{"KERNEL_MODULES=loop"}},
			}))
		},
		"an earlier start left its pin": func(t *testing.T, b *bundle) { write(t, filepath.Join(place.Isulad.NetNS(), b.id), "") },
		"an earlier start left its record": func(t *testing.T, b *bundle) {
			write(t, filepath.Join(place.Isulad.Starts(), b.id), `{"engine":"lcr","init":{"pid":1,"start":1}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := inBundle(t, hold(t, nil, pivoted), "")
			ask(t, b)
			if got := b.onDemand(t, "prestart"); got.code != 0 {
				t.Fatalf("prestart: %+v", got)
			}
			if record := read(t, filepath.Join(place.Isulad.Starts(), b.id)); !strings.Contains(record, b.dir) {
				t.Errorf("its start record is %s", record)
			}
			if got := b.onDemand(t, "poststop"); got.code != 0 {
				t.Errorf("poststop: %+v", got)
			}
			for _, path := range []string{filepath.Join(place.Isulad.Starts(), b.id), filepath.Join(place.Isulad.NetNS(), b.id), filepath.Join(place.Master, b.id)} {
				gone(t, path)
			}
		})
	}
}

// What a command gives to a container that runs without, poststop takes back.
func TestWhatACommandGaveOnDemandGoesWithTheContainer(t *testing.T) {
	b := inBundle(t, hold(t, nil, pivoted), "")
	if got := b.onDemand(t, "prestart"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if got := b.tool(t, "add-device", b.id, "/dev/fuse:/dev/x"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if rules := b.allowed(t); !strings.Contains(rules, "10:229") {
		t.Errorf("the container may use\n%s", rules)
	}
	if got := b.onDemand(t, "poststop"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	gone(t, filepath.Join(place.Isulad.Starts(), "."+b.id+".granted"))
}
