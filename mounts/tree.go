package mounts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// tree is what a mount shows: a directory or file of a file system, as
// mountinfo names both. It stays the same where the tree is bound, whatever
// becomes of its path, and can be told of mounts that are mounted over.
type tree struct {
	major, minor int
	root         string
}

func (t tree) sameDevice(o tree) bool { return t.major == o.major && t.minor == o.minor }

// isOf tells whether the mount shows the tree.
func (t tree) isOf(m *mountpoint.Mount) bool {
	return t.major == m.Major && t.minor == m.Minor && m.Root.Is(t.root)
}

// deleted is what the kernel appends to a root that is gone.
const deleted = "//deleted"

func treeAt(m *mountpoint.Mount) tree { return tree{m.Major, m.Minor, m.Root.String()} }

// treesOf returns what the record's mount in the container may show: what its
// transfer mounts do, which are of the same moment; without any, or where it may
// be attached directly, what the host path is now, which may be on a server that
// does not answer.
func treesOf(t *resource.Target, b Bind) ([]tree, error) {
	name := filepath.Join(t.ID, sha(b.Host))
	sides := [...]string{filepath.Join(place.Master, name), filepath.Join(place.Midpath, name)}
	var trees []tree
	err := mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		if (m.Point.Is(sides[0]) || m.Point.Is(sides[1])) && !anyIsOf(trees, m) {
			trees = append(trees, treeAt(m))
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if trees != nil && t.Direct == nil {
		return trees, nil
	}
	host, err := treeOf(t.Wait, filepath.Clean(b.Host))
	return append(trees, host), err
}

func anyIsOf(trees []tree, m *mountpoint.Mount) bool {
	return slices.ContainsFunc(trees, func(t tree) bool { return t.isOf(m) })
}

// treeOf returns the tree at a path of the host; for one that does not exist,
// what it was.
func treeOf(w *deadline.Waiter, path string) (tree, error) {
	f, err := lookUp(w, path)
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) && path != "/" {
		t, err := treeOf(w, filepath.Dir(path))
		t.root = strings.TrimSuffix(t.root, deleted)
		t.root = filepath.Join(t.root, filepath.Base(path)) + deleted
		return t, err
	}
	if err != nil {
		return tree{}, err
	}
	defer f.Close()
	on, at, err := mountOf(f.File, 0, func(*mountpoint.Mount) {})
	if on == nil || err != nil {
		return tree{}, errors.Join(err, &os.PathError{Op: "find the mount of", Path: path, Err: unix.ENOENT})
	}
	t := on.tree
	if at != on.point {
		t.root = filepath.Join(t.root, strings.TrimPrefix(at, on.point))
	}
	return t, nil
}

// mount is a mount that a file is on.
type mount struct {
	tree
	point string
}

// mountOf returns the mount that f is on, nil when it is not in the table of
// process pid, and the path of f in its mount namespace. Every other mount is given
// to visit.
func mountOf(f *os.File, pid int, visit func(*mountpoint.Mount)) (on *mount, path string, err error) {
	text, err := mountpoint.ID(f)
	if err != nil {
		return nil, "", err
	}
	id, err := strconv.Atoi(text)
	if err != nil {
		return nil, "", err
	}
	if path, err = pathOf(f); err != nil {
		return nil, "", err
	}
	err = mountpoint.Each(pid, func(m *mountpoint.Mount) bool {
		if m.ID == id {
			on = &mount{treeAt(m), m.Point.String()}
		}
		visit(m)
		return true
	})
	return on, path, err
}

// pathOf is the path of f in its mount namespace.
func pathOf(f *os.File) (string, error) {
	path, err := os.Readlink(procFD(f))
	return strings.TrimSuffix(path, " (deleted)"), err
}
