package engines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/process"
)

// runcState puts a state.json below a new root of runc.
func runcState(t testing.TB, id string, content []byte) Runc {
	t.Helper()
	r := Runc{Root: t.TempDir()}
	if err := os.Mkdir(filepath.Join(r.Root, id), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Root, id, "state.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStateOfRealRuncIsUnderstood(t *testing.T) {
	t.Parallel()
	r := runcState(t, runcID, sample(t, "state-runc-1.1.5.json"))
	got, err := r.Find(t.Context(), runcID)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/var/lib/isulad/engines/runc/" + runcID; got.ID != runcID || got.Dir != want {
		t.Errorf("got %v, want %s in %s", got, runcID, want)
	}
}

func TestAProcessThatRuncsStateOutlivedIsNotTheContainers(t *testing.T) {
	t.Parallel()
	// runc keeps init's pid in state.json when init has ended. Then the pid is
	// nobody's, or somebody else's, like ours here: only the start time tells.
	for name, start := range map[string]string{"of another time": `"init_process_start":1,`, "of a time that is not told": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := fmt.Sprintf(`{"id":"abc","init_process_pid":%d,%s"config":{"labels":["bundle=/b"]}}`, os.Getpid(), start)
			got, err := runcState(t, "abc", []byte(state)).Find(t.Context(), "abc")
			if err != nil {
				t.Fatal(err)
			}
			if init, err := got.Init(); !errors.Is(err, process.ErrGone) {
				t.Errorf("its init: %v, %v, want ErrGone", init, err)
			}
			if _, runs, err := container.Running(got); runs || err != nil {
				t.Errorf("it runs: %v, %v, want that it does not", runs, err)
			}
		})
	}
}

func TestTheBundleIsRuncsOwnLabelNotAnAnnotation(t *testing.T) {
	t.Parallel()
	// runc appends its label to those that come from the annotations.
	state := `{"id":"abc","config":{"labels":["bundle.x=/no","bundle=/of/an/annotation","bundle=/b"]}}`
	got, err := runcState(t, "abc", []byte(state)).Find(t.Context(), "abc")
	if err != nil {
		t.Fatal(err)
	}
	if got.Dir != "/b" {
		t.Errorf("found in %s, want /b", got.Dir)
	}
}

func TestAStateOfRuncThatSaysTooLittleIsAnErrorThatNamesTheFile(t *testing.T) {
	t.Parallel()
	for _, state := range []string{
		``, `null`, `[]`, `{}`, `{"id":"abc"}`, `{"id":"abc","config":{}}`, `{"id":"abc","config":{"labels":[]}}`,
		`{"id":"abc","config":{"labels":["bundle="]}}`, `{"id":"abc","config":{"labels":["bundle=relative"]}}`,
		`{"id":"abc","config":{"labels":["bundle"]}}`, `{"id":"abc","config":{"labels":"bundle=/b"}}`,
		`{"id":7,"config":{"labels":["bundle=/b"]}}`, `{"init_process_pid":"7","config":{"labels":["bundle=/b"]}}`,
		`{"id":"abc","config":{"labels":["bundle=/b"]}`,
	} {
		r := runcState(t, "abc", []byte(state))
		got, err := r.Find(t.Context(), "abc")
		if err == nil || !strings.Contains(err.Error(), filepath.Join(r.Root, "abc/state.json")) {
			t.Errorf("%s: %v, %v, want an error that names the file", state, got, err)
		}
	}
}

func TestAContainerThatRuncDoesNotHaveIsNamed(t *testing.T) {
	t.Parallel()
	r := Runc{Root: t.TempDir()}
	_, err := r.Find(t.Context(), "nosuch")
	if err == nil || !strings.Contains(err.Error(), "nosuch") || !strings.Contains(err.Error(), r.Root) {
		t.Errorf("%v, want an error that names the container and runc's root", err)
	}
}

func FuzzRuncState(f *testing.F) {
	f.Add(sample(f, "state-runc-1.1.5.json"))
	f.Add([]byte(`{"id":"abc","init_process_pid":1e400,"config":{"labels":["bundle=/b"]}}`))
	f.Add([]byte(`{"config":{"labels":["bundle=/\u0000\n"]}}`))
	r := runcState(f, "abc", nil)
	file := filepath.Join(r.Root, "abc/state.json")
	f.Fuzz(func(t *testing.T, state []byte) {
		if err := os.WriteFile(file, state, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := r.Find(t.Context(), "abc")
		if err != nil {
			if !strings.Contains(err.Error(), file) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q: %q", state, err)
			}
			return
		}
		if !json.Valid(state) || !filepath.IsAbs(c.Dir) {
			t.Fatalf("%q: %+v", state, c)
		}
	})
}
