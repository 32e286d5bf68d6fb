package mounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
)

// errSealed says that the host has no place for the shared path.
var errSealed = errors.New("the host's / cannot be written, and has no " + place.SharedPath + ": make that directory once when the host is built, or a link of that name to a directory that can be written: ln -s /var/lib/sharedpath " + place.SharedPath)

// prepareMaster makes the part of the shared path that all containers share.
// All of it is idempotent, so a start that was killed in it needs no repair.
func prepareMaster(ctx context.Context) error {
	err := mountpoint.Mkdir(place.SharedPath, 0o600)
	if isSealed(err, "/") {
		return fmt.Errorf("%w: %w", errSealed, err)
	}
	if err == nil {
		err = makeTarget()
	}
	if err != nil {
		return err
	}
	lock, err := config.LockDir(ctx, place.SharedPath+"/.", sharedPathLockWait) // it may be a link
	if err != nil {
		return err
	}
	defer func() { lock.Unlock() }()
	err = mountpoint.Mkdir(place.Master, 0o600)
	if isSealed(err, place.SharedPath) { // the directory is there, and no more
		if err := unix.Mount("tmpfs", place.SharedPath, "tmpfs", 0, "size=1m,mode=600"); err != nil {
			return &mountError{"mount", "tmpfs", place.SharedPath, err}
		}
		again, err := config.LockDir(ctx, place.SharedPath+"/.", sharedPathLockWait) // what others see now
		if err != nil {
			return err
		}
		lock.Unlock()
		lock = again
		err = mountpoint.Mkdir(place.Master, 0o600)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	var top, m unix.Stat_t
	if err := unix.Stat(place.SharedPath, &top); err != nil {
		return &os.PathError{Op: "stat", Path: place.SharedPath, Err: err}
	}
	if err := unix.Lstat(place.Master, &m); err != nil {
		return &os.PathError{Op: "lstat", Path: place.Master, Err: err}
	}
	if m.Dev == top.Dev {
		if err := unix.Mount("tmpfs", place.Master, "tmpfs", 0, "size=16m"); err != nil {
			return &mountError{"mount", "tmpfs", place.Master, err}
		}
	}
	if err := unix.Mount("", place.Master, "", unix.MS_SHARED, ""); err != nil {
		return &mountError{"make shared", "", place.Master, err}
	}
	return mountpoint.MakeRoom(place.Master)
}

// isSealed tells whether a directory could not be made in dir because nothing can be: the
// file system is read-only, or dir is sealed (chattr +i), as ostree's / is.
func isSealed(err error, dir string) bool {
	if errors.Is(err, unix.EROFS) {
		return true
	}
	var st unix.Statx_t
	return errors.Is(err, unix.EPERM) && unix.Statx(unix.AT_FDCWD, dir, 0, 0, &st) == nil && st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0
}

// makeTarget makes what the shared path leads to, where an operator has made it a link.
func makeTarget() error {
	to, err := os.Readlink(place.SharedPath)
	if err != nil {
		return nil // it is a directory, mostly
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join("/", to)
	}
	return mountpoint.Mkdir(to, 0o600)
}

// stagingPaths are where a container's staging mounts are, in the order in which they go, as
// the mount table has their paths.
func stagingPaths(id string) []string {
	var list []string
	for _, dir := range []string{place.Master, place.Midpath} {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		list = append(list, filepath.Join(dir, id))
	}
	return list
}

// ofMaster tells whether a file system is the shared path's tmpfs.
func ofMaster(dev uint64) bool {
	var master, top unix.Stat_t
	if unix.Lstat(place.Master, &master) != nil || unix.Stat(place.SharedPath, &top) != nil {
		return false
	}
	return dev == master.Dev && dev != top.Dev
}
