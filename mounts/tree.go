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

// mountSource is what a mount shows: a directory or file of a file system, as
// mountinfo names both. It stays the same where the tree is bound, whatever
// becomes of its path, and can be told of mounts that are mounted over.
type mountSource struct {
	Major, Minor int
	Root         string
}

func (t mountSource) sameDevice(o mountSource) bool { return t.Major == o.Major && t.Minor == o.Minor }

// isOf tells whether the mount shows the tree.
func (t mountSource) isOf(m *mountpoint.Mount) bool {
	return t.Major == m.Major && t.Minor == m.Minor && m.Root.Is(t.Root)
}

// has tells whether the mount shows the tree or what is below it.
func (t mountSource) has(m *mountpoint.Mount) bool {
	return t.Major == m.Major && t.Minor == m.Minor && m.Root.Within(t.Root)
}

// covers tells whether o is the tree or below it.
func (t mountSource) covers(o mountSource) bool {
	return t.sameDevice(o) && place.Within(o.Root, t.Root)
}

// deleted is what the kernel appends to a root that is gone.
const deleted = "//deleted"

func sourceAt(m *mountpoint.Mount) mountSource { return mountSource{m.Major, m.Minor, m.Root.String()} }

func anyIsOf(trees []mountSource, m *mountpoint.Mount) bool {
	return slices.ContainsFunc(trees, func(t mountSource) bool { return t.isOf(m) })
}

// given is a tree that a grant or the specification gives the container.
type given struct {
	mountSource
	ReadOnly bool `json:",omitempty"`
}

func heldBy(m *mountpoint.Mount) given { return given{sourceAt(m), m.ReadOnly()} }

// gives tells whether h gives the container what the mount shows: a writable mount is no
// copy of a read-only one.
func (h given) gives(m *mountpoint.Mount) bool { return h.has(m) && (!h.ReadOnly || m.ReadOnly()) }

func anyGives(all []given, o given) bool {
	return slices.ContainsFunc(all, func(h given) bool { return h.covers(o.mountSource) && (!h.ReadOnly || o.ReadOnly) })
}

func anyCovers(trees []mountSource, o mountSource) bool {
	return slices.ContainsFunc(trees, func(t mountSource) bool { return t.covers(o) })
}

// sourceOf returns the tree at a path of the host. For a path that does not exist it is
// the tree that the path had.
func sourceOf(w *deadline.Waiter, path string) (mountSource, error) {
	f, err := lookUp(w, path)
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) && path != "/" {
		t, err := sourceOf(w, filepath.Dir(path))
		t.Root = strings.TrimSuffix(t.Root, deleted)
		t.Root = filepath.Join(t.Root, filepath.Base(path)) + deleted
		return t, err
	}
	if err != nil {
		return mountSource{}, err
	}
	defer f.Close()
	on, at, err := mountOf(f.File, 0)
	if on == nil || err != nil {
		return mountSource{}, errors.Join(err, &os.PathError{Op: "find the mount of", Path: path, Err: unix.ENOENT})
	}
	return on.at(at), nil
}

// mount is a mount that a file is on.
type mount struct {
	given
	point string
}

// at is the tree at a path that is on the mount.
func (m *mount) at(path string) mountSource {
	t := m.mountSource
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

// peerGroups are the peer groups that a mount belongs to and sends to ("shared:") or
// receives from ("master:"), as mountinfo's optional fields name them.
func peerGroups(m *mountpoint.Mount, kind string) (list []string) {
	for field := range bytes.FieldsSeq(m.Optional) {
		if id, ok := bytes.CutPrefix(field, []byte(kind)); ok {
			list = append(list, string(id))
		}
	}
	return list
}
