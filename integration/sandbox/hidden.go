package sandbox

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// ours is what an operator's host has of isulad-tools, of iSulad and of podman, or may get
// meanwhile, besides what is in fresh trees. A test is to find a host without.
var ours = []string{
	"/.sharedpath", "/var/log/hyperagent",
	"/etc/isulad", "/etc/isulad-tools", "/etc/syscontainer-tools",
	"/usr/local/bin/isulad-tools", "/usr/local/bin/syscontainer-tools",
	"/lib/udev/isulad-tools_wrapper", "/lib/udev/syscontainer-tools_wrapper",
	"/usr/bin/isula", "/usr/bin/isulad", "/usr/local/bin/isula", "/usr/local/bin/isulad",
	"/var/lib/isulad", "/var/lib/lcrd",
	"/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d", "/etc/containers/storage.conf", "/usr/share/containers/storage.conf", "/var/lib/containers",
}

// emptied are folders of every host in which hosts have something of ours.
var emptied = []string{"/etc/udev/rules.d"}

// hidden returns the real paths of ours and emptied, and of the graph that
// iSulad's configuration names; none of them is below another.
func hidden() []string {
	var all []string
	for _, p := range append(slices.Concat(ours, emptied), graph()...) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(p))
		if err != nil {
			continue // nor will it be there
		}
		all = append(all, filepath.Join(dir, filepath.Base(p)))
		// A graph is often a link to a larger disk.
		if real, err := filepath.EvalSymlinks(p); err == nil && real != "/" {
			all = append(all, real)
		}
	}
	slices.Sort(all)
	var apart []string
	for _, p := range all {
		if !withinAny(p, apart) {
			apart = append(apart, p)
		}
	}
	return apart
}

// graph is iSulad's root directory as its configuration names it, or none.
func graph() []string {
	text, err := os.ReadFile("/etc/isulad/daemon.json")
	if err != nil {
		return nil
	}
	var config struct {
		Graph string `json:"graph"`
	}
	if json.Unmarshal(text, &config) != nil || !filepath.IsAbs(config.Graph) || filepath.Clean(config.Graph) == "/" {
		return nil
	}
	return []string{filepath.Clean(config.Graph)}
}
