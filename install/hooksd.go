package install

import (
	"encoding/json"
	"path/filepath"
	"slices"
)

// hooksD is where podman and CRI-O look for hooks by default. podman reads
// /etc/containers/oci/hooks.d, too, but not where this folder is missing.
const hooksD = "/usr/share/containers/oci/hooks.d"

// ociHook is a file of hooks.d; see oci-hooks(5).
type ociHook struct {
	Version string    `json:"version"`
	Hook    entry     `json:"hook"`
	When    condition `json:"when"`
	Stages  []string  `json:"stages"`
}

type entry struct {
	Path string   `json:"path"`
	Args []string `json:"args"`
}

// condition has regular expressions.
type condition struct {
	Annotations map[string]string `json:"annotations"`
}

// forHooksD is a file for one stage. The stage prestart is deprecated, and yet what all
// runtimes know.
func forHooksD(stage string) form {
	return form{
		mode: 0o644, dir: 0o755,
		spell: func(hook string) ([]byte, error) {
			text, err := json.Marshal(ociHook{
				Version: "1.0.0",
				Hook:    entry{hook, []string{filepath.Base(hook), "--state", stage}},
				// What a container says that is to have the hook.
				When:   condition{map[string]string{`^isula\.org/tools$`: "^true$"}},
				Stages: []string{stage},
			})
			return append(text, '\n'), err
		},
		names: func(content []byte, stage string) []string {
			var h ociHook
			if json.Unmarshal(content, &h) != nil || !slices.Contains(h.Stages, stage) {
				return nil
			}
			return []string{h.Hook.Path}
		},
		needs: []string{stage},
	}
}
