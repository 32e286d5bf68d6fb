package units

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/hooks"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// bundleOf is a bundle for a held container, with a device and a path recorded.
func bundleOf(t testing.TB, h *fakeContainer, spec map[string]any) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "engines/runc", h.id)
	config, err := json.Marshal(spec)
	must(t, err)
	write(t, filepath.Join(dir, "config.json"), string(config))
	write(t, filepath.Join(dir, "device_hook.json"), `{"bindToAdd":["`+hostDir(t)+`:/mnt/x:rw"],`+
		`"deviceToAdd":[{"Type":"c","Minor":229,"Major":10,"PathOnHost":"/dev/fuse","PathInContainer":"/dev/f","CgroupPermissions":"rw","Parent":""}]}`)
	return dir
}

func stage(t testing.TB, stage string, state map[string]any) (code int, stderr string) {
	t.Helper()
	in, err := json.Marshal(state)
	must(t, err)
	var out, msg bytes.Buffer
	h := hooks.Hook{Generation: place.Isulad, Stdin: bytes.NewReader(in), Stdout: &out, Stderr: &msg}
	defer func() {
		if r := recover(); r != nil { // which ends this run, not all tests
			code, stderr = 2, fmt.Sprintf("panic: %v", r)
		}
	}()
	code = h.Run("isulad-hooks", []string{"--state", stage, "--log", filepath.Join(t.TempDir(), "log")})
	if out.Len() != 0 {
		t.Errorf("%s wrote %q on standard output", stage, &out)
	}
	return code, msg.String()
}

func TestPrestartTwiceThenPoststop(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		if !canShare(options) {
			return
		}
		before, err := sandbox.TakeFingerprint()
		must(t, err)
		h := hold(t, nil, options...)
		dir := bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
		state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
		if code, stderr := stage(t, "prestart", state); code != 0 || stderr != "" {
			t.Fatalf("prestart: %d, %s", code, stderr)
		}
		if got := read(t, h.root+"/mnt/x/file"); got != "hi" {
			t.Errorf("the path holds %q", got)
		}
		node(t, h.root+"/dev/f", "c 0666 0:0 10:229")
		start, err := container.ReadStart(h.id)
		must(t, err)
		if init, err := process.ByPID(h.pid); err != nil || start.Init != init || start.Bundle != dir || start.Root != h.image || start.Cgroups["devices"] != h.cgroupDir() || start.Engine != "runc" {
			t.Errorf("recorded %+v, %v", start, err)
		}

		// A hook spec that lists us twice.
		here, there, rules := allMounts(t), h.mountsOf(t), h.allowed(t)
		if code, stderr := stage(t, "prestart", state); code != 0 || stderr != "" {
			t.Errorf("prestart again: %d, %s", code, stderr)
		}
		if allMounts(t) != here || h.mountsOf(t) != there || h.allowed(t) != rules {
			t.Error("the second prestart changed something")
		}

		for range 2 {
			if code, stderr := stage(t, "poststop", map[string]any{"id": h.id, "pid": h.pid, "bundle": dir}); code != 0 || stderr != "" {
				t.Errorf("poststop: %d, %s", code, stderr)
			}
		}
		after, err := sandbox.TakeFingerprint()
		must(t, err)
		for _, d := range before.Diff(after, "cgroup ", "file /.sharedpath", "mount /.sharedpath/master ", "file /run/isulad-tools") {
			t.Errorf("left on the host: %s", d)
		}
		for _, d := range []string{master, midpath, place.Isulad.NetNS(), place.Isulad.Starts()} {
			if got := names(t, d); got != "" {
				t.Errorf("%s has %s", d, got)
			}
		}
	})
}

