package sandbox

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Bundle describes a bundle like those iSulad writes. The zero value of every
// field but Dir and ID is useful.
type Bundle struct {
	Dir string // bundle directory, made when missing
	ID  string
	// System is a container made with --system-container for lcr; others are
	// ordinary ones, for runc. runc refuses a system container's device rules.
	System bool
	// Root is the rootfs, Dir/rootfs when empty; it is not filled here.
	Root string
	// CgroupsPath is linux.cgroupsPath, CgroupParent()/ID when empty.
	CgroupsPath string
	Args        []string // process.args, default: sleep for ever
	Env         []string // appended to PATH and TERM
	Mounts      []Mount  // appended to iSulad's
	Hooks       Hooks
	UID, GID    []IDMapping // a user namespace when any is given
	Sysctl      map[string]string
	Annotations map[string]string
	// Edit has the last word on the specification.
	Edit func(spec map[string]any)
}

// Mount is an entry of config.json's mounts.
type Mount struct {
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Options     []string `json:"options,omitempty"`
}

// Hook is an entry of config.json's hooks.
type Hook struct {
	Path    string   `json:"path"`
	Args    []string `json:"args,omitempty"`
	Env     []string `json:"env,omitempty"`
	Timeout int      `json:"timeout,omitempty"` // seconds
}

// Hooks are the three stages that iSulad hands on to the runtime.
type Hooks struct {
	Prestart  []Hook `json:"prestart,omitempty"`
	Poststart []Hook `json:"poststart,omitempty"`
	Poststop  []Hook `json:"poststop,omitempty"`
}

// IDMapping is an entry of linux.uidMappings or gidMappings.
type IDMapping struct {
	ContainerID int `json:"containerID"`
	HostID      int `json:"hostID"`
	Size        int `json:"size"`
}

// rootfs is where the container's root file system is.
func (b *Bundle) rootfs() string {
	if b.Root == "" {
		return filepath.Join(b.Dir, "rootfs")
	}
	return b.Root
}

func (b *Bundle) cgroupsPath() string {
	if b.CgroupsPath == "" {
		return filepath.Join(CgroupParent(), b.ID)
	}
	return b.CgroupsPath
}

// WriteBundle writes <Dir>/config.json and the files that it mounts.
func WriteBundle(b *Bundle) error {
	if err := os.MkdirAll(b.Dir, 0o750); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"hostname": b.hostname() + "\n", "hosts": "127.0.0.1 localhost\n", "resolv.conf": "nameserver 127.0.0.1\n",
	} {
		if err := os.WriteFile(filepath.Join(b.Dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if !b.System { // it is bound to /dev/shm
		if err := os.MkdirAll(filepath.Join(b.Dir, "mounts/shm"), 0o755); err != nil {
			return err
		}
	}
	spec, err := b.spec()
	if err != nil {
		return err
	}
	if b.Edit != nil {
		b.Edit(spec)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode config.json: %w", err)
	}
	return os.WriteFile(filepath.Join(b.Dir, "config.json"), data, 0o640)
}

// hostname is what iSulad generates: the beginning of the id.
func (b *Bundle) hostname() string { return b.ID[:min(12, len(b.ID))] }

// The specifications that iSulad 2.1 wrote for a container of each kind.
var (
	//go:embed testdata/config-lcr-system.json
	SystemSpec []byte
	//go:embed testdata/config-runc.json
	ordinarySpec []byte
)

// spec is what iSulad wrote, with all that is the container's own replaced.
func (b *Bundle) spec() (map[string]any, error) {
	text := ordinarySpec
	if b.System {
		text = SystemSpec
	}
	var s struct {
		OCIVersion  string            `json:"ociVersion"`
		Annotations map[string]string `json:"annotations"`
		Mounts      []Mount           `json:"mounts"`
		Process     map[string]any    `json:"process"`
		Linux       map[string]any    `json:"linux"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // swappiness does not survive a float64, as hooks must know
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("recorded specification: %w", err)
	}
	recorded := filepath.Dir(s.Annotations["log.console.file"])
	for i, m := range s.Mounts {
		if file, ok := strings.CutPrefix(m.Source, recorded); ok {
			s.Mounts[i].Source = b.Dir + file
		}
	}
	s.Annotations["cgroup.dir"] = filepath.Dir(b.cgroupsPath())
	s.Annotations["log.console.file"] = filepath.Join(b.Dir, "console.log")
	s.Annotations["rootfs.mount"] = b.rootfs()
	maps.Copy(s.Annotations, b.Annotations)
	s.Process["args"] = b.Args
	if len(b.Args) == 0 {
		s.Process["args"] = []string{"/bin/sleep", "2000000000"}
	}
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}, b.Env...)
	s.Process["env"] = append(env, "HOSTNAME="+b.hostname())
	b.setLinux(s.Linux)
	return map[string]any{
		"ociVersion":  s.OCIVersion,
		"hostname":    b.hostname(),
		"annotations": s.Annotations,
		"hooks":       b.Hooks,
		"root":        map[string]any{"path": b.rootfs()},
		"mounts":      append(s.Mounts, b.Mounts...),
		"process":     s.Process,
		"linux":       s.Linux,
	}, nil
}

func (b *Bundle) setLinux(linux map[string]any) {
	linux["cgroupsPath"] = b.cgroupsPath()
	if len(b.UID)+len(b.GID) > 0 {
		linux["namespaces"] = append(linux["namespaces"].([]any), map[string]any{"type": "user"})
		linux["uidMappings"], linux["gidMappings"] = b.UID, b.GID
	}
	if len(b.Sysctl) > 0 {
		linux["sysctl"] = b.Sysctl
	}
}
