package devices

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// makeNode makes d's node in the container, of the host node's mode and owner,
// and its parent directories, 0755 and of the same owner; then it calls
// commit. When anything fails, what it made is gone again. A different file in
// its place is replaced, a node that is this device already is adopted.
func makeNode(t *resource.Target, d Device, commit func() error) (err error) {
	host, err := stat(d.PathOnHost)
	if err != nil {
		return err
	}
	own := t.Owner.Or(rootfs.Owner{UID: int(host.Uid), GID: int(host.Gid)})
	var dir *os.File
	defer func() { dir.Close() }() // after the undo, which needs it
	var u undo.Stack
	defer u.OnError(&err)
	dir, base, err := t.Root.Dir(d.PathInContainer, own, &u)
	if err != nil {
		return err
	}
	switch there, err := inHostsDev(t, dir, base, host); {
	case err != nil:
		return err
	case there:
		return commit()
	}
	if t.UserNS && !nodesWork(dir) {
		if err := bindNode(t, d, host, own, &u); err != nil {
			return fmt.Errorf("make node %s: %w", d.PathInContainer, err)
		}
		return commit()
	}
	made, err := mknod(dir, base, host)
	if err != nil {
		return fmt.Errorf("make node %s: %w", d.PathInContainer, err)
	}
	if made {
		u.Push("remove node "+d.PathInContainer, func() error { return unlink(dir, base, 0) })
	}
	if err := dress(dir, base, host, own, made); err != nil {
		return fmt.Errorf("make node %s: %w", d.PathInContainer, err)
	}
	return commit()
}

// inHostsDev tells whether dir, which the container may have bound as its own,
// is of the host's /dev and has the node. Nothing is made, replaced or changed
// there: what is missing is an error.
func inHostsDev(t *resource.Target, dir *os.File, base string, host unix.Stat_t) (there bool, err error) {
	var d, st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &d); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	if d.Dev != t.HostDev {
		return false, nil
	}
	if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && sameDevice(st, host) {
		return true, nil
	}
	return false, errors.New("the container's directory for it is the host's /dev, which is left alone")
}

// mknod makes dir/base the device that host is, and tells whether it had to.
func mknod(dir *os.File, base string, host unix.Stat_t) (made bool, err error) {
	for try := 0; try < 3; try++ {
		// With the umask a node would need a chmod, and be wrong until then.
		umask := unix.Umask(0)
		err = unix.Mknodat(int(dir.Fd()), base, host.Mode, int(host.Rdev))
		unix.Umask(umask)
		if !errors.Is(err, unix.EEXIST) {
			return err == nil, os.NewSyscallError("mknodat", err)
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return false, os.NewSyscallError("fstatat", err)
		}
		if sameDevice(st, host) {
			return false, nil
		}
		if err := removeOther(dir, base, st); err != nil {
			return false, fmt.Errorf("replace what is there: %w", err)
		}
	}
	return false, os.NewSyscallError("mknodat", err)
}

// removeOther removes what has the node's place: a file, or an empty directory,
// but nothing that the container has mounted. The kernel would not mind: to it
// a mount in another namespace is no reason to keep the mount point.
func removeOther(dir *os.File, base string, st unix.Stat_t) error {
	f, err := open.At(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	there, err := mountpoint.ID(f)
	if err != nil {
		return err
	}
	if around, err := mountpoint.ID(dir); err != nil || there != around {
		return errors.Join(err, os.NewSyscallError("unlinkat", unix.EBUSY))
	}
	flags := 0
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		flags = unix.AT_REMOVEDIR // only when empty
	}
	return unlink(dir, base, flags)
}

func sameDevice(a, b unix.Stat_t) bool {
	return a.Mode&unix.S_IFMT == b.Mode&unix.S_IFMT && a.Rdev == b.Rdev
}

// dress gives the node its mode and its owner. It acts on what it has opened
// and looked at. A node that is bind-mounted here is the host's own and keeps
// what it has.
func dress(dir *os.File, base string, host unix.Stat_t, own rootfs.Owner, made bool) error {
	node, err := open.At(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer node.Close()
	fd := int(node.Fd())
	var st, parent unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if !sameDevice(st, host) {
		return errors.New("something else took its place")
	}
	if !made {
		if err := unix.Fstat(int(dir.Fd()), &parent); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		if st.Dev != parent.Dev || st.Dev == host.Dev && st.Ino == host.Ino {
			return nil
		}
	}
	if int(st.Uid) != own.UID || int(st.Gid) != own.GID {
		if err := unix.Fchownat(fd, "", own.UID, own.GID, unix.AT_EMPTY_PATH); err != nil {
			return os.NewSyscallError("fchownat", err)
		}
	}
	if st.Mode&0o7777 != host.Mode&0o7777 {
		// An O_PATH descriptor has no fchmod(2).
		err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), host.Mode&0o7777)
		return os.NewSyscallError("chmod", err)
	}
	return nil
}

func unlink(dir *os.File, base string, flags int) error {
	err := unix.Unlinkat(int(dir.Fd()), base, flags)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.NewSyscallError("unlinkat", err)
}

// verifyNode returns nil when the container has d's node.
func verifyNode(t *resource.Target, d Device) error {
	f, err := t.Root.Open(d.PathInContainer, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	format := uint32(unix.S_IFCHR)
	if d.Type == "b" {
		format = unix.S_IFBLK
	}
	if st.Mode&unix.S_IFMT != format || st.Rdev != unix.Mkdev(uint32(d.Major), uint32(d.Minor)) {
		return fmt.Errorf("%s in the container is another file", d.PathInContainer)
	}
	return nil
}
