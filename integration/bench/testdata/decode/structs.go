package main

import (
	"encoding/json"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These are the structs of packages hooks and container; a test compares them.

type state struct {
	specs.State
	Root string
}

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

type node struct {
	Path  string `json:"path"`
	Type  string `json:"type"`
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
}
