// Package mountpoint makes and removes the host's mount points. Nothing in it
// removes what has content, or anything through a mount.
package mountpoint

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// Mkdir makes a directory of exactly this mode. One that exists is left as it
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

// ID tells the mount that f is on from others, as statx(2) does since Linux 5.8
// only.
func ID(f *os.File) (string, error) {
	path := fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd())
	info, err := open.Read(path, 4096)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", fmt.Errorf("%s: no mnt_id", path)
}
