// Command decode reads what the hook reads when nothing is recorded, the state
// on standard input and the bundle's config.json, into the hook's own structs,
// and does nothing with it.
package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
)

func main() {
	var (
		st state
		sp Spec
	)
	if err := read(&st, &sp); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func read(st *state, sp *Spec) error {
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for name, to := range map[string]any{"id": &st.ID, "pid": &st.Pid, "bundle": &st.Bundle} {
		if err := json.Unmarshal(fields[name], to); err != nil {
			return err
		}
	}
	if data, err = os.ReadFile(filepath.Join(st.Bundle, "config.json")); err != nil {
		return err
	}
	return json.Unmarshal(data, sp)
}
