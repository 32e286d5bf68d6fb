package engines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

const (
	defaultState = "/var/run/isulad"
	// isuladParent is the parent of containers' cgroups, where nothing else is said.
	isuladParent = "/isulad"
)

// daemon is what we read of iSulad's configuration. The keys' case counts, as to iSulad.
type daemon struct{ graph, state, parent string }

// readDaemon reads iSulad's configuration: what it leaves out is iSulad's default.
func readDaemon() (daemon, error) {
	d := daemon{place.Graph, defaultState, isuladParent}
	data, err := open.Read(place.DaemonJSON, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		if !isDir(place.Graph) && isDir(place.OldGraph) {
			d.graph = place.OldGraph
		}
		return d, nil
	}
	if err != nil {
		return d, err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return d, fmt.Errorf("%s: %w", place.DaemonJSON, err)
	}
	for key, to := range map[string]*string{"graph": &d.graph, "state": &d.state, "cgroup-parent": &d.parent} {
		var value string
		if raw, ok := config[key]; ok && json.Unmarshal(raw, &value) == nil && value != "" {
			*to = value
		}
	}
	if !filepath.IsAbs(d.graph) {
		return d, fmt.Errorf("%s: graph: %q is not an absolute path", place.DaemonJSON, d.graph)
	}
	return d, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
