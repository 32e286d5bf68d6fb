// Package rootfs reaches what lies below a container's root. All of it is
// hostile input: the image, or the container's own processes at the same
// moment, choose the symbolic links. Paths are therefore resolved by the
// kernel inside the root only, and what is found is acted on by descriptor.
// No mount namespace is entered: the descriptor of the root carries it.
//
// A file system there may be one in user space (FUSE), whose server is the container's
// and may never answer. Whatever asks a file system is therefore done by Do, or by the
// methods here, which are.
package rootfs

import (
	"errors"
	"os"
	"path"
	"strconv"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// Root is a directory that confines every path given to its methods.
type Root struct {
	dir    *os.File
	pid    int // a process that has its mounts
	whose  string
	wait   *deadline.Waiter
	rights Rights
	is     Identity       // the root's; the zero value: not asked yet
	mounts map[int]*Mount // by their numbers, as far as they were asked for
	parent *Parent        // of the file that was made last
}

// OfProcess opens the root directory of process pid, in that process's mount
// namespace. What is below it is waited for by w, and is whose, in errors.
func OfProcess(pid int, whose string, w *deadline.Waiter) (*Root, error) {
	d, err := open.File(process.Path(pid, "root"), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Root{dir: d, pid: pid, whose: whose, wait: w}, nil
}

// Do runs f, which makes system calls on the file p, and no longer than somebody
// waits: f then still runs when Do has returned a *deadline.NoAnswer. The files that f
// uses stay open for it.
func (r *Root) Do(p string, f func() error, files ...*os.File) error {
	return r.wait.Do(r.whose, p, func() error { return open.Hold(f, files...) })
}

// Get is Do for what returns a value. f sets no other variable: it may be late.
func Get[T any](r *Root, p string, f func() (T, error), files ...*os.File) (T, error) {
	return deadline.Get(r.wait, r.whose, p, func() (v T, err error) {
		err = open.Hold(func() (err error) { v, err = f(); return err }, files...)
		return v, err
	})
}

// Close releases the root.
func (r *Root) Close() error {
	r.Leave()
	return r.dir.Close()
}

// Sub returns the directory p below r as a root of its own.
func (r *Root) Sub(p string) (*Root, error) {
	d, err := r.Open(p, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &Root{dir: d, pid: r.pid, whose: r.whose, wait: r.wait, rights: r.rights}, nil
}

// At returns the path of r in its mount namespace.
func (r *Root) At() (string, error) {
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(int(r.dir.Fd())))
}

// Identity is what a file is: on which file system, which inode, of which type and, a
// device, which one.
type Identity struct {
	Dev, Ino, Rdev uint64
	Type           uint32 // unix.S_IFMT
}

// Same tells whether r is the directory that p names on the host.
func (r *Root) Same(p string) (bool, error) {
	here, err := r.Identify(r.dir)
	if err != nil {
		return false, err
	}
	var there unix.Stat_t
	if err := unix.Stat(p, &there); err != nil {
		return false, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	return here.Dev == there.Dev && here.Ino == there.Ino, nil
}

// Identify returns what an open file is. A file system that does not answer is not
// asked, since Linux 4.20: what it is it cannot change.
func (r *Root) Identify(f *os.File) (Identity, error) {
	return Get(r, f.Name(), func() (Identity, error) { return identify(f) }, f)
}

func identify(f *os.File) (Identity, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st); err != nil {
		return Identity{}, &os.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	return Identity{
		Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino,
		Rdev: unix.Mkdev(st.Rdev_major, st.Rdev_minor), Type: uint32(st.Mode) & unix.S_IFMT,
	}, nil
}

// SameFile tells whether both are one inode.
func (r *Root) SameFile(a, b *os.File) (bool, error) {
	return Get(r, a.Name(), func() (bool, error) {
		x, errX := identify(a)
		y, errY := identify(b)
		err := errors.Join(errX, errY)
		return err == nil && x == y, err
	}, a, b)
}

// resolveCached is RESOLVE_CACHED of openat2(2).
const resolveCached = 0x20

// Open opens p, in which links may lead anywhere but out of the root.
// O_CREAT is not for here: see Create and MkdirAll.
func (r *Root) Open(p string, flags int) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_PATH != 0 {
		// What the kernel knows already it asks no file system for (Linux 5.12),
		// and opening it for nothing asks none either.
		known := how
		known.Resolve |= resolveCached
		if fd, err := unix.Openat2(int(r.dir.Fd()), p, &known); err == nil {
			return os.NewFile(uintptr(fd), p), nil
		}
	}
	return Get(r, p, func() (*os.File, error) { return r.open(p, flags, how) }, r.dir)
}

func (r *Root) open(p string, flags int, how unix.OpenHow) (*os.File, error) {
	for try := 0; ; try++ {
		fd, err := unix.Openat2(int(r.dir.Fd()), p, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), p), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN) && try < 128:
			// EAGAIN: the kernel saw a rename on the way (openat2(2)).
		case errors.Is(err, unix.ENOSYS): // before Linux 5.6
			return r.openFallback(p, flags)
		default:
			return nil, &os.PathError{Op: "open in container", Path: p, Err: err}
		}
	}
}

// openFallback opens p step by step. A link at its end is the library's to follow
// unless O_NOFOLLOW says otherwise.
func (r *Root) openFallback(p string, flags int) (*os.File, error) {
	p = path.Clean("/" + p)
	if flags&unix.O_NOFOLLOW != 0 && p != "/" { // the library follows all links
		dir, err := pathrs.OpenatInRoot(r.dir, path.Dir(p))
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		return open.At(dir, path.Base(p), flags, 0)
	}
	h, err := pathrs.OpenatInRoot(r.dir, p)
	if err != nil {
		return nil, err
	}
	if flags&unix.O_PATH != 0 && flags&unix.O_DIRECTORY == 0 {
		return h, nil
	}
	defer h.Close()
	return pathrs.Reopen(h, flags)
}
