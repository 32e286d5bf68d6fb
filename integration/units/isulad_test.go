package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/process"
)

// recordedGraph is what a real iSulad 2.1 kept of six containers.
const recordedGraph = "../../container/engines/testdata/graph"

// Whatever iSulad does meanwhile, starts or stops the container, hangs or is dead:
// commands read its files.
func TestCommandsWaitForNoISulad(t *testing.T) {
	graph := filepath.Join(t.TempDir(), "graph")
	must(t, os.CopyFS(graph, os.DirFS(recordedGraph)))
	h := hold(t, nil)
	init, err := process.ByPID(h.pid)
	must(t, err)
	dir := func(id string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(graph, "engines/*", id+"*"))
		must(t, err)
		if len(found) != 1 {
			t.Fatalf("%s: %v", id, found)
		}
		return found[0]
	}
	write(t, filepath.Join(dir("8e12"), "container_state.json"), asJSON(t, map[string]any{"Running": true, "Pid": init.PID, "StartTime": init.Start}))
	for _, id := range []string{"8e12", "e4bb", "027c", "cf52", "5b25", "9eca"} {
		write(t, filepath.Join(dir(id), container.SpecName), asJSON(t, map[string]any{
			"root": map[string]any{"path": h.image}, "linux": map[string]any{"cgroupsPath": h.cgroup},
		}))
	}
	for how, isula := range map[string]func(*testing.T) func() string{
		"hangs": func(t *testing.T) func() string { return hangs(t, "isula") },
		"is dead": func(t *testing.T) func() string {
			return fakeProgram(t, "isula", "echo 'Can not connect with server.' >&2; exit 1")
		},
		"is not here": func(*testing.T) func() string { return func() string { return "" } },
	} {
		t.Run("while it "+how, func(t *testing.T) {
			asked := isula(t)
			for name, c := range map[string]struct{ word, id string }{
				"of one that runs":                 {"db-main", "8e12"},
				"of one that runs, by its id":      {filepath.Base(dir("8e12")), "8e12"},
				"of one that runs, by a beginning": {"8e1", "8e12"},
				"of one that starts":               {"midstart", "027c"},
				"of one that is paused":            {"paused1", "cf52"},
				"of one that was renamed":          {"web-renamed", "9eca"},
				"of one that was created":          {"created", "e4bb"},
				"of one that was stopped":          {"gone", "5b25"},
			} {
				t.Run(name, func(t *testing.T) {
					tool := func(args ...string) string {
						t.Helper()
						got := start(t, "", append([]string{"--graph", graph}, args...)...).wait()
						if got.code != 0 || got.took > 10*time.Second {
							t.Fatalf("%q: %+v", args, got)
						}
						return got.said
					}
					tool("add-device", c.word, "/dev/fuse:/dev/x")
					if list := tool("list-device", c.word); !strings.Contains(list, "/dev/x") {
						t.Errorf("listed is %q", list)
					}
					if file := read(t, filepath.Join(dir(c.id), config.Name)); !strings.Contains(file, "/dev/x") {
						t.Errorf("recorded is %s", file)
					}
					if c.id == "8e12" {
						if rules := h.allowed(t); !strings.Contains(rules, "10:229") {
							t.Errorf("the container may use\n%s", rules)
						}
					}
					tool("remove-device", c.word, "/dev/fuse:/dev/x")
				})
			}
			if said := asked(); said != "" {
				t.Errorf("isula was asked %q", said)
			}
		})
	}
}

func TestWhatNobodyKnowsIsLookedForEverywhere(t *testing.T) {
	graph := filepath.Join(t.TempDir(), "graph")
	must(t, os.CopyFS(graph, os.DirFS(recordedGraph)))
	got := start(t, "", "--graph", graph, "list-path", "nosuch").wait()
	for _, want := range []string{
		"no container nosuch of iSulad in " + graph, "no container nosuch of podman in /var/lib/containers/storage",
		"no container nosuch of runc in /run/runc", "no container nosuch of crun in /run/crun",
	} {
		if got.code != 1 || !strings.Contains(got.said, want) {
			t.Errorf("%+v, want an error that says %q", got, want)
		}
	}
}

