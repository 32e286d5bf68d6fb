package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
)

// CheckHost tells whether the host path of a record is there, or can be made. It
// touches nothing.
func CheckHost(p string) error {
	_, err := os.Stat(p)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := dangling(p); err != nil {
		return err
	}
	return CheckHost(filepath.Dir(p))
}

// dangling is the error for a link that leads nowhere; nil for what is none.
func dangling(p string) error {
	if target, err := os.Readlink(p); err == nil {
		return fmt.Errorf("%s is a link to %s, which does not exist", p, command.Printable(target))
	}
	return nil
}

// MakeHost makes the host path of a record when it is missing, a directory
// with its parents, for the container's root.
func MakeHost(p string, own rootfs.Owner) (err error) {
	var u undo.Stack
	defer u.OnError(&err)
	f, _, err := openHost(p, own, &u)
	if err == nil {
		f.Close()
	}
	return err
}

// openHost opens the host path of a bind and tells whether it is a directory.
// A missing one is made, 0755, for the container's root.
func openHost(p string, own rootfs.Owner, u *undo.Stack) (f *os.File, dir bool, err error) {
	p = filepath.Clean(p)
	f, err = open.File(p, unix.O_PATH, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err = mkdirHost(p, own, u); err == nil {
			f, err = open.File(p, unix.O_PATH, 0)
		}
	}
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, info.IsDir(), nil
}

func mkdirHost(p string, own rootfs.Owner, u *undo.Stack) error {
	if _, err := os.Stat(filepath.Dir(p)); errors.Is(err, os.ErrNotExist) {
		if err := mkdirHost(filepath.Dir(p), own, u); err != nil {
			return err
		}
	}
	if err := os.Mkdir(p, 0o755); err != nil {
		if e := dangling(p); e != nil {
			return e
		}
		return err
	}
	u.Push("remove directory "+p, func() error { return os.Remove(p) })
	if err := os.Chmod(p, 0o755); err != nil {
		return err
	}
	return os.Lchown(p, own.UID, own.GID)
}
