package bench

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// boundDevices are character devices in a /dev where nodes do not work, because
// it was mounted in a user namespace: they are made on the host and bound.
var boundDevices = deviceKind(charDevice, bareBoundDevices)

// bareBoundDevices makes each node in the container's shared path, for its root,
// allows it, and binds it where it is wanted onto an empty file.
func bareBoundDevices(w *world, all []device) (func() error, error) {
	master, err := os.Open(filepath.Join(shared, "master", id))
	if err != nil {
		return nil, err
	}
	inside, err := enter(w.PID)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer master.Close()
		defer close(inside)
		dir := int(master.Fd())
		for _, d := range all {
			err := bareNode(dir, d)
			if err == nil {
				err = unix.Fchownat(dir, d.name, firstID, firstID, 0)
			}
			if err == nil {
				err = bareRule(w.cgroup+"/devices.allow", d)
			}
			if err != nil {
				return fmt.Errorf("device %s: %w", d.name, err)
			}
		}
		done := make(chan error)
		inside <- func() { done <- bindNodes(all) }
		return <-done
	}, nil
}

// bindNodes is the part inside. The host's ids own no files there.
func bindNodes(all []device) error {
	if err := fsIDs(firstID); err != nil {
		return err
	}
	for _, d := range all {
		fd, err := unix.Open(rootfs+d.path(), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return &os.PathError{Op: "create", Path: d.path(), Err: err}
		}
		unix.Close(fd)
	}
	if err := fsIDs(0); err != nil {
		return err
	}
	for _, d := range all {
		if err := unix.Mount(rootfs+shared+"/"+d.name, rootfs+d.path(), "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "bind", Path: d.path(), Err: err}
		}
	}
	return nil
}

// fsIDs has this thread own what it creates as id.
func fsIDs(id int) error {
	if err := unix.Setfsgid(id); err != nil {
		return os.NewSyscallError("setfsgid", err)
	}
	return os.NewSyscallError("setfsuid", unix.Setfsuid(id))
}
