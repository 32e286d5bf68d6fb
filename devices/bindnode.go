package devices

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// nodesWork tells whether a device node in dir can be opened. On a file system
// that was mounted in a user namespace it cannot: the kernel says EACCES
// (SB_I_NODEV), or before that EOVERFLOW, because our ids have no numbers
// there. Nothing tells without trying. So a null device is tried, which does no
// harm; a node of the real device might rewind a tape.
func nodesWork(dir *os.File) bool {
	const probe = ".isulad-tools-probe"
	fd := int(dir.Fd())
	switch err := unix.Mknodat(fd, probe, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); {
	case errors.Is(err, unix.EOVERFLOW):
		return false
	case err != nil && !errors.Is(err, unix.EEXIST):
		return true // mknod will say why not
	}
	defer func() { _ = unix.Unlinkat(fd, probe, 0) }()
	f, err := unix.Openat(fd, probe, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, unix.EACCES)
	}
	unix.Close(f)
	return true
}

// bindNode gives the container a node of ours: one made on the host, below the
// container's shared path, where nodes work, with the container's root as its
// owner. It is bound onto an empty file. The host's own node would have an
// owner that is nobody inside, and is not ours to change.
func bindNode(t *resource.Target, d Device, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) error {
	if t.Direct != nil {
		return fmt.Errorf("nodes do not work on a file system of a user namespace, and there is no shared path to bind one from: %w", t.Direct)
	}
	sum := sha256.Sum256([]byte(d.PathInContainer))
	name := "node-" + hex.EncodeToString(sum[:8])
	shared, err := os.OpenFile(filepath.Join(place.Master, t.ID), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer shared.Close()
	made, err := mknod(shared, name, host)
	if err != nil {
		return err
	}
	u.Push("remove node "+name, func() error {
		return os.Remove(filepath.Join(place.Master, t.ID, name))
	})
	if err := dress(shared, name, host, own, made); err != nil {
		return err
	}
	node, err := t.Root.Open(filepath.Join(place.SharedPath, name), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer node.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(node.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if !sameDevice(st, host) {
		return fmt.Errorf("%s/%s in the container is something else", place.SharedPath, name)
	}
	point, err := t.Root.Create(d.PathInContainer, own, u)
	if err != nil {
		return err
	}
	defer point.Close()
	err = t.NS.Do(func() error {
		return os.NewSyscallError("mount", unix.Mount(nsenter.FD(node), nsenter.FD(point), "", unix.MS_BIND, ""))
	})
	if err != nil {
		return err
	}
	mnt, err := t.Root.Open(d.PathInContainer, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	u.Push("unmount "+d.PathInContainer, func() error {
		defer mnt.Close()
		return t.NS.Do(func() error {
			return os.NewSyscallError("umount2", unix.Unmount(nsenter.FD(mnt), unix.MNT_DETACH))
		})
	})
	return nil
}
