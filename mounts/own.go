package mounts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/resource"
)

// made is, in the ledger, the mount that we made in the container for a path.
type made struct {
	number
	// Had is what the container had of the path's before: by its runtime, which mounts
	// the kernel's file systems and binds nodes of the host, or by its own doing. nil:
	// nobody knows.
	Had []tree
	// Early says that Had is from before the container's program ran: its runtime may
	// have mounted more since.
	Early bool
}

// knows tells whether Had is all that the container's own mounts show.
func (m made) knows() bool { return m.Had != nil && !m.Early }

// number tells the mount from others.
type number struct {
	ID       int    // of the mount; another one gets it when that is gone
	Dev, Ino uint64 // of the directory or file that it shows
}

func madeOf(t *resource.Target, f *os.File) (made, error) {
	is, err := t.Root.Identify(f)
	if err != nil {
		return made{}, err
	}
	id, err := mountpoint.ID(f)
	return made{number: number{id, is.Dev, is.Ino}}, err
}

// maxHad bounds the paths that are noted, in bytes: a container may have bound 100,000
// folders. One that has more may lose the rest.
const maxHad = 64 << 10

// had lists what the container has of what b will give it, and not by other paths: its
// copies of those are not its own. It is looked at before b is mounted. Where it cannot
// be found out, b is granted all the same.
func had(t *resource.Target, b Bind) []tree {
	if t.Ledger == nil {
		return nil
	}
	w, err := wanted(t, b)
	if err != nil {
		return nil
	}
	if t.Direct != nil { // there are no transfer mounts that say what the other paths show
		for _, g := range t.Ledger.Grants(kindName, false) {
			var o Bind
			if json.Unmarshal(g.Record, &o) == nil && o != b {
				if other, err := treeOf(t.Wait, filepath.Clean(o.Host)); err == nil {
					w.others = append(w.others, other)
				}
			}
		}
	}
	list, size := []tree{}, 0
	err = mountpoint.Each(t.Init.PID, func(m *mountpoint.Mount) bool {
		if m.Point.Within(w.at) && !m.Point.Within(w.shared) && w.shown(m) && !anyHas(list, m) &&
			(anyHas(w.allHad, m) || !w.only && !anyHas(w.others, m)) {
			list = append(list, treeAt(m))
			size += len(m.Root)
		}
		return size < maxHad
	})
	if err != nil {
		return nil
	}
	return list
}

// ofKernel tells whether a mount is of a file system that there is once, and that
// runtimes and containers mount by themselves. Then what it shows does not say that it
// is a copy of the host's.
func ofKernel(m *mountpoint.Mount) bool {
	return slices.ContainsFunc([]string{
		"bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devtmpfs", "efivarfs", "fusectl",
		"mqueue", "proc", "pstore", "securityfs", "selinuxfs", "sysfs", "tracefs",
	}, m.FSType.Is)
}
