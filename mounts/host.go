package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/credentials"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/hostpath"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
)

// onHost is whose a path of the host is: it may be on a server that does not answer.
const onHost = "this host"

// CheckHost tells whether the host path of a record is there, or can be made. It
// touches nothing.
func CheckHost(w *deadline.Waiter, p string) error {
	return w.Do(onHost, p, func() error { return checkHost(p) })
}

// Missing tells whether the host has nothing at the host path of a record: an add-path
// makes a directory there.
func Missing(w *deadline.Waiter, p string) bool {
	return errors.Is(w.Do(onHost, p, func() error { _, err := os.Stat(p); return err }), fs.ErrNotExist)
}

func checkHost(p string) error {
	_, err := os.Stat(p)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := danglingLink(p); err != nil {
		return err
	}
	return checkHost(filepath.Dir(p))
}

// danglingLink is the error for a link that leads nowhere; nil for what is none.
func danglingLink(p string) error {
	if target, err := os.Readlink(p); err == nil {
		return fmt.Errorf("%s is a link to %s, which does not exist", p, command.Printable(target))
	}
	return nil
}

// MakeHost makes the host path of a record when it is missing, a directory
// with its parents, for the container's root.
func MakeHost(w *deadline.Waiter, c Container, p string, own rootfs.Owner) (err error) {
	var u undo.Stack
	defer u.OnError(&err)
	f, _, err := openHost(w, c, p, own, &u)
	if err == nil {
		f.Close()
	}
	return err
}

// openHost opens the host path of a bind and tells whether it is a directory.
// A missing one is made, 0755, for the container's root.
func openHost(w *deadline.Waiter, c Container, p string, own rootfs.Owner, u *undo.Stack) (host *os.File, dir bool, err error) {
	p = filepath.Clean(p)
	find := func() (lookedUp, error) { return describe(hostpath.Open(p, c.follow)) }
	f, err := deadline.Get(w, onHost, p, find)
	if errors.Is(err, os.ErrNotExist) {
		if err = mkdirHost(p, c, own, u); err == nil {
			f, err = deadline.Get(w, onHost, p, find)
		}
	}
	if err != nil {
		return nil, false, err
	}
	return f.File, f.isDir, nil
}

// lookedUp is a file that is open, but for nothing.
type lookedUp struct {
	*os.File
	isDir bool
}

// lookUp opens a path of the host by O_PATH: nothing is read, and no device is opened.
func lookUp(w *deadline.Waiter, p string) (lookedUp, error) {
	return deadline.Get(w, onHost, p, func() (lookedUp, error) { return describe(open.File(p, unix.O_PATH, 0)) })
}

func describe(f *os.File, err error) (lookedUp, error) {
	if err != nil {
		return lookedUp{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return lookedUp{}, err
	}
	return lookedUp{f, info.IsDir()}, nil
}

// mkdirHost makes a directory of the host, and its parents. It has its owner from the
// first moment on: who may write its parent may put something else in its place.
func mkdirHost(p string, c Container, own rootfs.Owner, u *undo.Stack) error {
	parent, err := hostpath.Open(filepath.Dir(p), c.follow)
	if errors.Is(err, os.ErrNotExist) {
		if err = mkdirHost(filepath.Dir(p), c, own, u); err == nil {
			parent, err = hostpath.Open(filepath.Dir(p), c.follow)
		}
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	err = credentials.Maker{Owner: own}.Root(func() error {
		return open.Again(func() error { return unix.Mkdirat(int(parent.Fd()), filepath.Base(p), 0o755) })
	})
	if err != nil {
		if e := danglingLink(p); e != nil {
			return e
		}
		return &os.PathError{Op: "mkdir", Path: p, Err: err}
	}
	u.Push("remove directory "+p, func() error { return rmdirHost(p, c) })
	return nil
}

func rmdirHost(p string, c Container) error {
	parent, err := hostpath.Open(filepath.Dir(p), c.follow)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := unix.Unlinkat(int(parent.Fd()), filepath.Base(p), unix.AT_REMOVEDIR); err != nil {
		return &os.PathError{Op: "rmdir", Path: p, Err: err}
	}
	return nil
}
