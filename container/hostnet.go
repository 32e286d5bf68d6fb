package container

import (
	"encoding/json"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/internal/open"
)

// hostNetns is how iSulad calls the host's network namespace in a specification.
const hostNetns = "/proc/1/ns/net"

// HostNet tells whether the container of a bundle will have the host's network. Until
// its first start iSulad's specification has a network namespace for every container;
// which it will be is only in what iSulad was asked for, beside the specification.
func (s *Spec) HostNet(bundle string) bool {
	if len(s.Linux.Namespaces) == 0 {
		return false // nobody knows
	}
	i := s.namespace(specs.NetworkNamespace)
	if i < 0 {
		return true
	}
	switch s.Linux.Namespaces[i].Path {
	case hostNetns:
		return true
	case "":
		return askedForHostNet(bundle)
	}
	return false
}

// askedForHostNet reads iSulad's hostconfig.json. Other engines have none.
func askedForHostNet(bundle string) bool {
	data, err := open.Read(filepath.Join(bundle, "hostconfig.json"), maxRecord)
	var asked struct{ NetworkMode string }
	return err == nil && json.Unmarshal(data, &asked) == nil && asked.NetworkMode == "host"
}
