package bench

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// setting is what distinguishes the containers of one group from those of others.
type setting int

const (
	plain   setting = iota // cgroup v1, the host's users
	userNS                 // users of its own
	unified                // cgroup v2
)

func (s setting) String() string {
	return [...]string{"", ", user namespace", ", cgroup v2"}[s]
}

// firstID is the container's root on the host, in a user namespace.
const firstID, mappedIDs = 100000, 65536

// rootID is the container's root on the host.
func (s setting) rootID() int {
	if s == userNS {
		return firstID
	}
	return 0
}

// edit makes a specification one of this setting.
func (s setting) edit(spec string) string {
	if s != userNS {
		return spec
	}
	ids := fmt.Sprintf(`[{"containerID": 0, "hostID": %d, "size": %d}]`, firstID, mappedIDs)
	const list = `"namespaces": [`
	return strings.Replace(spec, list, `"uidMappings": `+ids+`, "gidMappings": `+ids+`, `+list+`{"type": "user"},`, 1)
}

const cgroupRoot = "/sys/fs/cgroup"

// cgroups returns where the device cgroups are. Until leave, the sandbox of a
// host with both generations is one with cgroup v2 alone.
func (s setting) cgroups() (string, error) {
	if s != unified {
		return cgroupRoot + "/devices", nil
	}
	const both = cgroupRoot + "/unified"
	var fs unix.Statfs_t
	if err := unix.Statfs(both, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return "", errors.New("these measurements need cgroup v2 on " + both)
	}
	if err := unix.Mount(both, cgroupRoot, "", unix.MS_BIND, ""); err != nil {
		return "", &os.PathError{Op: "mount cgroup2 on", Path: cgroupRoot, Err: err}
	}
	return cgroupRoot, nil
}

// leave undoes cgroups.
func (s setting) leave() error {
	if s != unified {
		return nil
	}
	return os.NewSyscallError("umount", unix.Unmount(cgroupRoot, 0))
}
