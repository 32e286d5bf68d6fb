// Package atomicfile replaces a file as a whole: a reader, a full disk and a
// kill between any two lines see the old content or the new one.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// Write replaces dir/name by data with permissions perm (umask has no say).
// The caller holds whatever lock guards the file: the temporary file has a
// fixed name, so that what a kill left is overwritten, not collected.
func Write(dir, name string, data []byte, perm os.FileMode) (err error) {
	return WriteIf(dir, name, data, perm, func() error { return nil })
}

// WriteIf is Write as long as the directory is to be changed: may says so by nil, before
// a file is made in it and before that gets its name.
func WriteIf(dir, name string, data []byte, perm os.FileMode, may func() error) (err error) {
	d, err := open.File(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()

	if err := may(); err != nil {
		return err
	}
	tmp := temporary(name)
	f, err := create(d, tmp, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = unlink(d, tmp)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = may()
	}
	if err != nil {
		return err
	}
	path := dir + "/" + name
	if err := open.Again(func() error { return unix.Renameat(int(d.Fd()), tmp, int(d.Fd()), name) }); err != nil {
		return &os.LinkError{Op: "rename", Old: dir + "/" + tmp, New: path, Err: err}
	}
	return d.Sync()
}

const before, after = ".", ".new"

func temporary(name string) string { return before + name + after }

// IsTemporary tells whether Write may have left a file of this name behind.
func IsTemporary(name string) bool {
	return strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// Sweep removes what a killed Write of dir/name left behind.
func Sweep(dir, name string) error {
	err := os.Remove(dir + "/" + temporary(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func unlink(d *os.File, name string) error {
	return open.Again(func() error { return unix.Unlinkat(int(d.Fd()), name, 0) })
}

// create opens a new file below d, in place of whatever has its name.
func create(d *os.File, name string, perm os.FileMode) (*os.File, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW
	for {
		f, err := open.At(d, name, flags, uint32(perm))
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		if err := unlink(d, name); err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, &os.PathError{Op: "remove", Path: d.Name() + "/" + name, Err: err}
		}
	}
}
