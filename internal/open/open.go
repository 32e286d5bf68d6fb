// Package open opens, reads and writes files as the kernel does, without the Go
// runtime's poller, which costs five system calls more for each file and serves
// only what can be waited for. It is also the one place where interrupted calls
// are made again: the runtime interrupts its own threads (SIGURG), and a file
// system in user space hands that on as EINTR, whatever the call.
//
// Every file that is read is read here, and a file that is locked or appended to is
// opened here: whoever may write a folder may have put a FIFO in a file's place.
package open

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

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

// ErrNotRegular says that something else stands where a file should.
var ErrNotRegular = errors.New("not a regular file")

// Read returns the content of a regular file. One of more than limit bytes is an
// error, and so is anything else in its place, at once: it is not waited for who
// opens a FIFO at its other end.
func Read(path string, limit int) ([]byte, error) {
	fd, size, err := regular(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return content(make([]byte, 0, bufferSize(size, limit)), fd, path, limit)
}

// Into is Read for whoever reads many files: into buffer, when there is room in it.
func Into(buffer []byte, path string, limit int) ([]byte, error) {
	fd, size, err := regular(path, unix.O_RDONLY, 0)
	if err != nil {
		return buffer, err
	}
	defer unix.Close(fd)
	return content(slices.Grow(buffer[:0], bufferSize(size, limit)), fd, path, limit)
}

// Beginning returns what a regular file begins with, as much as buffer has room for; see
// Read.
func Beginning(path string, buffer []byte) ([]byte, error) {
	fd, _, err := regular(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n, err := Retry(func() (int, error) { return unix.Read(fd, buffer) })
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return buffer[:n], nil
}

// Regular opens a regular file; see Read.
func Regular(path string, flags int, mode uint32) (*os.File, error) {
	fd, _, err := regular(path, flags, mode)
	if err != nil {
		return nil, err
	}
	// Or os.NewFile asks the poller.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&unix.O_APPEND); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "fcntl", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Content returns what an open file has; see Read.
func Content(f *os.File, limit int) ([]byte, error) {
	fd := int(f.Fd())
	size, err := check(fd, f.Name())
	if err != nil {
		return nil, err
	}
	return content(make([]byte, 0, bufferSize(size, limit)), fd, f.Name(), limit)
}

// regular opens a regular file and returns its size.
func regular(path string, flags int, mode uint32) (fd int, size int64, err error) {
	fd, err = openat(unix.AT_FDCWD, path, flags|unix.O_NONBLOCK, mode)
	if errors.Is(err, unix.ENXIO) { // a socket, or a FIFO that nobody reads
		err = ErrNotRegular
	}
	if err != nil {
		return -1, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if size, err = check(fd, path); err != nil {
		unix.Close(fd)
	}
	return fd, size, err
}

// kinds are what may stand in a file's place.
var kinds = map[uint32]string{
	unix.S_IFIFO: "FIFO", unix.S_IFDIR: "directory", unix.S_IFCHR: "device", unix.S_IFBLK: "device", unix.S_IFSOCK: "socket",
}

// check returns the size of an open regular file.
func check(fd int, path string) (size int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG {
		return 0, &os.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: a %s is there", ErrNotRegular, kinds[kind])}
	}
	return st.Size, nil
}

// bufferSize is a buffer's for a file of this size, and some more: whoever reads a file that
// grows line by line appends one. Files of /proc have no size, and all of /sys a page's.
func bufferSize(size int64, limit int) int { return int(min(size, int64(limit))) + 4<<10 }

func content(data []byte, fd int, path string, limit int) ([]byte, error) {
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

// Hold runs f, for which files stay open although somebody closes them meanwhile: f
// may be a system call that its caller has given up.
func Hold(f func() error, files ...*os.File) error {
	if len(files) == 0 {
		return f()
	}
	conn, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	held := conn.Control(func(uintptr) { err = Hold(f, files[1:]...) })
	return errors.Join(held, err)
}

// WriteTo writes value to an open control file, in one call as those want it.
func WriteTo(f *os.File, value string) error {
	if _, err := Retry(func() (int, error) { return unix.Write(int(f.Fd()), []byte(value)) }); err != nil {
		return fmt.Errorf("write %q: %w", value, &os.PathError{Op: "write", Path: f.Name(), Err: err})
	}
	return nil
}
