package container

import (
	"encoding/json"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/internal/credentials"
	"isula.org/isulad-tools/internal/rootfs"
)

// rights are what the container's own root user may do with files that are not on its
// root file system.
func (s *Spec) rights() rootfs.Rights {
	r := rootfs.Rights{Label: s.Linux.MountLabel}
	r.Override = s.mayOverrideDAC
	if s.UserNS() {
		r.UIDs, r.GIDs = idRanges(s.Linux.UIDMappings), idRanges(s.Linux.GIDMappings)
	}
	return r
}

// Maps tells whether ids of the host have a user and a group in the container, which has
// a user namespace.
func (s *Spec) Maps(uid, gid uint32) bool { return s.rights().Maps(uid, gid) }

// mayOverrideDAC tells whether processes of the container can have CAP_DAC_OVERRIDE.
func (s *Spec) mayOverrideDAC() bool {
	var has struct {
		Bounding []string `json:"bounding"`
	}
	return json.Unmarshal(s.Process.Capabilities, &has) == nil && slices.Contains(has.Bounding, "CAP_DAC_OVERRIDE")
}

// idRanges are the host's ids of a mapping; none is not nil.
func idRanges(mappings []specs.LinuxIDMapping) []credentials.Range {
	list := []credentials.Range{}
	for _, m := range mappings {
		list = append(list, credentials.Range{First: m.HostID, Size: m.Size})
	}
	return list
}
