package mounts

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/resource"
)

// direct attaches the host's tree on point in the container: a detached clone
// gets the record's options and is then put there by one system call. It needs
// Linux 5.12; and the container must not have a user namespace of its own,
// whose root could undo a read-only mount that did not propagate to it.
func direct(t *resource.Target, host, point *os.File, b Bind) (tree *os.File, err error) {
	if t.UserNS {
		return nil, fmt.Errorf("a container with its own user namespace needs the shared path: %w", t.NoSharedPath)
	}
	o, err := parseOptions(b.Options)
	if err != nil {
		return nil, err
	}
	tree, err = cloneTree(host, unix.AT_RECURSIVE)
	if errors.Is(err, unix.ENOSYS) {
		return nil, fmt.Errorf("this kernel (before 5.2) needs the shared path: %w", t.NoSharedPath)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			tree.Close()
		}
	}()
	attr := unix.MountAttr{Propagation: uint64(o.receives() &^ unix.MS_REC)}
	if o.readOnly {
		attr.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	err = unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
	if errors.Is(err, unix.ENOSYS) {
		return tree, fmt.Errorf("this kernel (before 5.12) needs the shared path: %w", t.NoSharedPath)
	}
	if err != nil {
		return tree, &mountError{"set the options of", "", host.Name(), err}
	}
	return tree, t.NS.Do(func() error { return attach(tree, point) })
}
