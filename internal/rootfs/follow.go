package rootfs

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// maxLinks is how many links of a path the kernel follows.
const maxLinks = 40

// Follow returns p or, if p is a symbolic link, the link's target below the root, which
// need not exist. The kernel resolves the directory. In a directory that does not exist
// ".." is refused.
func (r *Root) Follow(p string) (string, error) {
	for range maxLinks + 1 {
		name := strings.TrimRight(p, "/")
		cut := strings.LastIndexByte(name, '/') + 1
		at, target, err := r.readLink("/"+name[:cut], name[cut:])
		switch {
		case errors.Is(err, unix.ENOENT) && !slices.Contains(strings.Split(p, "/"), ".."):
			return path.Clean("/" + p), nil
		case errors.Is(err, unix.ENOENT):
			return "", &os.PathError{Op: "follow in container", Path: p, Err: unix.ELOOP}
		case err != nil:
			return "", err
		case target == "":
			return path.Join(at, name[cut:]), nil
		case path.IsAbs(target):
			p = target
		default:
			p = join(at, target)
		}
	}
	return "", &os.PathError{Op: "follow in container", Path: p, Err: unix.ELOOP}
}

// join is what a link in the directory at, whose path has no links, says. Only the
// beginning is cleaned: further on a name may be a link.
func join(at, target string) string {
	for {
		first, rest, more := strings.Cut(target, "/")
		switch first {
		case "..":
			at = path.Dir(at)
		case ".", "":
		default:
			return at + "/" + target
		}
		if target = rest; !more {
			return at
		}
	}
}

// linkTarget returns what a link p names, when nothing could be made there because of that
// link.
func (r *Root) linkTarget(p string, err error) (leads string, ok bool) {
	if !errors.Is(err, unix.EEXIST) {
		return "", false
	}
	leads, err = r.Follow(p)
	return leads, err == nil && leads != path.Clean("/"+p)
}

// readLink returns what the link name in a directory says, and the path below the root of
// that directory; "" when it is no link. ENOENT: there is no such directory.
func (r *Root) readLink(in, name string) (at, target string, err error) {
	dir, err := r.Open(in, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", "", err
	}
	defer dir.Close()
	if at, err = r.Path(dir); err != nil {
		return "", "", err
	}
	target, err = Get(r, in, func() (string, error) {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
			return "", os.NewSyscallError("fstatfs", err)
		}
		text := make([]byte, unix.PathMax)
		n, err := open.Retry(func() (int, error) { return unix.Readlinkat(int(dir.Fd()), name, text) })
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return "", nil
		}
		if fs.Type == unix.PROC_SUPER_MAGIC { // what it says is not where it leads
			return "", &os.PathError{Op: "follow in container", Path: in + name, Err: unix.ELOOP}
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
