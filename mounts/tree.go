package mounts

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
)

// tree is what a mount shows: a directory or file of a file system, as
// mountinfo names both. It stays the same where the tree is bound, whatever
// becomes of its path, and can be told of mounts that are mounted over.
type tree struct {
	Major, Minor int
	Root         string
}

func (t tree) sameDevice(o tree) bool { return t.Major == o.Major && t.Minor == o.Minor }

// isOf tells whether the mount shows the tree.
func (t tree) isOf(m *mountpoint.Mount) bool {
	return t.Major == m.Major && t.Minor == m.Minor && m.Root.Is(t.Root)
}

// has tells whether the mount shows the tree or what is below it.
func (t tree) has(m *mountpoint.Mount) bool {
	return t.Major == m.Major && t.Minor == m.Minor && m.Root.Within(t.Root)
}

// covers tells whether o is the tree or below it.
func (t tree) covers(o tree) bool { return t.sameDevice(o) && place.Within(o.Root, t.Root) }

// deleted is what the kernel appends to a root that is gone.
const deleted = "//deleted"

func treeAt(m *mountpoint.Mount) tree { return tree{m.Major, m.Minor, m.Root.String()} }

func anyIsOf(trees []tree, m *mountpoint.Mount) bool {
	return slices.ContainsFunc(trees, func(t tree) bool { return t.isOf(m) })
}

// held is a tree that a grant or the specification gives the container.
type held struct {
	tree
	ReadOnly bool `json:",omitempty"`
}

func heldBy(m *mountpoint.Mount) held { return held{treeAt(m), m.ReadOnly()} }

// gives tells whether h gives the container what the mount shows: a writable mount is no
// copy of a read-only one.
func (h held) gives(m *mountpoint.Mount) bool { return h.has(m) && (!h.ReadOnly || m.ReadOnly()) }

func anyGives(all []held, o held) bool {
	return slices.ContainsFunc(all, func(h held) bool { return h.covers(o.tree) && (!h.ReadOnly || o.ReadOnly) })
}

func anyCovers(trees []tree, o tree) bool {
	return slices.ContainsFunc(trees, func(t tree) bool { return t.covers(o) })
}

// treeOf returns the tree at a path of the host. For a path that does not exist it is
// the tree that the path had.
func treeOf(w *deadline.Waiter, path string) (tree, error) {
	f, err := lookUp(w, path)
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) && path != "/" {
		t, err := treeOf(w, filepath.Dir(path))
		t.Root = strings.TrimSuffix(t.Root, deleted)
		t.Root = filepath.Join(t.Root, filepath.Base(path)) + deleted
		return t, err
	}
	if err != nil {
		return tree{}, err
	}
	defer f.Close()
	on, at, err := mountOf(f.File, 0)
	if on == nil || err != nil {
		return tree{}, errors.Join(err, &os.PathError{Op: "find the mount of", Path: path, Err: unix.ENOENT})
	}
	return on.at(at), nil
}

// mount is a mount that a file is on.
type mount struct {
	held
	point string
}

// at is the tree at a path that is on the mount.
func (m *mount) at(path string) tree {
	t := m.tree
	if path != m.point {
		t.Root = filepath.Join(t.Root, strings.TrimPrefix(path, m.point))
	}
	return t
}

// mountOf returns the mount that f is on, nil when it is not in the table of
// process pid, and the path of f in its mount namespace.
func mountOf(f *os.File, pid int) (on *mount, path string, err error) {
	id, err := mountpoint.ID(f)
	if err != nil {
		return nil, "", err
	}
	if path, err = os.Readlink(procFD(f)); err != nil {
		return nil, "", err
	}
	err = mountpoint.Each(pid, func(m *mountpoint.Mount) bool {
		if m.ID == id {
			on = &mount{heldBy(m), m.Point.String()}
		}
		return on == nil
	})
	return on, strings.TrimSuffix(path, " (deleted)"), err
}

// groups are the peer groups that a mount belongs to and sends to ("shared:") or
// receives from ("master:"), as mountinfo's optional fields name them.
func groups(m *mountpoint.Mount, kind string) (list []string) {
	for field := range bytes.FieldsSeq(m.Optional) {
		if id, ok := bytes.CutPrefix(field, []byte(kind)); ok {
			list = append(list, string(id))
		}
	}
	return list
}
