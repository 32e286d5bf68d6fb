package inspection

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
)

// features are what a kernel may lack, since which version it is there, and what is not to be
// had without.
var features = []struct {
	name, since, costs string
	call               uintptr
}{
	{"open_tree and move_mount", "5.2", "a container that has changed its root (lcr of iSulad 2.1) gets no path, and one with a user namespace no device", unix.SYS_OPEN_TREE},
	{"pidfd_open", "5.3", "a process is told from a later one by its start only", unix.SYS_PIDFD_OPEN},
	{"openat2", "5.6", "paths in containers are resolved step by step", unix.SYS_OPENAT2},
	{"mount_setattr", "5.12", "a container that was started without the hook gets no path; no idmap", unix.SYS_MOUNT_SETATTR},
}

func (h Host) kernel(context.Context) []Fact {
	var facts []Fact
	var have []string
	for _, f := range features {
		// With a descriptor that is none, each fails, in one way where it is there.
		_, _, errno := unix.Syscall6(f.call, ^uintptr(0), 0, ^uintptr(0), 0, 0, 0)
		if errno == unix.ENOSYS {
			facts = append(facts, Fact{Warn, "kernel", "it has no " + f.name + " (Linux " + f.since + "): " + f.costs, "a newer kernel"})
		} else {
			have = append(have, f.name)
		}
	}
	if len(have) > 0 {
		facts = append(facts, Fact{OK, "kernel", "it has " + strings.Join(have, ", "), ""})
	}
	return facts
}

func (h Host) cgroups(context.Context) []Fact {
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return []Fact{{Bad, "cgroup", "/sys/fs/cgroup: " + err.Error(), "mount it"}}
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return []Fact{{OK, "cgroup", "version 2", ""}}
	}
	if unix.Statfs("/sys/fs/cgroup/devices", &fs) == nil && fs.Type == unix.CGROUP_SUPER_MAGIC {
		return []Fact{{OK, "cgroup", "version 1", ""}}
	}
	return []Fact{{Bad, "cgroup", "neither version 2 nor the controller of devices of version 1 is mounted below /sys/fs/cgroup", "mount it"}}
}

func (h Host) sharedPath(context.Context) []Fact {
	if _, err := os.Stat(place.SharedPath); errors.Is(err, os.ErrNotExist) {
		return []Fact{{OK, "shared path", "missing, the first start makes it", ""}}
	}
	is := Fact{OK, "shared path", "no container was started yet", ""}
	err := mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		if m.Point.Is(place.Master) {
			is = Fact{OK, "shared path", place.Master, ""}
			if !strings.Contains(string(m.Optional), "shared:") {
				is = Fact{Bad, "shared path", place.Master + " is no shared mount: later mounts there reach no container", "mount --make-shared " + place.Master}
			}
		}
		return true
	})
	if err != nil {
		return []Fact{{Bad, "shared path", err.Error(), ""}}
	}
	return []Fact{is}
}
