package devices

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/credentials"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// made is, in the ledger, the file that we made in the container for a device: the
// node, or what it is bound onto. The zero value is the container's own node.
type made struct {
	Dev, Ino uint64 // 0: that of a bound node is not known
	Bound    bool   `json:",omitempty"`
}

func madeOf(st unix.Stat_t) made { return made{Dev: st.Dev, Ino: st.Ino} }

// is tells whether it is the file st.
func (m made) is(st unix.Stat_t) bool { return m.Dev == st.Dev && m.Ino == st.Ino }

// placeNode makes the node, of whichever sort works there.
func placeNode(t *resource.Target, d Device, p nodePlace, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) (nodePlace, error) {
	at := d.PathInContainer
	made, err := rootfs.Get(t.Root, at, func() (nodePlace, error) {
		switch {
		case p.on.OfHost:
			return nodePlace{adopted: true}, inHostsTree(p, host)
		case p.on.NoDev, t.UserNS && !nodesWork(p.dir):
			return nodePlace{bind: true}, nil
		}
		return p.build(host, own)
	}, p.dir)
	if made.bind {
		return bindNode(t, d, p, host, own, u)
	}
	if err == nil && !made.adopted {
		u.Push("remove node "+p.base, func() error {
			return t.Root.Do(at, func() error { return unlink(p.dir, p.base, 0) }, p.dir)
		})
	}
	return made, err
}

// isContainers tells whether the node that d records is the container's own: it
// was there when d was added, or it comes with the container.
func (d Device) isContainers(t *resource.Target) bool {
	return d.Own || slices.Contains(t.Nodes, resource.Node{Path: path.Clean(d.PathInContainer), Type: d.Type, Major: d.Major, Minor: d.Minor})
}

// nodePlace is the place of a node, and what came of it.
type nodePlace struct {
	dir               *os.File
	base              string
	on                *rootfs.Mount // dir's
	by                credentials.Maker
	force             bool
	overLink          bool // a link there is as any other file
	replaced, adopted bool
	bind              bool // no node works there
	is                made // what removing the device removes
}

// build makes the node, or nothing, and returns what came of the place.
func (p nodePlace) build(host unix.Stat_t, own rootfs.Owner) (nodePlace, error) {
	if err := p.mknod(host); err != nil {
		return p, err
	}
	var err error
	p.is, err = setOwnerAndMode(p.dir, p.base, host, own, !p.adopted)
	if err != nil && !p.adopted {
		err = errors.Join(err, unlink(p.dir, p.base, 0))
	}
	return p, err
}

// inHostsTree returns nil when the place has the node, in a tree of the host that the
// container has mounted: the host's /dev, or a folder. Nothing is made, replaced or
// changed there.
func inHostsTree(p nodePlace, host unix.Stat_t) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(p.dir.Fd()), p.base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && sameDevice(st, host) {
		return nil
	}
	return fmt.Errorf("its directory is a host directory, mounted on %s in the container, where no node is made: choose a path on the container's own file system", command.Printable(p.on.Point))
}

// mknod makes the place's file the device that host is.
func (p *nodePlace) mknod(host unix.Stat_t) (err error) {
	for range 3 {
		err = p.by.Root(func() error {
			err := open.Again(func() error { return unix.Mknodat(int(p.dir.Fd()), p.base, host.Mode, int(host.Rdev)) })
			return os.NewSyscallError("mknodat", err)
		})
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := p.clear(host); p.adopted || err != nil {
			return err
		}
	}
	return err
}

// clear makes room for a node that is the device host, unless it is there: then
// it is adopted.
func (p *nodePlace) clear(host unix.Stat_t) error {
	var st unix.Stat_t
	switch err := unix.Fstatat(int(p.dir.Fd()), p.base, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return os.NewSyscallError("fstatat", err)
	}
	if p.adopted = sameDevice(st, host); p.adopted {
		return nil
	}
	switch link := st.Mode&unix.S_IFMT == unix.S_IFLNK; {
	case link && isPlaceholder(p.dir, p.base):
		return unlink(p.dir, p.base, 0)
	case link && !p.overLink:
		return errLink
	}
	if !p.force {
		return errExists
	}
	if err := removeOther(p.dir, p.base, st); err != nil {
		return fmt.Errorf("replace the existing file: %w", err)
	}
	p.replaced = true
	return nil
}

// removeOther removes what has the node's place: a file, or an empty directory,
// but nothing that the container has mounted. The kernel would not mind: to it
// a mount in another namespace is no reason to keep the mount point.
func removeOther(dir *os.File, base string, st unix.Stat_t) error {
	f, err := open.At(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if busy, err := mounted(dir, f); err != nil || busy {
		return errors.Join(err, os.NewSyscallError("unlinkat", unix.EBUSY))
	}
	flags := 0
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		flags = unix.AT_REMOVEDIR // only when empty
	}
	return unlink(dir, base, flags)
}

func sameDevice(a, b unix.Stat_t) bool {
	return a.Mode&unix.S_IFMT == b.Mode&unix.S_IFMT && a.Rdev == b.Rdev
}

