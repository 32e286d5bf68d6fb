package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

const (
	deviceMajor = 250 // "local use": nothing is ever opened
	deviceMode  = 0o666
)

func deviceName(i int) string { return fmt.Sprintf("bench%d", i) }

// charDevices are character devices in the container's /dev, allowed by the v1
// device controller. Their owner is root, as it is for most: no chown.
var charDevices = kind{
	prepare: func(_ *world, n int) error {
		for i := range n {
			path := "/dev/" + deviceName(i)
			if _, err := os.Lstat(path); err == nil {
				continue
			}
			if err := sandbox.Mknod(path, unix.S_IFCHR|deviceMode, deviceMajor, uint32(i), 0, 0); err != nil {
				return err
			}
		}
		return nil
	},
	records: func(n int) map[string]any {
		list := make([]map[string]any, n)
		for i := range list {
			path := "/dev/" + deviceName(i)
			list[i] = map[string]any{
				"Type": "c", "Major": deviceMajor, "Minor": i, "PathOnHost": path, "PathInContainer": path,
				"CgroupPermissions": "rw", "Parent": "",
			}
		}
		return map[string]any{"deviceToAdd": list}
	},
	bare: func(w *world, n int) (func() error, error) {
		dir, err := os.Open(w.inside("/dev"))
		if err != nil {
			return nil, err
		}
		return func() error {
			defer dir.Close()
			for i := range n {
				if err := bareDevice(int(dir.Fd()), w.cgroup+"/devices.allow", i); err != nil {
					return fmt.Errorf("device %d: %w", i, err)
				}
			}
			return nil
		}, nil
	},
	check: func(w *world, n int) error {
		nodes, err := filepath.Glob(w.inside("/dev/bench*"))
		if err != nil {
			return err
		}
		list, err := os.ReadFile(w.cgroup + "/devices.list")
		if err != nil {
			return err
		}
		rules := bytes.Count(list, fmt.Appendf(nil, "c %d:", deviceMajor))
		if len(nodes) != n || rules != n {
			return fmt.Errorf("the container has %d nodes and %d rules for %d devices", len(nodes), rules, n)
		}
		return nil
	},
}

// bareDevice is all that one device needs.
func bareDevice(dir int, allow string, i int) error {
	name := deviceName(i)
	if err := unix.Mknodat(dir, name, unix.S_IFCHR|deviceMode, int(unix.Mkdev(deviceMajor, uint32(i)))); err != nil {
		return err
	}
	if err := unix.Fchmodat(dir, name, deviceMode, 0); err != nil {
		return err
	}
	fd, err := unix.Open(allow, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, fmt.Appendf(nil, "c %d:%d rw", deviceMajor, i)); err != nil {
		return err
	}
	return unix.Close(fd)
}
