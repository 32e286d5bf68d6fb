package container

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/jsonerror"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// Spec is the little that we need of a container's config.json, the OCI runtime
// specification. Narrow on purpose: decoding all of it would double the cost of
// a start, and what we do not read cannot be of a form that we do not know. So of the
// specification's own types only those are used that have nothing to spare.
type Spec struct {
	Root struct {
		Path string `json:"path"`
	} `json:"root"`
	Process struct {
		Env          []string        `json:"env"`
		Capabilities json.RawMessage `json:"capabilities"`
	} `json:"process"`
	Mounts json.RawMessage `json:"mounts"`
	Linux  struct {
		CgroupsPath string                 `json:"cgroupsPath"`
		MountLabel  string                 `json:"mountLabel"`
		Namespaces  []specs.LinuxNamespace `json:"namespaces"`
		UIDMappings []specs.LinuxIDMapping `json:"uidMappings"`
		GIDMappings []specs.LinuxIDMapping `json:"gidMappings"`
		Sysctl      map[string]string      `json:"sysctl"`
		Devices     []node                 `json:"devices"`
		Resources   struct {
			Devices []specs.LinuxDeviceCgroup `json:"devices"`
		} `json:"resources"`
	} `json:"linux"`
}

type mount struct {
	Type    string   `json:"type"`
	Source  string   `json:"source"`
	Options []string `json:"options"`
}

type node struct {
	Path  string `json:"path"`
	Type  string `json:"type"`
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
}

// SpecName is the file's name in the bundle.
const SpecName = "config.json"

// ReadSpec reads the specification of the container whose bundle it is.
// fs.ErrNotExist: there is none. Errors name the file and the field.
func ReadSpec(bundle string) (*Spec, error) {
	path := filepath.Join(bundle, SpecName)
	data, err := open.Read(path, maxRecord)
	if err != nil {
		return nil, err
	}
	s := new(Spec)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, jsonerror.Line(err))
	}
	return s, nil
}

// Trees returns what tells the host's trees that the specification of a bundle gives the
// container, for who may need them; without a specification nobody knows.
func (s *Spec) Trees(bundle string) func() []ledger.Tree {
	return func() []ledger.Tree { return s.trees(bundle) }
}

func (s *Spec) trees(bundle string) (list []ledger.Tree) {
	var mounts []mount
	if s == nil || json.Unmarshal(s.Mounts, &mounts) != nil {
		return nil
	}
	has := func(m mount, options ...string) bool {
		return slices.ContainsFunc(m.Options, func(o string) bool { return slices.Contains(options, o) })
	}
	for _, m := range mounts {
		if m.Type != "bind" && !has(m, "bind", "rbind") {
			continue
		}
		if !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(bundle, m.Source)
		}
		list = append(list, ledger.Tree{Path: m.Source, Writable: !has(m, "ro", "rro")})
	}
	return list
}

// Owner returns the container's own root user, when it has a user namespace.
func (s *Spec) Owner() resource.MappedRoot {
	if !s.UserNS() {
		return resource.MappedRoot{UID: -1, GID: -1}
	}
	return resource.MappedRoot{UID: mappedRoot(s.Linux.UIDMappings), GID: mappedRoot(s.Linux.GIDMappings)}
}

// UserNS tells whether the container has a user namespace of its own.
func (s *Spec) UserNS() bool { return s.namespace(specs.UserNamespace) >= 0 }

// namespace is the place of the namespace of this type among the container's; -1: it
// has none.
func (s *Spec) namespace(kind specs.LinuxNamespaceType) int {
	return slices.IndexFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

// mappedRoot is id 0 of the container on the host, or -1.
func mappedRoot(mappings []specs.LinuxIDMapping) int {
	for _, m := range mappings {
		if m.ContainerID == 0 && m.Size > 0 {
			return int(m.HostID)
		}
	}
	return -1
}

// DeviceRules returns the rules of the device controller that this engine started
// the container with. A number that is left out is 0 for lcr, as iSulad leaves out
// zeros, and any number for runc. lcr adds no rule to the specification's, where
// iSulad has put the usual ones, and without any it restricts nothing. runc adds
// its own.
func (s *Spec) DeviceRules(engine string) []cgroup.DeviceRule {
	missing := int64(cgroup.Any)
	if engine == "lcr" {
		missing = 0
	}
	number := func(n *int64) int64 {
		if n == nil {
			return missing
		}
		return max(*n, cgroup.Any)
	}
	var rules []cgroup.DeviceRule
	for _, d := range s.Linux.Resources.Devices {
		r := cgroup.DeviceRule{Allow: d.Allow, Type: d.Type, Major: number(d.Major), Minor: number(d.Minor), Access: d.Access}
		if r.Type == "" {
			r.Type = "a"
		}
		rules = append(rules, r)
	}
	if engine == "lcr" {
		if len(rules) == 0 {
			return []cgroup.DeviceRule{{Allow: true, Type: "a"}}
		}
		return rules
	}
	var nodes []string
	for _, n := range s.Linux.Devices {
		nodes = append(nodes, n.Path)
	}
	return cgroup.RuncRules(rules, nodes)
}

// Nodes are the device nodes that the container has without us: the
// specification's, and those that every runtime makes.
func (s *Spec) Nodes() []resource.Node {
	nodes := []resource.Node{
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
		{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
		{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
		{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
		{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
		{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
	}
	for _, d := range s.Linux.Devices {
		if d.Type == "u" { // another word for it
			d.Type = "c"
		}
		nodes = append(nodes, resource.Node{Path: filepath.Clean(d.Path), Type: d.Type, Major: d.Major, Minor: d.Minor})
	}
	return nodes
}

// Mapped tells whether the container's ids are not the host's.
func (s *Spec) Mapped() bool { return len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0 }
