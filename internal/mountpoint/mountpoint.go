// Package mountpoint makes and removes the host's mount points. Nothing in it
// removes anything through a mount, and only Purge and Empty what has content.
package mountpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// Mkdir makes a directory of exactly this mode. An existing directory is left as it
// is.
func Mkdir(dir string, mode os.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// spareInodes is how many files, at least, others find place for.
const spareInodes = 1024

// MakeRoom raises the number of files that the tmpfs mounted on dir may have, when
// it is nearly reached: one container must not take what the others need. The
// kernel accounts each file to who made it.
func MakeRoom(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if fs.Type != unix.TMPFS_MAGIC || fs.Files == 0 || fs.Ffree >= spareInodes { // 0: no limit
		return nil
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprintf("nr_inodes=%d", 2*fs.Files+spareInodes)); err != nil {
		return &os.PathError{Op: "remount with more inodes", Path: dir, Err: err}
	}
	return nil
}

// Detach unmounts everything that is mounted on path itself; a last element
// that is a link is not followed. What is no mount point, or does not exist,
// is fine.
func Detach(path string) error {
	for range 1024 {
		if err := makePrivate(path); err != nil {
			return err
		}
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return &os.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
	return &os.PathError{Op: "unmount", Path: path, Err: unix.EBUSY}
}

// makePrivate cuts what is mounted on path off from its peers. A view of a
// host tree, bound with everything below, is one: without this, detaching it
// would unmount on the host what the host has mounted below that tree.
func makePrivate(path string) error {
	f, err := open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Mount("", fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "", unix.MS_PRIVATE|unix.MS_REC, "")
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: no mount point
		return &os.PathError{Op: "make private", Path: path, Err: err}
	}
	return nil
}

// Remove detaches what is mounted on path and then removes the mount point, a
// file or an empty directory. That it is gone already is fine.
func Remove(path string) error {
	if err := Detach(path); err != nil {
		return err
	}
	// os.Remove is unlink(2), then rmdir(2): both stop at a mount.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ID tells the mount that f is on from others.
func ID(f *os.File) (int, error) {
	if statxHasID() {
		var st unix.Statx_t
		err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st)
		if err == nil { // a FUSE of another user refuses
			return int(st.Mnt_id), nil
		}
	}
	path := fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd())
	info, err := open.Read(path, 4096)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strconv.Atoi(strings.TrimSpace(id))
		}
	}
	return 0, fmt.Errorf("%s: no mnt_id", path)
}

// statxHasID tells whether statx(2) knows the mount: since Linux 5.8. Before 4.20 it would
// ask a file system in user space, which may never answer.
var statxHasID = sync.OnceValue(func() bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, "/", unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st)
	return err == nil && st.Mask&unix.STATX_MNT_ID != 0
})
