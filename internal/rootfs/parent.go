package rootfs

import (
	"os"
	"path"

	"isula.org/isulad-tools/internal/undo"
)

// Parent is the directory in which files are made. It stays open for the next of them,
// until the parent of a file in another directory is asked for, or the root is closed.
type Parent struct {
	*os.File
	On   *Mount
	path string
}

// Parent is Dir for files that are mostly made in one directory, one after the other.
func (r *Root) Parent(p string, own Owner, u *undo.Stack) (*Parent, string, error) {
	p = path.Clean("/" + p)
	if r.parent != nil && r.parent.path == path.Dir(p) && p != "/" {
		return r.parent, path.Base(p), nil
	}
	r.Leave()
	dir, base, err := r.Dir(p, own, u)
	if err != nil {
		return nil, "", err
	}
	on, err := r.Where(dir)
	if err != nil {
		dir.Close()
		return nil, "", err
	}
	r.parent = &Parent{dir, on, path.Dir(p)}
	return r.parent, base, nil
}

// Leave closes the parent: it may have been made for a file that is not made after all.
func (r *Root) Leave() {
	if r.parent != nil {
		r.parent.Close()
		r.parent = nil
	}
}
