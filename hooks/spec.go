package hooks

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/jsonerror"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// spec is the little that we need of a container's config.json. Narrow on
// purpose: decoding all of it would double the cost of a start, and what we do
// not read cannot be of a form that we do not know.
type spec struct {
	Root struct {
		Path string `json:"path"`
	} `json:"root"`
	Process struct {
		Env []string `json:"env"`
	} `json:"process"`
	Linux struct {
		CgroupsPath string            `json:"cgroupsPath"`
		Namespaces  []namespace       `json:"namespaces"`
		UIDMappings []idMapping       `json:"uidMappings"`
		GIDMappings []idMapping       `json:"gidMappings"`
		Sysctl      map[string]string `json:"sysctl"`
	} `json:"linux"`
}

type namespace struct {
	Type string `json:"type"`
}

type idMapping struct {
	ContainerID uint32 `json:"containerID"`
	HostID      uint32 `json:"hostID"`
	Size        uint32 `json:"size"`
}

func readSpec(bundle string) (*spec, error) {
	path := filepath.Join(bundle, "config.json")
	data, err := open.Read(path, maxSpec)
	if err != nil {
		return nil, err
	}
	s := new(spec)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, jsonerror.Line(err))
	}
	return s, nil
}

// owner returns the container's own root user, when it has a user namespace.
func (s *spec) owner() resource.Owner {
	if !slices.Contains(s.Linux.Namespaces, namespace{"user"}) {
		return resource.Owner{UID: -1, GID: -1}
	}
	return resource.Owner{UID: mappedRoot(s.Linux.UIDMappings), GID: mappedRoot(s.Linux.GIDMappings)}
}

// mappedRoot is id 0 of the container on the host, or -1.
func mappedRoot(mappings []idMapping) int {
	for _, m := range mappings {
		if m.ContainerID == 0 && m.Size > 0 {
			return int(m.HostID)
		}
	}
	return -1
}
