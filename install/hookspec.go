package install

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	oci "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/internal/hookspec"
)

// form is one of the forms of files that name a hook.
type form struct {
	mode, dir fs.FileMode // of the file, and of its directory
	spell     func(hook string) ([]byte, error)
	// names returns the programs that a file runs at a stage.
	names func(content []byte, stage string) []string
	needs []string // the stages that it must have our hook for
}

// forISula is what isula's --hook-spec takes.
var forISula = form{mode: 0o640, dir: 0o750, spell: hookSpec, names: hookPaths, needs: []string{"prestart", "poststop"}}

// hook is one entry of a hook spec, in the field order that iSulad documents: an
// environment without a variable is there, too, because runc gives a hook that has
// none the daemon's.
type hook struct {
	oci.Hook
	Env []string `json:"env"`
}

var stages = []string{"prestart", "poststart", "poststop"}

// hookSpec is what `isula run --hook-spec` reads: one line a stage.
func hookSpec(hookPath string) ([]byte, error) {
	var out bytes.Buffer
	for i, stage := range stages {
		entry, err := json.Marshal([]hook{{
			Hook: oci.Hook{Path: hookPath, Args: []string{filepath.Base(hookPath), "--state", stage}},
			Env:  []string{},
		}})
		if err != nil {
			return nil, err
		}
		lead := ",\n "
		if i == 0 {
			lead = "{"
		}
		fmt.Fprintf(&out, "%s%q:%s", lead, stage, entry)
	}
	out.WriteString("}\n")
	return out.Bytes(), nil
}

// hookPaths returns the programs that spec runs at stage, none when it does not parse.
func hookPaths(spec []byte, stage string) []string {
	hooks, err := hookspec.Hooks(spec, stage)
	if err != nil {
		return nil
	}
	var paths []string
	for _, h := range hooks {
		paths = append(paths, h.Path)
	}
	return paths
}

// writtenFor returns the hook path a file of ours was written for, or "" when
// it was not written by us or was edited since.
func (f form) writtenFor(spec []byte) string {
	paths := f.names(spec, f.needs[0])
	if len(paths) != 1 {
		return ""
	}
	ours, err := f.spell(paths[0])
	if err != nil || !bytes.Equal(spec, ours) {
		return ""
	}
	return paths[0]
}

// serves says whether spec runs hookPath when it must, whatever else it does.
func (f form) serves(spec []byte, hookPath string) bool {
	for _, stage := range f.needs {
		if !slices.Contains(f.names(spec, stage), hookPath) {
			return false
		}
	}
	return true
}
