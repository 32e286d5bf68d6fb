package mounts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// made is, in the ledger, the mount that we made in the container for a path. It tells
// that from others.
type made struct {
	ID       int    // of the mount; another one gets it when that is gone
	Dev, Ino uint64 // of the directory or file that it shows
}

func madeOf(t *resource.Target, f *os.File) (made, error) {
	is, err := t.Root.Identify(f)
	if err != nil {
		return made{}, err
	}
	id, err := mountpoint.ID(f)
	return made{id, is.Dev, is.Ino}, err
}

// had is, in the ledger, what the container had before paths were granted: by its
// runtime, which mounts the kernel's file systems and binds nodes of the host, or by
// its own doing.
type had struct {
	Trees []given
	// Early says that its program did not run yet: its runtime may have mounted more
	// since.
	Early bool
}

// knows tells whether Trees is all that the container's own mounts show.
func (h *had) knows() bool { return h != nil && !h.Early }

// maxHad bounds the paths that are noted, in bytes: a container may have bound 100,000
// folders. A container with more mounts may lose the rest.
const maxHad = 64 << 10

// hadOf lists what the container has, and not by the paths that it was granted: its
// copies of those are not its own. It is looked at once in a start, and once more when
// the container's program runs: the mount table grows with each path. nil: it is known,
// or it cannot be found out, and paths are granted all the same.
func hadOf(t *resource.Target, last json.RawMessage) any {
	if t.Ledger == nil || last != nil && (!t.Pivoted || !isEarly(last)) {
		return nil
	}
	at, err := t.Root.At()
	if err != nil {
		return nil
	}
	g, err := grantedTo(t)
	if err != nil {
		return nil
	}
	list, size, arrive := []given{}, 0, filepath.Join(at, place.SharedPath)
	err = mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool {
		switch {
		case g.ids[m.ID]:
			g.trees = append(g.trees, sourceAt(m))
		case m.Point.Within(at) && !m.Point.Within(arrive) && !slices.Contains(list, heldBy(m)):
			list = append(list, heldBy(m))
			size += len(m.Root)
		}
		return size < maxHad
	})
	if err != nil {
		return nil
	}
	list = slices.DeleteFunc(list, func(h given) bool { return anyCovers(g.trees, h.mountSource) && !anyGives(g.had, h) })
	return &had{Trees: list, Early: !t.Pivoted}
}

func isEarly(noted json.RawMessage) bool {
	var h had
	return json.Unmarshal(noted, &h) == nil && h.Early
}

// granted is what the container has by the paths that it was granted already.
type granted struct {
	trees []mountSource
	ids   map[int]bool // the mounts that were made for them in the container
	had   []given      // what it had before
}

func grantedTo(t *resource.Target) (g granted, err error) {
	if err := t.FindSharedPath(); err != nil {
		return g, err
	}
	g.ids = map[int]bool{}
	for _, entry := range t.Ledger.Grants(kindName, false) {
		var b Bind
		var is made
		var before had
		if json.Unmarshal(entry.Made, &is) == nil {
			g.ids[is.ID] = true
		}
		if json.Unmarshal(entry.Had, &before) == nil {
			g.had = append(g.had, before.Trees...)
		}
		// There are no staging mounts then that say what it shows.
		if t.NoSharedPath != nil && json.Unmarshal(entry.Record, &b) == nil {
			if of, err := sourceOf(t.Wait, filepath.Clean(b.Host)); err == nil {
				g.trees = append(g.trees, of)
			}
		}
	}
	dirs := stagingPaths(t.ID)
	if !slices.ContainsFunc(dirs, hasTransfers) {
		return g, nil
	}
	return g, mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		if isStaged(dirs, m) {
			g.trees = append(g.trees, sourceAt(m))
		}
		return true
	})
}

// hasTransfers tells whether there may be staging mounts in a directory of the host.
func hasTransfers(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return isStagingName(e.Name()) })
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
