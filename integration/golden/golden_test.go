package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

func TestMain(m *testing.M) {
	if code, ok := standIn(); ok {
		os.Exit(code)
	}
	sandbox.Main(m)
}

// groups are the recordings, files of testdata: all of them are replayed.
func groups(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	check(t, err)
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".jsonl")
	}
	return files
}

// recordings is how many cases there are, all with names of their own.
const recordings = 477

// TestGolden replays every case under the names of both generations.
func TestGolden(t *testing.T) {
	w := newWorld(t)
	listed := compatCases(t)
	seen := map[string]bool{}
	for _, n := range generations {
		for _, g := range groups(t) {
			cases, err := loadCases(g, n, w.loops)
			check(t, err)
			for _, c := range cases {
				seen[c.Name] = true
				t.Run(n.tool+"/"+c.Name, func(t *testing.T) { replay(t, w, c, listed[c.Name]) })
			}
		}
		t.Run(n.tool+"/modprobe-loads", func(t *testing.T) { replayWithModprobe(t, w, n) })
	}
	if len(seen) != recordings {
		t.Errorf("%d cases are replayed, %d were recorded", len(seen), recordings)
	}
	for name := range listed {
		if !seen[name] {
			t.Errorf("COMPAT.md lists %s, which is no recorded case", name)
		}
	}
	for _, table := range expectations {
		for name := range table {
			if !listed[name] {
				t.Errorf("%s is expected to differ, but COMPAT.md does not list it", name)
			}
		}
	}
}

// replay runs one case.
func replay(t *testing.T, w *world, c *testCase, listed bool) {
	w.prepare(t, c)
	if e, _ := deliberate(c.Name); e.loads {
		check(t, os.WriteFile(modprobeLoads, nil, 0o600))
	}
	run, ok := runners[c.Kind]
	if !ok {
		t.Fatalf("no runner for kind %q", c.Kind)
	}
	judge(t, c, run(t, w, c), listed)
}

// replayWithModprobe runs the cases in which the recorder's modprobe loaded
// nothing, which we do not take for success, with one that does its work:
// there we agree with the recording.
func replayWithModprobe(t *testing.T, w *world, n names) {
	cases, err := loadCases("hook-prestart", n, w.loops)
	check(t, err)
	for _, c := range cases {
		if len(c.Effects.ModprobeArgv) == 0 || c.Exit != 0 || hookExpectations[c.Name].effects == nil {
			continue
		}
		if c.Name == "hook-modules-long" {
			continue // no file system has a module of that name
		}
		t.Run(c.Name, func(t *testing.T) {
			w.prepare(t, c)
			check(t, os.WriteFile(modprobeLoads, nil, 0o600))
			judge(t, c, runHeld(t, w, c), false)
		})
	}
}
