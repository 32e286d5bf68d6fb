package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/jsonerror"
)

// maxStateInput limits what is read from standard input, maxEngineConfig what is read of
// iSulad's config.v2.json.
const (
	maxStateInput   = 1 << 20
	maxEngineConfig = 16 << 20
)

// state is what we read of the OCI state that the runtime gives a hook.
type state struct {
	specs.State        // of it ID, Pid and Bundle; Pid is 0 when the runtime gave none, as at poststop
	Root        string // host path of the root file system; iSulad's lcr gives it
}

// whose is whose a file of the container is, in errors.
func (s state) whose() string { return "container " + s.ID }

// readState reads the state from the runtime. strict refuses what prestart
// cannot work with; otherwise the id is enough, and a field of a wrong type
// is as good as none.
func readState(ctx context.Context, in io.Reader, strict bool) (state, error) {
	var s state
	data, err := readAll(ctx, in)
	if err != nil {
		return s, stateError(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return s, stateError(jsonerror.Line(err))
	}
	var oldBundle string
	for _, f := range []struct {
		name string
		to   any
		need bool
	}{
		{"id", &s.ID, true},
		{"pid", &s.Pid, strict},
		{"bundle", &s.Bundle, strict},
		{"bundlePath", &oldBundle, strict},
		{"root", &s.Root, strict},
	} {
		raw, ok := fields[f.name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, f.to); err != nil && f.need {
			return s, stateError(fmt.Errorf("%s: %w", f.name, jsonerror.Line(err)))
		}
	}
	if s.Bundle == "" {
		s.Bundle = oldBundle
	}
	if !container.ValidID(s.ID) {
		return s, stateError(fmt.Errorf("id: %q is not a container's id", s.ID))
	}
	if s.Bundle == "" {
		s.Bundle = derivedBundle(s.ID)
	}
	if !strict {
		return s, nil
	}
	if _, ok := fields["pid"]; !ok {
		return s, stateError(errors.New("pid: missing"))
	}
	if s.Pid <= 0 {
		return s, stateError(fmt.Errorf("pid: %d is not a process", s.Pid))
	}
	if !filepath.IsAbs(s.Bundle) {
		return s, stateError(fmt.Errorf("bundle: %q is not an absolute path", s.Bundle))
	}
	if s.Root != "" && !filepath.IsAbs(s.Root) {
		return s, stateError(fmt.Errorf("root: %q is not an absolute path", s.Root))
	}
	return s, nil
}

func stateError(err error) error {
	return fmt.Errorf("container state on standard input: %w", err)
}

// derivedBundle is where a container of this id has its bundle when the state
// does not say: next to the hooks directory that we were started from. ""
// when there is none.
func derivedBundle(id string) string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	graph := filepath.Dir(filepath.Dir(exe))
	for _, runtime := range []string{"lcr", "runc"} {
		dir := filepath.Join(graph, "engines", runtime, id)
		if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
			return dir
		}
	}
	return ""
}
