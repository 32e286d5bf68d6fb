package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

const (
	daemonJSON   = "/etc/isulad/daemon.json"
	defaultGraph = "/var/lib/isulad"
	oldGraph     = "/var/lib/lcrd"
	limit        = 1 << 20 // of a configuration file
)

// findGraph returns iSulad's root directory, below which the hooks are looked
// for: the one asked for, else the one its configuration names, else its default.
// Some installations of 2019 live in /var/lib/lcrd; that counts only where
// nothing of today's iSulad is there.
func findGraph(t *tree, asked string) (string, error) {
	if asked != "" {
		return checkGraph(asked, "GRAPH")
	}
	content, err := t.read(daemonJSON, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return guessGraph(t)
	}
	if err != nil {
		return "", fmt.Errorf("read iSulad's configuration: %w", err)
	}
	// A map, not a struct: the key is matched exactly, as iSulad does.
	var config map[string]json.RawMessage
	if err := json.Unmarshal(content, &config); err != nil {
		return "", fmt.Errorf("parse %s: %w (give GRAPH=DIR to go on without it)", t.show(daemonJSON), err)
	}
	var graph string
	if value, ok := config["graph"]; ok {
		if err := json.Unmarshal(value, &graph); err != nil {
			return "", fmt.Errorf("parse %s: graph: %w (give GRAPH=DIR to go on without it)", t.show(daemonJSON), err)
		}
	}
	if graph == "" {
		return defaultGraph, nil
	}
	return checkGraph(graph, t.show(daemonJSON)+": graph")
}

func guessGraph(t *tree) (string, error) {
	today, err := t.lstat(defaultGraph)
	if err != nil {
		return "", err
	}
	old, err := t.lstat(oldGraph)
	if err != nil {
		return "", err
	}
	if today == nil && old != nil {
		return oldGraph, nil
	}
	return defaultGraph, nil
}

func checkGraph(dir, source string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s %q is not an absolute path", source, dir)
	}
	return filepath.Clean(dir), nil
}
