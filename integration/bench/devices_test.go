package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// device is a device of the host that the container gets under the same name.
// Its owner is root, as it is for most: no chown.
type device struct {
	name         string
	mode         uint32 // with the type's bits
	major, minor uint32
}

func (d device) path() string { return "/dev/" + d.name }

func (d device) letter() string {
	if d.mode&unix.S_IFMT == unix.S_IFBLK {
		return "b"
	}
	return "c"
}

func charDevice(_ *world, i int) device {
	return device{fmt.Sprintf("bench%d", i), unix.S_IFCHR | 0o666, 250, uint32(i)} // "local use": nothing is ever opened
}

// deviceKind is a kind of which one returns the i-th, and bareAll does with
// system calls alone what all of them need.
func deviceKind(one func(w *world, i int) device, bareAll func(w *world, all []device) (func() error, error)) kind {
	list := func(w *world, n int) []device {
		all := make([]device, n)
		for i := range all {
			all[i] = one(w, i)
		}
		return all
	}
	return kind{
		prepare: func(w *world, n int) error {
			for _, d := range list(w, n) {
				err := sandbox.Mknod(d.path(), d.mode, d.major, d.minor, 0, 0)
				if err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
			}
			return nil
		},
		records: func(w *world, n int) map[string]any {
			var records []map[string]any
			for _, d := range list(w, n) {
				records = append(records, map[string]any{
					"Type": d.letter(), "Major": d.major, "Minor": d.minor, "PathOnHost": d.path(), "PathInContainer": d.path(),
					"CgroupPermissions": "rw", "Parent": "",
				})
			}
			return map[string]any{"deviceToAdd": records}
		},
		bare:  func(w *world, n int) (func() error, error) { return bareAll(w, list(w, n)) },
		check: func(w *world, n int) error { return checkDevices(w, list(w, n)) },
	}
}

// checkDevices returns nil when the container has these nodes, no others, and
// may use them.
func checkDevices(w *world, all []device) error {
	nodes, err := filepath.Glob(w.inside("/dev/bench*"))
	if err != nil {
		return err
	}
	if len(nodes) != len(all) {
		return fmt.Errorf("the container has %d nodes for %d devices", len(nodes), len(all))
	}
	for _, d := range all {
		var st unix.Stat_t
		if err := unix.Lstat(w.inside(d.path()), &st); err != nil {
			return &os.PathError{Op: "lstat", Path: d.path(), Err: err}
		}
		if st.Mode != d.mode || st.Rdev != unix.Mkdev(d.major, d.minor) || int(st.Uid) != w.rootID() {
			return fmt.Errorf("%s in the container is mode %#o, device %#x, of %d", d.path(), st.Mode, st.Rdev, st.Uid)
		}
		if err := w.mayUse(d.path()); err != nil {
			return err
		}
	}
	return nil
}

// charDevices are character devices in the container's /dev, allowed by the v1
// device controller.
var charDevices = deviceKind(charDevice, bareDevices)

// bareDevices makes and allows each device by the least of calls.
func bareDevices(w *world, all []device) (func() error, error) {
	dir, err := os.Open(w.inside("/dev"))
	if err != nil {
		return nil, err
	}
	return func() error {
		defer dir.Close()
		for _, d := range all {
			err := bareNode(int(dir.Fd()), d)
			if err == nil {
				err = bareRule(w.cgroup+"/devices.allow", d)
			}
			if err != nil {
				return fmt.Errorf("device %s: %w", d.name, err)
			}
		}
		return nil
	}, nil
}

func bareNode(dir int, d device) error {
	if err := unix.Mknodat(dir, d.name, d.mode, int(unix.Mkdev(d.major, d.minor))); err != nil {
		return err
	}
	return unix.Fchmodat(dir, d.name, d.mode&0o7777, 0)
}

func bareRule(allow string, d device) error {
	fd, err := unix.Open(allow, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, fmt.Appendf(nil, "%s %d:%d rw", d.letter(), d.major, d.minor)); err != nil {
		return err
	}
	return unix.Close(fd)
}
