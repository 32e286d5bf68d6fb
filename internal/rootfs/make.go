package rootfs

import (
	"errors"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/credentials"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/undo"
)

// Owner is the user and group, in host ids, that own what is created for a
// container.
type Owner = credentials.Owner

// Dir opens the directory that holds p, making it and its parents when
// missing, and returns it with p's last element.
func (r *Root) Dir(p string, own Owner, u *undo.Stack) (dir *os.File, base string, err error) {
	p = path.Clean("/" + p)
	if p == "/" {
		return nil, "", &os.PathError{Op: "create in container", Path: p, Err: unix.EEXIST}
	}
	dir, err = r.MkdirAll(path.Dir(p), own, u)
	return dir, path.Base(p), err
}

// MkdirAll opens directory p, making it and its parents, 0755, when missing.
// What it makes is pushed on u.
func (r *Root) MkdirAll(p string, own Owner, u *undo.Stack) (*os.File, error) {
	p = path.Clean("/" + p)
	d, err := r.Open(p, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOTDIR) {
		// Compat: add-path-dir-onto-file.
		return nil, &os.PathError{Op: "mkdir", Path: p, Err: unix.ENOTDIR}
	}
	if err == nil || !errors.Is(err, unix.ENOENT) || p == "/" {
		return d, err
	}
	parent, base, err := r.Dir(p, own, u)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	err = r.Make(parent, own, func() error { return unix.Mkdirat(int(parent.Fd()), base, 0o755) })
	if leads, ok := r.linkTarget(p, err); ok {
		return r.MkdirAll(leads, own, u)
	}
	if err != nil {
		return nil, &os.PathError{Op: "mkdir in container", Path: p, Err: err}
	}
	u.Push("remove directory "+p, func() error { return r.remove(p, own, unix.AT_REMOVEDIR) })
	// Only a directory is opened: the container may have put something else there.
	return Get(r, p, func() (*os.File, error) {
		d, err := open.At(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, err
		}
		if err := r.fixGroup(parent, d, own); err != nil {
			d.Close()
			return nil, err
		}
		return d, nil
	}, parent)
}

// Create opens, as a bare descriptor (O_PATH), the file p, and makes an empty
// one, 0644, and its parent directories, when there is none.
func (r *Root) Create(p string, own Owner, u *undo.Stack) (*os.File, error) {
	f, err := r.Open(p, unix.O_PATH)
	if err == nil || !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	dir, base, err := r.Dir(p, own, u)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	made := make(chan *os.File, 1)
	err = r.Make(dir, own, func() error {
		// O_EXCL: a dangling link is not followed to wherever it wants a file.
		fd, err := unix.Openat(int(dir.Fd()), base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
		if err == nil {
			made <- os.NewFile(uintptr(fd), p)
		}
		return err
	})
	if leads, ok := r.linkTarget(p, err); ok {
		return r.Create(leads, own, u)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(dir.Name(), base), Err: err}
	}
	u.Push("remove file "+p, func() error { return r.remove(p, own, 0) })
	return Get(r, p, func() (*os.File, error) {
		f := <-made
		defer f.Close() // a file system is asked for that, too
		if err := r.fixGroup(dir, f, own); err != nil {
			return nil, err
		}
		// Never by its name again: the container may have put something else there.
		fd, err := open.File("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.O_PATH, 0)
		if err != nil {
			return nil, err
		}
		return fd, nil
	}, dir)
}

// Maker makes files for own, with the container's label.
func (r *Root) Maker(own Owner) credentials.Maker {
	return credentials.Maker{Owner: own, Label: r.rights.Label}
}

// Make runs create, a system call that makes a file in the open directory dir. The file
// belongs to own, and has the container's label.
func (r *Root) Make(dir *os.File, own Owner, create func() error) error {
	return r.withFileRights(dir, r.Maker(own), create)
}

// withFileRights runs f, a system call that makes or removes a file in the open directory dir:
// on a file system of the container's own with root's rights, in a tree of the host with
// those of the container's root user.
func (r *Root) withFileRights(dir *os.File, by credentials.Maker, f func() error) error {
	on, err := r.Where(dir)
	if err != nil {
		return err
	}
	err = r.Do(dir.Name(), func() error {
		if !on.OfHost {
			return by.Root(func() error { return open.Again(f) })
		}
		return r.rights.Run(by, dir, func() error { return open.Again(f) })
	}, dir)
	if on.OfHost && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)) {
		return explainForeign(on, dir, err)
	}
	return err
}

// fixGroup corrects what a set-group-ID directory, or one with a default ACL, has given
// a new file. What has another owner, or is in a tree of the host, is not what was made.
func (r *Root) fixGroup(dir, f *os.File, own Owner) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	mode := uint32(0o644)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		mode = 0o755
	}
	if int(st.Gid) == own.GID && st.Mode&0o7777 == mode || int(st.Uid) != own.UID {
		return nil
	}
	for _, f := range []*os.File{dir, f} {
		if on, err := r.Where(f); err != nil || on.OfHost {
			return err
		}
	}
	if err := f.Chown(-1, own.GID); err != nil {
		return err
	}
	return f.Chmod(os.FileMode(mode))
}

// remove unlinks p, or removes the empty directory p (AT_REMOVEDIR), that was made for
// own.
func (r *Root) remove(p string, own Owner, flags int) error {
	dir, err := r.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	// Without the label, which the host may know no more.
	err = r.withFileRights(dir, credentials.Maker{Owner: own}, func() error { return unix.Unlinkat(int(dir.Fd()), path.Base(p), flags) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "remove in container", Path: p, Err: err}
	}
	return nil
}