func TestOfTwoGraphsTheOneThatIsAskedForAnswers(t *testing.T) {
	for _, env := range []bool{false, true} {
		for _, name := range []string{"one", "two"} {
			dir := filepath.Join(t.TempDir(), name)
			must(t, os.CopyFS(dir, os.DirFS(recordedGraph)))
			at := filepath.Join(dir, "engines/runc/e4bba75bcbd4afc439294b467bcbd1c2c182d537ba8455a30fb104ce0cb13fe5")
			write(t, filepath.Join(at, container.SpecName), "{}")
			args := []string{"--graph", dir, "add-path", "created", hostDir(t) + ":/mnt/" + name}
			if env {
				t.Setenv("ISULAD_GRAPH", dir)
				args = args[2:]
			}
			if got := start(t, "", args...).wait(); got.code != 0 {
				t.Errorf("%+v", got)
			}
			if file := read(t, filepath.Join(at, config.Name)); !strings.Contains(file, "/mnt/"+name) {
				t.Errorf("%s: recorded is %s", name, file)
			}
		}
	}
}

// The udev helper has no time to wait for a daemon that is busy with the container.
func TestTheHelperFindsAContainerInISuladsFiles(t *testing.T) {
	must(t, os.MkdirAll("/var/lib/isulad", 0o750))
	must(t, os.CopyFS("/var/lib/isulad", os.DirFS(recordedGraph)))
	t.Cleanup(func() { must(t, os.RemoveAll("/var/lib/isulad")) })
	asked := hangs(t, "isula")
	fakeProgram(t, "udevadm", "")
	const stopped = "5b25249727ba14fb03210ab2ccba75c75b27280fdd885334c1f57111df1e925d"
	write(t, filepath.Join("/var/lib/isulad/engines/runc", stopped, container.SpecName), "{}")
	if log := helper(t, 0, "add", stopped[:8], "sda1", "/dev/x", "sda"); asked() != "" || strings.Contains(log, "does not run") {
		t.Errorf("isula was asked %q; logged %s", asked(), log)
	}
}

func TestANameThatTwoEnginesHaveIsSaid(t *testing.T) {
	graph := filepath.Join(t.TempDir(), "graph")
	must(t, os.CopyFS(graph, os.DirFS(recordedGraph)))
	write(t, "/var/lib/containers/storage/overlay-containers/containers.json",
		`[{"id":"`+strings.Repeat("c", 64)+`","names":["created"]},{"id":"`+strings.Repeat("d", 64)+`","names":["only"]}]`)
	t.Cleanup(func() { must(t, os.RemoveAll("/var/lib/containers")) })
	for _, digit := range []string{"c", "d"} {
		must(t, os.MkdirAll("/var/lib/containers/storage/overlay-containers/"+strings.Repeat(digit, 64)+"/userdata", 0o700))
	}
	for word, want := range map[string]string{
		"created":      "container created: taken from iSulad; podman has one of that name, too: --engine podman takes that one\n",
		"only":         "container only: iSulad does not have it, podman does\n",
		"db-main":      "",
		"ddddddddd":    "container ddddddddd: iSulad does not have it, podman does\n",
		"e4bba75bcbd4": "",
	} {
		t.Run(word, func(t *testing.T) {
			if got := start(t, "", "--graph", graph, "list-path", word).wait(); got.code != 0 || got.said != want {
				t.Errorf("%s: %+v, want %q", word, got, want)
			}
		})
	}
	for _, engine := range []string{"isula", "podman"} {
		if got := start(t, "", "--graph", graph, "--engine", engine, "list-path", "created").wait(); got.code != 0 || got.said != "" {
			t.Errorf("--engine %s: %+v, want nothing", engine, got)
		}
	}
}
