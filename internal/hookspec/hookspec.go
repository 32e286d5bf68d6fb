// Package hookspec reads hook specs, which isula's --hook-spec takes. It does not know
// whose hooks are ours.
package hookspec

import (
	"encoding/json"

	oci "github.com/opencontainers/runtime-spec/specs-go"
)

// Hooks returns the hooks that a spec runs at a stage. Only that stage is read.
func Hooks(spec []byte, stage string) (hooks []oci.Hook, err error) {
	var stages map[string]json.RawMessage
	if err := json.Unmarshal(spec, &stages); err != nil || stages[stage] == nil {
		return nil, err
	}
	err = json.Unmarshal(stages[stage], &hooks)
	return hooks, err
}
