// Package open opens, reads and writes files as the kernel does, without the Go
// runtime's poller, which costs five system calls more for each file and serves
// only what can be waited for. It is also the one place where interrupted calls
// are made again: the runtime interrupts its own threads (SIGURG), and a file
// system in user space hands that on as EINTR, whatever the call.
package open

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Retry calls f until it is not interrupted.
func Retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// Again is Retry for a call that returns nothing else.
func Again(f func() error) error {
	_, err := Retry(func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// File opens a path. O_CLOEXEC is always set; mode counts with O_CREAT.
func File(path string, flags int, mode uint32) (*os.File, error) {
	fd, err := openat(unix.AT_FDCWD, path, flags, mode)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// At opens name in dir.
func At(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	fd, err := openat(int(dir.Fd()), name, flags, mode)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openat(dir int, path string, flags int, mode uint32) (int, error) {
	return Retry(func() (int, error) { return unix.Openat(dir, path, flags|unix.O_CLOEXEC, mode) })
}

// Read returns the content of a file. One of more than limit bytes is an error.
func Read(path string, limit int) ([]byte, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	data := make([]byte, 0, min(limit+1, 8<<10))
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := Retry(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		data = data[:len(data)+n]
		switch {
		case len(data) > limit:
			return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
		case n == 0:
			return data, nil
		}
	}
}

// WriteTo writes value to an open control file, in one call as those want it.
func WriteTo(f *os.File, value string) error {
	if _, err := Retry(func() (int, error) { return unix.Write(int(f.Fd()), []byte(value)) }); err != nil {
		return fmt.Errorf("write %q: %w", value, &os.PathError{Op: "write", Path: f.Name(), Err: err})
	}
	return nil
}
