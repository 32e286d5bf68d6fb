package mounts

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/resource"
)

// CheckUsers refuses to map owners for a container that has no user namespace of its own.
func (b Bind) CheckUsers(userNS bool) error {
	if o, err := parseOptions(b.Options); err != nil || !o.idmap || userNS {
		return err
	}
	return errors.New("idmap: the container has no user namespace of its own: leave idmap out, owners are the same in it")
}

// mappedTree returns a detached clone of a tree of the host, with the owners of the
// container; see bindFlags.
func mappedTree(t *resource.Target, source *os.File, flags uintptr) (*os.File, error) {
	var recursive uint
	if flags&unix.MS_REC != 0 {
		recursive = unix.AT_RECURSIVE
	}
	tree, err := cloneTree(source, recursive)
	if errors.Is(err, unix.ENOSYS) {
		return nil, errors.New("idmap: this kernel (before 5.12) cannot map owners: leave idmap out, or give the tree to the container's ids with chown")
	}
	if err == nil {
		err = mapOwners(t, tree)
	}
	if err != nil {
		tree.Close()
		return nil, err
	}
	return tree, nil
}

// mapOwners has a detached tree show each file as that of the user of the container
// who has its owner's number there (mount_setattr(2)): root's files are the container's
// root's.
func mapOwners(t *resource.Target, tree *os.File) error {
	users, err := open.File(process.Path(t.Init.PID, "ns/user"), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer users.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())}
	err = unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
	if err != nil {
		return fmt.Errorf("idmap: the kernel cannot map the owners of %s, or of what is mounted below it (its file system must know that; Linux 5.12): %w; leave idmap out, or give the tree to the container's ids with chown", tree.Name(), err)
	}
	return nil
}

// HostOwner is the owner of what is made on the host for b, where a container has this
// root user.
func (b Bind) HostOwner(own rootfs.Owner) rootfs.Owner {
	if o, err := parseOptions(b.Options); err == nil && o.idmap {
		return rootfs.Owner{} // it is mapped
	}
	return own
}

// CheckOwner says of a path that a container gets with its owners as they are, when it
// belongs to nobody there. mapped tells ids of the host that have a user in it.
func (b Bind) CheckOwner(w *deadline.Waiter, mapped func(uid, gid uint32) bool) error {
	o, err := parseOptions(b.Options)
	if err != nil || o.idmap {
		return nil
	}
	st, err := deadline.Get(w, onHost, b.Host, func() (st unix.Stat_t, err error) { return st, unix.Stat(b.Host, &st) })
	if err != nil || mapped(st.Uid, st.Gid) {
		return nil // what is missing is made for the container's root
	}
	return fmt.Errorf("%s belongs to %d:%d, which is nobody in the container's user namespace: the container's root has only everybody's rights there; add the path with the option idmap (Linux 5.12), or chown it to the container's ids", b.Host, st.Uid, st.Gid)
}
