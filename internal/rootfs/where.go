package rootfs

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/credentials"
	"isula.org/isulad-tools/internal/mountpoint"
)

// Rights are those of the container's root user, and with which label of SELinux it
// makes files.
type Rights struct {
	credentials.Rights
	Label string
}

// Restrict says what rights count where the container has mounted something.
func (r *Root) Restrict(rights Rights) { r.rights = rights }

// Mount is a mount in the container.
type Mount struct {
	Root  bool   // the mount of its root, of which nothing below but NoDev is asked
	Point string // in its mount namespace
	// OfHost tells whether it may be a tree of the host: a part of a file system, or one
	// that the host has mounted, too. A file system of the container's own, as of its
	// /dev, is neither.
	OfHost bool
	// Shared tells whether what is mounted on it is mounted elsewhere at once.
	Shared bool
	NoDev  bool // no device node on it can be opened
}

// IsRoot tells whether f, on the mount that is the root, is the root directory.
func (r *Root) IsRoot(f *os.File) (bool, error) {
	if r.is == (Identity{}) {
		is, err := r.Identify(r.dir)
		if err != nil {
			return false, err
		}
		r.is = is
	}
	is, err := r.Identify(f)
	return is == r.is, err
}

// Where returns the mount that f is on, as it was when it was first asked for. The root's
// alone is certainly the container's; a tree of the host may be mounted anywhere else.
func (r *Root) Where(f *os.File) (*Mount, error) {
	id, err := mountpoint.ID(f)
	if err != nil {
		return nil, err
	}
	if m, ok := r.mounts[id]; ok {
		return m, nil
	}
	m, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if r.mounts == nil {
		r.mounts = map[int]*Mount{}
	}
	r.mounts[id] = m
	return m, nil
}

// find looks a mount up, in the container's table and in the host's.
func (r *Root) find(id int) (*Mount, error) {
	if root, err := mountpoint.ID(r.dir); err != nil || id == root {
		return r.root(), err
	}
	var at *Mount
	var major, minor int
	err := mountpoint.Each(r.pid, func(m *mountpoint.Mount) bool {
		if m.ID == id {
			at = &Mount{Point: m.Point.String(), Shared: bytes.Contains(m.Optional, []byte("shared:"))}
			at.NoDev = slices.Contains(strings.Split(m.Options.String(), ","), "nodev")
			at.OfHost, major, minor = !m.Root.Is("/"), m.Major, m.Minor
		}
		return at == nil
	})
	if err != nil {
		return nil, err
	}
	if at == nil { // it was unmounted meanwhile: nobody knows
		return &Mount{OfHost: true, Shared: true}, nil
	}
	if at.OfHost {
		return at, nil
	}
	err = mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		at.OfHost = m.Major == major && m.Minor == minor
		return !at.OfHost
	})
	return at, err
}

// root is the mount of the root, which is found without a table.
func (r *Root) root() *Mount {
	noDev, err := Get(r, "/", func() (bool, error) {
		var fs unix.Statfs_t
		err := unix.Fstatfs(int(r.dir.Fd()), &fs)
		return fs.Flags&unix.MS_NODEV != 0, err // ST_NODEV has its value
	}, r.dir)
	return &Mount{Root: true, NoDev: err == nil && noDev}
}

// explainForeign says that the container's root user may not do what failed in dir.
func explainForeign(on *Mount, dir *os.File, err error) error {
	at, e := (&Root{dir: dir}).At()
	if e != nil {
		return err
	}
	return fmt.Errorf("%s is in a host directory, mounted on %s in the container, where this program has only the rights of the container's root user: %w; make it there first, or choose another path",
		command.Printable(at), command.Printable(on.Point), err)
}
