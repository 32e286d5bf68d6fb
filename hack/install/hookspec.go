package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	oci "github.com/opencontainers/runtime-spec/specs-go"
)

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
	var parsed map[string]json.RawMessage
	if json.Unmarshal(spec, &parsed) != nil {
		return nil
	}
	var hooks []oci.Hook
	if json.Unmarshal(parsed[stage], &hooks) != nil {
		return nil
	}
	var paths []string
	for _, h := range hooks {
		paths = append(paths, h.Path)
	}
	return paths
}

// writtenFor returns the hook path a spec of ours was written for, or "" when
// it was not written by us or was edited since.
func writtenFor(spec []byte) string {
	paths := hookPaths(spec, stages[0])
	if len(paths) != 1 {
		return ""
	}
	ours, err := hookSpec(paths[0])
	if err != nil || !bytes.Equal(spec, ours) {
		return ""
	}
	return paths[0]
}

// serves says whether spec starts and cleans up with hookPath, whatever else it does.
func serves(spec []byte, hookPath string) bool {
	for _, stage := range []string{"prestart", "poststop"} {
		if !slices.Contains(hookPaths(spec, stage), hookPath) {
			return false
		}
	}
	return true
}
