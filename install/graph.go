package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"isula.org/isulad-tools/internal/place"
)

const limit = 1 << 20 // of a configuration file

// findGraph returns iSulad's root directory, below which the hooks are looked
// for: the one asked for, else the one its configuration names, else its default.
// Some installations of 2019 live in /var/lib/lcrd; that counts only where
// nothing of today's iSulad is there.
func findGraph(t *tree, asked string) (string, error) {
	if asked != "" {
		return checkGraph(asked, "GRAPH")
	}
	content, err := t.read(place.DaemonJSON, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return guessGraph(t)
	}
	if err != nil {
		return "", fmt.Errorf("read iSulad's configuration: %w", err)
	}
	// A map, not a struct: the key is matched exactly, as iSulad does.
	var config map[string]json.RawMessage
	if err := json.Unmarshal(content, &config); err != nil {
		return "", fmt.Errorf("parse %s: %w (give GRAPH=DIR to go on without it)", t.show(place.DaemonJSON), err)
	}
	var graph string
	if value, ok := config["graph"]; ok {
		if err := json.Unmarshal(value, &graph); err != nil {
			return "", fmt.Errorf("parse %s: graph: %w (give GRAPH=DIR to go on without it)", t.show(place.DaemonJSON), err)
		}
	}
	if graph == "" {
		return place.Graph, nil
	}
	return checkGraph(graph, t.show(place.DaemonJSON)+": graph")
}

func guessGraph(t *tree) (string, error) {
	today, err := t.lstat(place.Graph)
	if err != nil {
		return "", err
	}
	old, err := t.lstat(place.OldGraph)
	if err != nil {
		return "", err
	}
	if today == nil && old != nil {
		return place.OldGraph, nil
	}
	return place.Graph, nil
}

func checkGraph(dir, source string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s %q is not an absolute path", source, dir)
	}
	return filepath.Clean(dir), nil
}
