package rootfs

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// maxLinks is how many links of a path the kernel follows.
const maxLinks = 40

// Follow returns where p leads: p itself or, when that is a symbolic link, what it
// names, below the root; it need not exist. Directories above p that do not exist are as
// they are named.
func (r *Root) Follow(p string) (string, error) {
	p = path.Clean("/" + p)
	for range maxLinks + 1 {
		at, target, err := r.readLink(p)
		if err != nil || target == "" {
			return p, err
		}
		if !path.IsAbs(target) {
			target = path.Join(at, target)
		}
		p = path.Clean("/" + target)
	}
	return "", &os.PathError{Op: "follow in container", Path: p, Err: unix.ELOOP}
}

// named returns what a link p names, when nothing could be made there because of that
// link.
func (r *Root) named(p string, err error) (leads string, ok bool) {
	if !errors.Is(err, unix.EEXIST) {
		return "", false
	}
	leads, err = r.Follow(p)
	return leads, err == nil && leads != path.Clean("/"+p)
}

// readLink returns what the link p says, and the path below the root of the directory
// that it is in; "" when p is no link.
func (r *Root) readLink(p string) (at, target string, err error) {
	dir, err := r.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	defer dir.Close()
	if at, err = r.Path(dir); err != nil {
		return "", "", err
	}
	target, err = Get(r, p, func() (string, error) {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
			return "", os.NewSyscallError("fstatfs", err)
		}
		text := make([]byte, unix.PathMax)
		n, err := open.Retry(func() (int, error) { return unix.Readlinkat(int(dir.Fd()), path.Base(p), text) })
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return "", nil
		}
		if fs.Type == unix.PROC_SUPER_MAGIC { // what it says is not where it leads
			return "", &os.PathError{Op: "follow in container", Path: p, Err: unix.ELOOP}
		}
		return string(text[:max(n, 0)]), os.NewSyscallError("readlinkat", err)
	}, dir)
	return at, target, err
}

// Path returns the path below the root of an open file.
func (r *Root) Path(f *os.File) (string, error) {
	root, err := r.At()
	if err != nil {
		return "", err
	}
	at, err := (&Root{dir: f}).At()
	if err != nil {
		return "", err
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(at, root), "/"), nil
}
