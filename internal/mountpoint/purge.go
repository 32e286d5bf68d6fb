package mountpoint

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// purgeTimeout bounds how long a directory is emptied: a start has less than 30 s.
const purgeTimeout = 5 * time.Second

var errLate = errors.New("not all of its content could be removed in " + purgeTimeout.String())

// Purge removes what is at path: a file, or a directory with all that is in it,
// however much and deep. What is mounted on any of it is unmounted first: nothing
// is removed through a mount, and no link is followed. That it is gone already is
// fine. After some seconds it gives up; what is left is less each time.
func Purge(path string) error {
	dir, err := parent(path)
	if dir == nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(path)
	err = remove(dir, name)
	if errors.Is(err, unix.ENOTEMPTY) {
		if err = emptyAt(dir, name); err == nil {
			err = remove(dir, name)
		}
	}
	return err
}

// Empty removes, as Purge does, what is in the directory at path and what is
// mounted on it. What is no directory is removed.
func Empty(path string) error {
	dir, err := parent(path)
	if dir == nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(path)
	err = emptyAt(dir, name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = remove(dir, name)
	}
	return err
}

// parent opens the directory that path is in; nil: there is none.
func parent(path string) (*os.File, error) {
	dir, err := open.File(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return dir, err
}

func emptyAt(dir *os.File, name string) error {
	for range 1024 {
		if detached, err := detachAt(dir, name); err != nil {
			return err
		} else if !detached {
			break
		}
	}
	top, err := open.At(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	if err := ownMount(dir, top); err != nil {
		return err
	}
	return empty(top, time.Now().Add(purgeTimeout))
}

// empty removes what is in dir, some names at a time: there may be millions. It
// ends when it can remove nothing more.
func empty(dir *os.File, until time.Time) error {
	for {
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var errs []error
		for _, name := range names {
			if time.Now().After(until) {
				return errors.Join(append(errs, &os.PathError{Op: "empty", Path: dir.Name(), Err: errLate})...)
			}
			err := remove(dir, name)
			if errors.Is(err, unix.ENOTEMPTY) {
				err = flatten(dir, name, until)
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
		if err != nil || len(errs) == len(names) {
			return errors.Join(append(errs, err)...)
		}
	}
}

// flatten moves what cannot be removed in the directory dir/name up into dir, and
// removes that directory: whatever the depth, two descriptors do.
func flatten(dir *os.File, name string, until time.Time) error {
	sub, err := open.At(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := ownMount(dir, sub); err != nil {
		return err
	}
	for {
		if _, err := sub.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := sub.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return remove(dir, name)
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			err := remove(sub, name)
			if errors.Is(err, unix.ENOTEMPTY) {
				err = moveUp(sub, name, dir, until)
			}
			if err != nil {
				return err
			}
			if time.Now().After(until) {
				return &os.PathError{Op: "empty", Path: sub.Name(), Err: errLate}
			}
		}
	}
}

// moveUp moves the directory sub/name to a name of its own in dir. An overlay does
// not move one that is of a lower layer: that is emptied where it is.
func moveUp(sub *os.File, name string, dir *os.File, until time.Time) error {
	up := ".purge-" + strconv.FormatUint(rand.Uint64(), 36)
	err := open.Again(func() error { return unix.Renameat(int(sub.Fd()), name, int(dir.Fd()), up) })
	if errors.Is(err, unix.EXDEV) {
		return flatten(sub, name, until)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: filepath.Join(sub.Name(), name), New: filepath.Join(dir.Name(), up), Err: err}
	}
	return nil
}

// remove removes dir/name, a file or an empty directory, and before that what is
// mounted on it. unix.ENOTEMPTY: it is a directory with something in it.
func remove(dir *os.File, name string) error {
	for range 1024 {
		err := unix.Unlinkat(int(dir.Fd()), name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
		}
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EBUSY):
			if detached, e := detachAt(dir, name); e != nil || !detached {
				return errors.Join(e, &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err})
			}
		default:
			return &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
		}
	}
	return &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: unix.EBUSY}
}

// detachAt takes off the topmost mount on dir/name, if there is one. It is cut off
// from its peers first, as in Detach.
func detachAt(dir *os.File, name string) (detached bool, err error) {
	on, err := open.At(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer on.Close()
	self := "/proc/self/fd/" + strconv.Itoa(int(on.Fd()))
	switch err := unix.Mount("", self, "", unix.MS_PRIVATE|unix.MS_REC, ""); {
	case errors.Is(err, unix.EINVAL): // no mount point
		return false, nil
	case err != nil:
		return false, &os.PathError{Op: "make private", Path: on.Name(), Err: err}
	}
	if err := unix.Unmount(self, unix.MNT_DETACH); err != nil {
		return false, &os.PathError{Op: "unmount", Path: on.Name(), Err: err}
	}
	return true, nil
}

// ownMount refuses what is on another mount than its directory: somebody has just
// mounted it.
func ownMount(dir, f *os.File) error {
	around, err := ID(dir)
	if err != nil {
		return err
	}
	on, err := ID(f)
	if err == nil && on != around {
		err = &os.PathError{Op: "remove", Path: f.Name(), Err: unix.EBUSY}
	}
	return err
}
