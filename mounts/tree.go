package mounts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
)

// tree is what a mount shows: a directory or file of a file system, as
// mountinfo names both. It stays the same where the tree is bound, whatever
// becomes of its path, and can be told of mounts that are mounted over.
type tree struct {
	major, minor int
	root         string
}

// deleted is what the kernel appends to a root that is gone.
const deleted = "//deleted"

func treeAt(m *mountinfo.Info) tree { return tree{m.Major, m.Minor, m.Root} }

func (t tree) sameDevice(o tree) bool { return t.major == o.major && t.minor == o.minor }

// has tells whether o is t or below it.
func (t tree) has(o tree) bool {
	return t.sameDevice(o) && within(o.root, t.root)
}

// treeOf returns the tree at a path of the host; for one that does not exist,
// what it was.
func treeOf(path string, table []*mountinfo.Info) (tree, error) {
	f, err := open.File(path, unix.O_PATH, 0)
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) && path != "/" {
		t, err := treeOf(filepath.Dir(path), table)
		t.root = strings.TrimSuffix(t.root, deleted)
		t.root = filepath.Join(t.root, filepath.Base(path)) + deleted
		return t, err
	}
	if err != nil {
		return tree{}, err
	}
	defer f.Close()
	on, at, err := mountOf(f, table)
	if on == nil || err != nil {
		return tree{}, errors.Join(err, &os.PathError{Op: "find the mount of", Path: path, Err: unix.ENOENT})
	}
	t := treeAt(on)
	if at != on.Mountpoint {
		t.root = filepath.Join(t.root, strings.TrimPrefix(at, on.Mountpoint))
	}
	return t, nil
}

// mountOf returns the mount that f is on, nil when it is not in the table, and
// the path of f in its mount namespace.
func mountOf(f *os.File, table []*mountinfo.Info) (on *mountinfo.Info, path string, err error) {
	id, err := mountpoint.ID(f)
	if err != nil {
		return nil, "", err
	}
	if path, err = os.Readlink(procFD(f)); err != nil {
		return nil, "", err
	}
	for _, m := range table {
		if strconv.Itoa(m.ID) == id {
			on = m
		}
	}
	return on, strings.TrimSuffix(path, " (deleted)"), nil
}

// groups are the peer groups that mounts belong to and send to (shared) or
// receive from (master), as mountinfo's optional fields name them.
func groups(m *mountinfo.Info, kind string) (list []string) {
	for field := range strings.FieldsSeq(m.Optional) {
		if id, ok := strings.CutPrefix(field, kind+":"); ok {
			list = append(list, id)
		}
	}
	return list
}
