package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mounts is the mount table that the process sees; pid 0 is this process.
func Mounts(pid int) ([]*mountinfo.Info, error) {
	name := "/proc/thread-self/mountinfo"
	if pid != 0 {
		name = fmt.Sprintf("/proc/%d/mountinfo", pid)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// MountsBelow keeps the mounts at and below dir and cuts dir off their
// mount points, so that they read as after pivot_root.
func MountsBelow(list []*mountinfo.Info, dir string) []*mountinfo.Info {
	var below []*mountinfo.Info
	for _, m := range list {
		if !within(m.Mountpoint, dir) {
			continue
		}
		c := *m
		c.Mountpoint = "/" + strings.TrimPrefix(strings.TrimPrefix(m.Mountpoint, strings.TrimSuffix(dir, "/")), "/")
		below = append(below, &c)
	}
	return below
}

// MountLine describes a mount without its ids, which differ from run to run.
func MountLine(m *mountinfo.Info) string {
	prop := "private"
	switch {
	case strings.Contains(m.Optional, "shared:") && strings.Contains(m.Optional, "master:"):
		prop = "shared,slave"
	case strings.Contains(m.Optional, "shared:"):
		prop = "shared"
	case strings.Contains(m.Optional, "master:"):
		prop = "slave"
	}
	return fmt.Sprintf("%s root=%s opts=%s prop=%s fs=%s", m.Mountpoint, m.Root, m.Options, prop, m.FSType)
}

// Node is one entry of a directory tree.
type Node struct {
	Type   string // f d l c b p s
	Mode   uint32 // permission bits with set-id and sticky
	UID    int
	GID    int
	Rdev   string // "major:minor" of c and b
	Target string // of l
	Size   int64  // of f
}

// String is one line like `c 0640 1000:1001 10:229`.
func (n Node) String() string {
	s := fmt.Sprintf("%s %04o %d:%d", n.Type, n.Mode, n.UID, n.GID)
	switch n.Type {
	case "c", "b":
		s += " " + n.Rdev
	case "l":
		s += " -> " + n.Target
	}
	return s
}

// Tree is every entry below dir, keyed by its path below dir ("/", "/etc", …).
// Symbolic links are not followed. Directories for which skip says yes are
// listed but not entered.
func Tree(dir string, skip func(path string) bool) (map[string]Node, error) {
	tree := map[string]Node{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone while walking
			}
			return err
		}
		rel := "/" + strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
		n, err := Lstat(p)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		tree[rel] = n
		if d.IsDir() && skip != nil && skip(rel) {
			return filepath.SkipDir
		}
		return nil
	})
	return tree, err
}

// ContainerTree is Tree of the container's root as its process sees it, with
// the mounts of its own namespace. root is "/" once the process has pivoted,
// the rootfs' path before that. /proc and /sys are not entered.
func ContainerTree(pid int, root string) (map[string]Node, error) {
	return Tree(filepath.Join(fmt.Sprintf("/proc/%d/root", pid), root)+"/", func(p string) bool {
		return slices.Contains([]string{"/proc", "/sys"}, p)
	})
}

// Lstat describes one file.
func Lstat(path string) (Node, error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return Node{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	n := Node{Mode: s.Mode & 0o7777, UID: int(s.Uid), GID: int(s.Gid), Type: nodeTypes[s.Mode&unix.S_IFMT]}
	switch n.Type {
	case "c", "b":
		n.Rdev = fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev))
	case "l":
		target, err := os.Readlink(path)
		if err != nil {
			return n, err
		}
		n.Target = target
	case "f":
		n.Size = s.Size
	}
	return n, nil
}

var nodeTypes = map[uint32]string{
	unix.S_IFREG: "f", unix.S_IFDIR: "d", unix.S_IFLNK: "l", unix.S_IFCHR: "c",
	unix.S_IFBLK: "b", unix.S_IFIFO: "p", unix.S_IFSOCK: "s",
}
