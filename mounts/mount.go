package mounts

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

// mountError says which mount system call failed on what.
type mountError struct {
	op, source, target string
	err                error
}

func (e *mountError) Error() string {
	if e.source == "" {
		return fmt.Sprintf("%s %s: %v", e.op, e.target, e.err)
	}
	return fmt.Sprintf("%s %s on %s: %v", e.op, e.source, e.target, e.err)
}

func (e *mountError) Unwrap() error { return e.err }

// procFD is an open file's path for system calls that take no descriptor.
func procFD(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// bind mounts what source has open on what target has open; path may be
// procFD, or nsenter.FD on a thread in another mount namespace.
func bind(source, target *os.File, flags uintptr, path func(*os.File) string) error {
	if err := unix.Mount(path(source), path(target), "", unix.MS_BIND|flags, ""); err != nil {
		return &mountError{"bind", source.Name(), target.Name(), err}
	}
	return nil
}

// setReadOnly makes the mount whose root is open read-only, and with recursive
// those below it.
func setReadOnly(mnt *os.File, recursive bool, path func(*os.File) string) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err := unix.MountSetattr(int(mnt.Fd()), "", flags, &attr)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.ENOSYS) { // before Linux 5.12
		return &mountError{"make read-only", "", mnt.Name(), err}
	}
	if recursive {
		return remountBelow(mnt)
	}
	return remount(mnt, path)
}

// remount makes one mount read-only as mount(2) can: all flags are set anew,
// so those that it has are read first.
func remount(mnt *os.File, path func(*os.File) string) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(mnt.Fd()), &fs); err != nil {
		return &mountError{"statfs", "", mnt.Name(), err}
	}
	// The ST_ flags of statfs(2) have the values of mount(2)'s MS_ flags, but
	// for ST_RELATIME, which is also the default.
	const keep = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME
	flags := uintptr(fs.Flags)&keep | unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY
	if err := unix.Mount("", path(mnt), "", flags, ""); err != nil {
		return &mountError{"make read-only", "", mnt.Name(), err}
	}
	return nil
}

// remountBelow makes the mount at mnt's path, on the host, and every mount
// below it read-only.
func remountBelow(mnt *os.File) error {
	points, err := mountsBelow(mnt.Name())
	if err != nil {
		return err
	}
	for _, p := range points {
		f, err := open.File(p, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		err = remount(f, procFD)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// mountsBelow lists the mount points at and below a host path.
func mountsBelow(p string) ([]string, error) {
	var points []string
	err := mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		if point := m.Point.String(); place.Within(point, p) {
			points = append(points, point)
		}
		return true
	})
	return points, err
}

// setPropagation changes the propagation of the mount whose root is open.
func setPropagation(mnt *os.File, flags uintptr, path func(*os.File) string) error {
	if err := unix.Mount("", path(mnt), "", flags, ""); err != nil {
		return &mountError{"set the propagation of", "", mnt.Name(), err}
	}
	return nil
}

// cloneTree returns a detached clone of the mount that source has open, and
// with AT_RECURSIVE of those below it. ENOSYS: before Linux 5.2.
func cloneTree(source *os.File, recursive uint) (*os.File, error) {
	fd, err := unix.OpenTree(int(source.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|recursive)
	if err != nil {
		return nil, &mountError{"clone the mount", "", source.Name(), err}
	}
	return os.NewFile(uintptr(fd), source.Name()), nil
}

// attach puts a detached tree on what target has open.
func attach(tree, target *os.File) error {
	err := unix.MoveMount(int(tree.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return &mountError{"attach", tree.Name(), target.Name(), err}
	}
	return nil
}

// sameFile tells whether both are one inode.
func sameFile(a, b *os.File) (bool, error) {
	var x, y unix.Stat_t
	if err := unix.Fstat(int(a.Fd()), &x); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	if err := unix.Fstat(int(b.Fd()), &y); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	return x.Dev == y.Dev && x.Ino == y.Ino, nil
}
