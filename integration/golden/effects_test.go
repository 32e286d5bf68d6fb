package golden

import (
	"encoding/json"
	"fmt"

	"isula.org/isulad-tools/integration/sandbox"
)

// effects is what a run changed, as recorded and as observed. A map's value is
// nil for what is gone, or was looked for and is not there.
type effects struct {
	CtrMounts     change           `json:"ctr_mounts"`
	CtrNodes      map[string]*node `json:"ctr_nodes"`
	CgroupDevices change           `json:"cgroup_devices"`
	// CgroupBlkio are the I/O limits afterwards, by control file.
	CgroupBlkio map[string][]string `json:"cgroup_blkio"`
	// CtrValue and HostValue are the case's kernel parameters afterwards.
	CtrValue  string `json:"ctr_value"`
	HostValue string `json:"host_value"`

	HostMounts change             `json:"host_mounts"`
	HostNodes  map[string]*node   `json:"host_nodes"`
	SharedPath map[string]*string `json:"sharedpath"` // the tree of /.sharedpath
	RunDir     map[string]*string `json:"run_dir"`    // the tree of the run directory
	LogFile    *string            `json:"log_file"`   // text, then its mode

	ModprobeArgv [][]string `json:"modprobe_argv"`
	UdevRules    *string    `json:"udev_rules"`
	UdevadmCalls []string   `json:"udevadm_calls"`
	IsulaCalls   []string   `json:"isula_calls"`

	CtrLinks  map[string]*link `json:"ctr_links"`
	CtrRoutes change           `json:"ctr_routes"`
	HostLinks map[string]*link `json:"host_links"`
	OvsCalls  string           `json:"ovs_calls"`

	afterwards

	// They need not agree.
	DeviceHookFile json.RawMessage `json:"device_hook_file"`
	Syslog         json.RawMessage `json:"syslog"`
}

// change is a difference between two lists of lines.
type change struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

// node is a file as the recordings describe it.
type node struct {
	Type   string `json:"type"`
	Mode   string `json:"mode"`
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Rdev   string `json:"rdev,omitempty"`
	Target string `json:"target,omitempty"`
	Size   *int64 `json:"size,omitempty"` // not always recorded
}

func (n *node) String() string {
	if n == nil {
		return "nothing"
	}
	size := ""
	if n.Size != nil {
		size = fmt.Sprintf(" %d bytes", *n.Size)
	}
	return fmt.Sprintf("%s %s %d:%d %s%s%s", n.Type, n.Mode, n.UID, n.GID, n.Rdev, n.Target, size)
}

func nodeOf(n sandbox.Node) *node {
	c := &node{Type: n.Type, Mode: octal(n.Mode), UID: n.UID, GID: n.GID, Rdev: n.Rdev, Target: n.Target}
	if n.Type == "f" {
		c.Size = &n.Size
	}
	return c
}

// equal compares with a recorded node, which may not know the size.
func (n *node) equal(recorded *node) bool {
	if n == nil || recorded == nil {
		return n == recorded
	}
	if recorded.Size != nil && (n.Size == nil || *n.Size != *recorded.Size) {
		return false
	}
	a, b := *n, *recorded
	a.Size, b.Size = nil, nil
	return a == b
}

// brief is how the trees of /.sharedpath and the run directory are recorded.
func brief(n sandbox.Node) string {
	return fmt.Sprintf("%s %s %d:%d", n.Type, octal(n.Mode), n.UID, n.GID)
}

func octal(mode uint32) string { return fmt.Sprintf("0o%o", mode) }
