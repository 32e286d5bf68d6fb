package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Bundle describes a runc bundle like those iSulad writes. The zero value of
// every field but Dir and ID is useful.
type Bundle struct {
	Dir string // bundle directory, made when missing
	ID  string
	// Root is the rootfs, Dir/rootfs when empty; it is not filled here.
	Root string
	// CgroupsPath is linux.cgroupsPath, CgroupParent()/ID when empty.
	CgroupsPath string
	Args        []string // process.args, default: sleep for ever
	Env         []string // appended to PATH and TERM
	Mounts      []Mount  // appended to the usual ones
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

// rule is an entry of linux.resources.devices; like iSulad, it leaves out what
// is false or 0.
type rule struct {
	Allow  bool   `json:"allow,omitempty"`
	Type   string `json:"type"`
	Major  int    `json:"major,omitempty"`
	Minor  int    `json:"minor,omitempty"`
	Access string `json:"access"`
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
	spec := b.spec()
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

func (b *Bundle) spec() map[string]any {
	caps := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
	args := b.Args
	if len(args) == 0 {
		args = []string{"/bin/sleep", "2000000000"}
	}
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}, b.Env...)
	annotations := map[string]string{
		"cgroup.dir": filepath.Dir(b.cgroupsPath()), "native.umask": "normal", "log.console.driver": "json-file",
		"log.console.file": filepath.Join(b.Dir, "console.log"), "log.console.filerotate": "7", "log.console.filesize": "1MB",
		"rootfs.mount": b.rootfs(),
	}
	for k, v := range b.Annotations {
		annotations[k] = v
	}
	return map[string]any{
		"ociVersion":  "1.0.1",
		"hostname":    b.hostname(),
		"annotations": annotations,
		"hooks":       b.Hooks,
		"root":        map[string]any{"path": b.rootfs()},
		"mounts":      append(b.mounts(), b.Mounts...),
		"process": map[string]any{
			"args": args, "cwd": "/", "env": append(env, "HOSTNAME="+b.hostname()), "consoleSize": map[string]any{},
			"user":         map[string]any{"additionalGids": []int{0}},
			"capabilities": map[string]any{"bounding": caps, "permitted": caps, "effective": caps},
		},
		"linux": b.linux(),
	}
}

func (b *Bundle) mounts() []Mount {
	file := func(name string) Mount {
		return Mount{filepath.Join(b.Dir, name), "/etc/" + name, "bind", []string{"rbind", "rprivate"}}
	}
	list := []Mount{
		{"proc", "/proc", "proc", []string{"nosuid", "noexec", "nodev"}},
		{"tmpfs", "/dev", "tmpfs", []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{"devpts", "/dev/pts", "devpts", []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{"sysfs", "/sys", "sysfs", []string{"nosuid", "noexec", "nodev", "ro"}},
		{"cgroup", "/sys/fs/cgroup", "cgroup", []string{"nosuid", "noexec", "nodev", "ro"}},
		{"mqueue", "/dev/mqueue", "mqueue", []string{"nosuid", "noexec", "nodev"}},
		{"tmpfs", "/dev/shm", "tmpfs", []string{"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}},
	}
	return append(list, file("hostname"), file("hosts"), file("resolv.conf"))
}

func (b *Bundle) linux() map[string]any {
	type namespace struct {
		Type string `json:"type"`
	}
	namespaces := []namespace{{"pid"}, {"network"}, {"ipc"}, {"uts"}, {"mount"}, {"cgroup"}}
	linux := map[string]any{
		"cgroupsPath": b.cgroupsPath(),
		"resources": map[string]any{
			"devices": defaultRules(),
			// Unlimited. It does not survive a float64, as hooks must know.
			"memory": map[string]any{"swappiness": ^uint64(0)},
		},
		"maskedPaths":   []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"},
		"readonlyPaths": []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if len(b.UID)+len(b.GID) > 0 {
		namespaces = append(namespaces, namespace{"user"})
		linux["uidMappings"], linux["gidMappings"] = b.UID, b.GID
	}
	linux["namespaces"] = namespaces
	if len(b.Sysctl) > 0 {
		linux["sysctl"] = b.Sysctl
	}
	return linux
}

// defaultRules are iSulad's: nothing, but mknod of all, and the usual nodes.
func defaultRules() []rule {
	return []rule{
		{false, "a", -1, -1, "rwm"},
		{true, "c", -1, -1, "m"},
		{true, "b", -1, -1, "m"},
		{true, "c", 1, 3, "rwm"},
		{true, "c", 1, 5, "rwm"},
		{true, "c", 1, 7, "rwm"},
		{true, "c", 5, 0, "rwm"},
		{true, "c", 5, 1, "rwm"},
		{true, "c", 5, 2, "rwm"},
		{true, "c", 1, 8, "rwm"},
		{true, "c", 1, 9, "rwm"},
		{true, "c", 136, -1, "rwm"},
		{true, "c", 10, 200, "rwm"},
	}
}
