package main

import "encoding/json"

// These are the structs of packages hooks and container; a test compares them.

type state struct {
	ID     string
	PID    int
	Bundle string
	Root   string
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
		CgroupsPath string            `json:"cgroupsPath"`
		MountLabel  string            `json:"mountLabel"`
		Namespaces  []namespace       `json:"namespaces"`
		UIDMappings []idMapping       `json:"uidMappings"`
		GIDMappings []idMapping       `json:"gidMappings"`
		Sysctl      map[string]string `json:"sysctl"`
		Devices     []node            `json:"devices"`
		Resources   struct {
			Devices []deviceRule `json:"devices"`
		} `json:"resources"`
	} `json:"linux"`
}

type namespace struct {
	Type string `json:"type"`
}

type deviceRule struct {
	Allow  bool   `json:"allow"`
	Type   string `json:"type"`
	Major  *int64 `json:"major"`
	Minor  *int64 `json:"minor"`
	Access string `json:"access"`
}

type node struct {
	Path  string `json:"path"`
	Type  string `json:"type"`
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
}

type idMapping struct {
	ContainerID uint32 `json:"containerID"`
	HostID      uint32 `json:"hostID"`
	Size        uint32 `json:"size"`
}