// setOwnerAndMode gives the node its mode and its owner, and returns what it is. It acts on
// what it has opened and looked at. A node that is bind-mounted here is somebody
// else's and keeps what it has.
func setOwnerAndMode(dir *os.File, base string, host unix.Stat_t, own rootfs.Owner, new bool) (is made, err error) {
	var st, parent unix.Stat_t
	if new && unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && hasOwnerAndMode(st, host, own) {
		return madeOf(st), nil
	}
	node, err := open.At(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return is, err
	}
	defer node.Close()
	fd := int(node.Fd())
	if err := unix.Fstat(fd, &st); err != nil {
		return is, os.NewSyscallError("fstat", err)
	}
	if !sameDevice(st, host) {
		return is, errors.New("another file took its place")
	}
	if err := unix.Fstat(int(dir.Fd()), &parent); err != nil {
		return is, os.NewSyscallError("fstat", err)
	}
	if st.Dev != parent.Dev || st.Dev == host.Dev && st.Ino == host.Ino {
		return is, nil
	}
	if int(st.Uid) != own.UID || int(st.Gid) != own.GID {
		err := open.Again(func() error { return unix.Fchownat(fd, "", own.UID, own.GID, unix.AT_EMPTY_PATH) })
		if err != nil {
			return is, os.NewSyscallError("fchownat", err)
		}
	}
	if st.Mode&0o7777 != host.Mode&0o7777 {
		// An O_PATH descriptor has no fchmod(2).
		err = open.Again(func() error { return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), host.Mode&0o7777) })
	}
	return madeOf(st), os.NewSyscallError("chmod", err)
}

func hasOwnerAndMode(st, host unix.Stat_t, own rootfs.Owner) bool {
	return sameDevice(st, host) && int(st.Uid) == own.UID && int(st.Gid) == own.GID && st.Mode == host.Mode
}

func unlink(dir *os.File, base string, flags int) error {
	err := open.Again(func() error { return unix.Unlinkat(int(dir.Fd()), base, flags) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.NewSyscallError("unlinkat", err)
}

// removeNode removes d's node from the container, however it was made. It is no error
// if the node does not exist. Another file in its place stays, and so does a node that
// was there before. The permission is revoked by now, so a node that cannot be reached
// is only a warning: the container chooses the directories above it.
func removeNode(t *resource.Target, d Device) error {
	var is made
	known := t.Ledger.Made(kindName, d, &is)
	theirs := known && is == (made{}) || !known && d.isContainers(t)
	unbound, err := unbind(t, d)
	host := (*Host)(nil).nodeOf(d)
	ours := func(st unix.Stat_t) bool {
		switch {
		case is.Ino != 0:
			return is.is(st) && (isDevice(st, d) || isEmpty(st))
		case isDevice(st, d): // by a bound directory it may be the host's own
			return !known && (host.err != nil || madeOf(st) != madeOf(host.Stat_t))
		}
		return unbound && isEmpty(st)
	}
	if !theirs {
		err = errors.Join(err, unlinkOurs(t, d, ours))
	}
	if err == nil || errors.Is(err, process.ErrGone) || !t.Init.Lives() { // then it has nothing any more
		return nil
	}
	return resource.Warn(fmt.Errorf("remove node %s: %w", d.PathInContainer, err))
}

// unlinkOurs unlinks what is at d's place in the container, if it is ours. What is
// mounted there is not.
func unlinkOurs(t *resource.Target, d Device, ours func(unix.Stat_t) bool) error {
	p, err := placeOf(t, d)
	if err != nil {
		return err
	}
	dir, err := t.Root.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if on, err := t.Root.Where(dir); err != nil || on.OfHost {
		return err // what is in the host's trees is the host's
	}
	node, err := rootfs.Get(t.Root, p, func() (*os.File, error) {
		return open.At(dir, path.Base(p), unix.O_PATH|unix.O_NOFOLLOW, 0)
	}, dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer node.Close()
	if bound, err := mounted(dir, node); bound || err != nil {
		return err
	}
	return t.Root.Do(p, func() error {
		if isPlaceholder(dir, path.Base(p)) {
			return unlink(dir, path.Base(p), 0)
		}
		return unlinkAs(dir, path.Base(p), ours)
	}, dir)
}

// unlinkAs unlinks a file that is what it should be.
func unlinkAs(dir *os.File, base string, is func(unix.Stat_t) bool) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || err == nil && !is(st) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("fstatat", err)
	}
	return unlink(dir, base, 0)
}

func isDevice(st unix.Stat_t, d Device) bool {
	return d.is(rootfs.Identity{Type: st.Mode & unix.S_IFMT, Rdev: st.Rdev})
}

// verifyNode returns nil when the container has d's node.
func verifyNode(t *resource.Target, d Device) error {
	f, err := t.Root.Open(d.PathInContainer, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	there, err := t.Root.Identify(f)
	if err == nil && !d.is(there) && !leadsToOurs(t, d) {
		err = fmt.Errorf("%s in the container is another file", d.PathInContainer)
	}
	return err
}
