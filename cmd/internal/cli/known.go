package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/open"
)

// maxConfig bounds what is read of an engine's files.
const maxConfig = 4 << 20

// knownContainer is a container as a person may name it, by its engine's files.
type knownContainer struct{ name, id, dir string }

func names(list []knownContainer) []string {
	all := make([]string, len(list))
	for i, c := range list {
		all[i] = c.name
	}
	return all
}

// known lists an engine's containers. isulad is not asked: it may be busy.
func known(engine string) []knownContainer {
	if root, ok := strings.CutPrefix(engine, "runc"); ok {
		return runcContainers(strings.TrimPrefix(root, ":"))
	}
	return isulaContainers()
}

func runcContainers(root string) (list []knownContainer) {
	if root == "" {
		root = container.RuncRoot
	}
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		if c, err := (container.Runc{Root: root}).Find(context.Background(), e.Name()); err == nil {
			list = append(list, knownContainer{c.ID, c.ID, c.Dir})
		}
	}
	return list
}

func isulaContainers() (list []knownContainer) {
	found, _ := filepath.Glob(filepath.Join(graph(), "engines/*/*/config.v2.json"))
	for _, path := range found {
		data, err := open.Read(path, maxConfig)
		if err != nil {
			continue
		}
		var c struct {
			CommonConfig struct {
				ID   string `json:"id"`
				Name string
			}
		}
		if json.Unmarshal(data, &c) == nil && container.ValidName(c.CommonConfig.Name) {
			list = append(list, knownContainer{c.CommonConfig.Name, c.CommonConfig.ID, filepath.Dir(path)})
		}
	}
	return list
}

// graph is iSulad's root directory, by its configuration.
func graph() string {
	config := struct{ Graph string }{"/var/lib/isulad"}
	if data, err := open.Read("/etc/isulad/daemon.json", maxConfig); err == nil {
		_ = json.Unmarshal(data, &config) // iSulad itself says what is wrong with it
	}
	return config.Graph
}
