package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
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

func (t tree) sameDevice(m *mountinfo.Info) bool { return t.major == m.Major && t.minor == m.Minor }

// deleted is what the kernel appends to a root that is gone.
const deleted = "//deleted"

func treeAt(m *mountinfo.Info) tree { return tree{m.Major, m.Minor, m.Root} }

// treesOf returns what the record's mount in the container may show: what its
// transfer mounts do, which are of the same moment; without any, or where it may
// be attached directly, what the host path is now, which may be on a server that
// does not answer.
func treesOf(t *resource.Target, b Bind) ([]tree, error) {
	table, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, err
	}
	var trees []tree
	for _, side := range []string{place.Master, place.Midpath} {
		path := filepath.Join(side, t.ID, sha(b.Host))
		for _, m := range table {
			if m.Mountpoint == path {
				trees = append(trees, treeAt(m))
			}
		}
	}
	if trees != nil && t.Direct == nil {
		return trees, nil
	}
	host, err := treeOf(filepath.Clean(b.Host), table)
	return append(trees, host), err
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

// mountsOf lists the mounts that process pid sees.
func mountsOf(pid int) ([]*mountinfo.Info, error) {
	f, err := open.File(fmt.Sprintf("/proc/%d/mountinfo", pid), unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
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