func TestARootThatIsNotGivenIsNotGuessed(t *testing.T) {
	for what, c := range map[string]struct{ state, spec any }{
		"none at all":           {nil, nil},
		"an empty one":          {"", ""},
		"the host's":            {"/", nil},
		"a relative one":        {"tmp", nil},
		"one that is not there": {"/no/such/root", nil},
		"a file":                {"/etc/passwd", nil},
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, nil)
			spec := map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}}
			if c.spec != nil {
				spec["root"] = map[string]any{"path": c.spec}
			}
			dir := bundleOf(t, h, spec)
			state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir}
			if c.state != nil {
				state["root"] = c.state
			}
			before, rules, there := tree(t, dir), h.allowed(t), h.mountsOf(t)
			code, stderr := stage(t, "prestart", state)
			if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "root") {
				t.Errorf("%s: %d, %q, want 1 and one line about the root", what, code, stderr)
			}
			must(t, os.RemoveAll(filepath.Join(dir, config.LockName)))
			if after := tree(t, dir); after != before {
				t.Errorf("%s: the bundle was\n%s\nand is\n%s", what, before, after)
			}
			if h.allowed(t) != rules || h.mountsOf(t) != there {
				t.Errorf("%s: the container was changed", what)
			}
			for _, p := range []string{"/tmp/dev", "/tmp/mnt", "/tmp/.sharedpath", "/mnt/x", "/dev/f", "/.sharedpath/.sharedpath"} {
				gone(t, p) // on the host
				must(t, os.RemoveAll(p))
			}
			if code, stderr := stage(t, "poststop", state); code != 0 {
				t.Errorf("%s: poststop %d, %s", what, code, stderr)
			}
		})
	}
}

func TestPoststopLeavesAContainerThatRunsAlone(t *testing.T) {
	h := hold(t, nil)
	dir := bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
	state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
	if code, stderr := stage(t, "prestart", state); code != 0 {
		t.Fatalf("prestart: %d, %s", code, stderr)
	}
	here := allMounts(t)
	// That of an earlier start, late: it names another process.
	if code, stderr := stage(t, "poststop", map[string]any{"id": h.id, "pid": h.pid + 100_000, "bundle": dir}); code != 0 {
		t.Errorf("poststop: %d, %s", code, stderr)
	}
	if allMounts(t) != here {
		t.Error("a running container's mounts were removed")
	}
	if _, err := container.ReadStart(h.id); err != nil {
		t.Error(err)
	}
	if code, stderr := stage(t, "poststop", state); code != 0 {
		t.Errorf("poststop: %d, %s", code, stderr)
	}
}

func TestAPathThatFailsIsSkipped(t *testing.T) {
	h := hold(t, func(image string) { write(t, image+"/etc/file", "image") })
	dir := bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
	state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
	data := hostDir(t)
	write(t, filepath.Join(dir, "device_hook.json"), `{"bindToAdd":["`+data+`:/etc/file/x:rw","relative:/y:rw","`+data+`:/mnt/x:rw"]}`)
	if code, stderr := stage(t, "prestart", state); code != 0 || stderr != "" {
		t.Errorf("%d, %s", code, stderr)
	}
	if got := read(t, h.root+"/mnt/x/file"); got != "hi" {
		t.Errorf("the third path holds %q", got)
	}
	if code, stderr := stage(t, "poststop", state); code != 0 {
		t.Errorf("poststop: %d, %s", code, stderr)
	}
}

func TestADeviceThatFailsStopsTheStart(t *testing.T) {
	h := hold(t, nil)
	dir := bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
	state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
	device := func(host, container string) string {
		return fmt.Sprintf(`{"Type":"c","PathOnHost":%q,"PathInContainer":%q}`, host, container)
	}
	write(t, filepath.Join(dir, "device_hook.json"), `{"deviceToAdd":[`+device("/dev/null", "/dev/one")+","+device("/dev/gone", "/dev/two")+","+device("/dev/zero", "/dev/three")+`]}`)
	code, stderr := stage(t, "prestart", state)
	if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "/dev/gone") {
		t.Errorf("%d, %q, want 1 and one line that names it", code, stderr)
	}
	node(t, h.root+"/dev/one", "c 0666 0:0 1:3") // the earlier ones are poststop's
	gone(t, h.root+"/dev/two")
	gone(t, h.root+"/dev/three")
	if _, err := container.ReadStart(h.id); err == nil {
		t.Error("a start that failed is recorded")
	}
	if code, stderr := stage(t, "poststop", state); code != 0 {
		t.Errorf("poststop: %d, %s", code, stderr)
	}
	for _, d := range []string{master, midpath, place.Isulad.NetNS(), place.Isulad.Starts()} {
		if got := names(t, d); got != "" {
			t.Errorf("%s has %s", d, got)
		}
	}
}
