package rootfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// Read returns the content of the file p, and its mode. What is no regular file
// is not opened: to a device or a pipe that alone may mean something. A file of
// more than limit bytes is an error.
func (r *Root) Read(p string, limit int) (data []byte, perm os.FileMode, err error) {
	f, err := r.Open(p, unix.O_PATH)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	type file struct {
		data []byte
		perm os.FileMode
	}
	got, err := Get(r, p, func() (file, error) {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return file{}, os.NewSyscallError("fstat", err)
		}
		switch {
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			return file{}, &os.PathError{Op: "read in container", Path: p, Err: errors.New("not a regular file")}
		case st.Size > int64(limit):
			return file{}, &os.PathError{Op: "read in container", Path: p, Err: fmt.Errorf("larger than %d bytes", limit)}
		}
		// An O_PATH descriptor is read through a new one.
		data, err := open.Read(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), limit)
		if err != nil {
			return file{}, fmt.Errorf("read in container %s: %w", p, err)
		}
		return file{data, os.FileMode(st.Mode & 0o777)}, nil
	}, f)
	return got.data, got.perm, err
}
