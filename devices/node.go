package devices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// Adder is how a command adds devices.
type Adder struct {
	// Force replaces what stands in a node's place. It is implied at a start.
	Force bool

	replaced, adopted map[Device]bool
}

// errExists says that something else stands in a node's place.
var errExists = errors.New("the path already exists in the container, and only force replaces it")

// Kind is the kind of devices as a command adds them.
func (a *Adder) Kind() *resource.Kind[Device] {
	k := Kind
	k.Apply = func(_ context.Context, t *resource.Target, d Device) error { return a.add(t, d) }
	k.Remove = func(_ context.Context, t *resource.Target, d Device) error {
		if a.adopted[d] {
			return nil // it is being undone, and the node was there before
		}
		return removeNode(t, d)
	}
	return &k
}

// Replaced tells whether something else stood in d's place.
func (a *Adder) Replaced(d Device) bool { return a.replaced[d] }

func (a *Adder) add(t *resource.Target, d Device) error {
	// The permission comes last: what fails before it leaves no rule behind. Its
	// file is opened first: without one nothing is changed at all.
	grant, err := permission(t, d)
	if err != nil {
		return err
	}
	return a.makeNode(t, d, grant)
}

// makeNode makes d's node in the container, of the host node's mode and owner,
// and its parent directories, 0755 and of the same owner; then it calls
// commit. When anything fails, what it made is gone again. With force a
// different file in its place is replaced; a node that is this device already is
// adopted.
func (a *Adder) makeNode(t *resource.Target, d Device, commit func() error) (err error) {
	host, err := stat(d.PathOnHost)
	if err != nil {
		return err
	}
	own := t.Owner.Or(rootfs.Owner{UID: int(host.Uid), GID: int(host.Gid)})
	var dir *os.File
	defer func() { dir.Close() }() // after the undo, which needs it
	var u undo.Stack
	defer u.OnError(&err)
	dir, base, err := t.Root.Dir(d.PathInContainer, own, &u)
	if err != nil {
		return err
	}
	made, err := a.placeNode(t, d, plot{dir: dir, base: base, force: a.Force}, host, own, &u)
	if made.replaced {
		a.note(&a.replaced, d)
	}
	if made.adopted {
		a.note(&a.adopted, d)
	}
	if err != nil {
		return fmt.Errorf("make node %s: %w", d.PathInContainer, err)
	}
	return commit()
}

// placeNode makes the node, of whichever sort works there.
func (a *Adder) placeNode(t *resource.Target, d Device, p plot, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) (plot, error) {
	at := d.PathInContainer
	made, err := rootfs.Get(t.Root, at, func() (plot, error) {
		there, err := inHostsDev(t.HostDev, p.dir, p.base, host)
		switch {
		case err != nil:
			return p, err
		case there:
			return plot{adopted: true}, nil
		case t.UserNS && !nodesWork(p.dir):
			return plot{bind: true}, nil
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

func (a *Adder) note(in *map[Device]bool, d Device) {
	if *in == nil {
		*in = map[Device]bool{}
	}
	(*in)[d] = true
}

// plot is the place of a node, and what came of it.
type plot struct {
	dir               *os.File
	base              string
	force             bool
	replaced, adopted bool
	bind              bool // no node works there
}

// build makes the node, or nothing, and returns what came of the plot.
func (p plot) build(host unix.Stat_t, own rootfs.Owner) (plot, error) {
	if err := p.mknod(host); err != nil {
		return p, err
	}
	err := dress(p.dir, p.base, host, own, !p.adopted)
	if err != nil && !p.adopted {
		err = errors.Join(err, unlink(p.dir, p.base, 0))
	}
	return p, err
}

// inHostsDev tells whether dir, which the container may have bound as its own,
// is of the host's /dev and has the node. Nothing is made, replaced or changed
// there: what is missing is an error.
func inHostsDev(hostDev uint64, dir *os.File, base string, host unix.Stat_t) (there bool, err error) {
	var d, st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &d); err != nil || d.Dev != hostDev {
		return false, os.NewSyscallError("fstat", err)
	}
	if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && sameDevice(st, host) {
		return true, nil
	}
	return false, errors.New("the container's directory for it is the host's /dev, which is left alone")
}

// mknod makes the plot's file the device that host is.
func (p *plot) mknod(host unix.Stat_t) (err error) {
	for range 3 {
		// With the umask a node would need a chmod, and be wrong until then.
		umask := unix.Umask(0)
		err = unix.Mknodat(int(p.dir.Fd()), p.base, host.Mode, int(host.Rdev))
		unix.Umask(umask)
		if !errors.Is(err, unix.EEXIST) {
			return os.NewSyscallError("mknodat", err)
		}
		if err := p.clear(host); p.adopted || err != nil {
			return err
		}
	}
	return os.NewSyscallError("mknodat", err)
}

// clear makes room for a node that is the device host, unless it is there: then
// it is adopted.
func (p *plot) clear(host unix.Stat_t) error {
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
	if !p.force {
		return errExists
	}
	if err := removeOther(p.dir, p.base, st); err != nil {
		return fmt.Errorf("replace what is there: %w", err)
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

// dress gives the node its mode and its owner. It acts on what it has opened
// and looked at. A node that is bind-mounted here is the host's own and keeps
// what it has.
func dress(dir *os.File, base string, host unix.Stat_t, own rootfs.Owner, made bool) error {
	var st, parent unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && isDressed(st, host, own) {
		return nil
	}
	node, err := open.At(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer node.Close()
	fd := int(node.Fd())
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if !sameDevice(st, host) {
		return errors.New("something else took its place")
	}
	if !made {
		if err := unix.Fstat(int(dir.Fd()), &parent); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		if st.Dev != parent.Dev || st.Dev == host.Dev && st.Ino == host.Ino {
			return nil
		}
	}
	if int(st.Uid) != own.UID || int(st.Gid) != own.GID {
		if err := unix.Fchownat(fd, "", own.UID, own.GID, unix.AT_EMPTY_PATH); err != nil {
			return os.NewSyscallError("fchownat", err)
		}
	}
	if st.Mode&0o7777 != host.Mode&0o7777 {
		// An O_PATH descriptor has no fchmod(2).
		err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), host.Mode&0o7777)
		return os.NewSyscallError("chmod", err)
	}
	return nil
}

func isDressed(st, host unix.Stat_t, own rootfs.Owner) bool {
	return sameDevice(st, host) && int(st.Uid) == own.UID && int(st.Gid) == own.GID && st.Mode == host.Mode
}

func unlink(dir *os.File, base string, flags int) error {
	err := unix.Unlinkat(int(dir.Fd()), base, flags)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.NewSyscallError("unlinkat", err)
}

// removeNode removes d's node from the container, however it was made. A node
// that is gone is fine; what is there instead, or was there before us, stays.
func removeNode(t *resource.Target, d Device) error {
	err := removeMade(t, d)
	if t.UserNS {
		err = errors.Join(err, forgetBound(t, d))
	}
	if err != nil {
		return fmt.Errorf("remove node %s: %w", d.PathInContainer, err)
	}
	return nil
}

func removeMade(t *resource.Target, d Device) error {
	p := path.Clean("/" + d.PathInContainer)
	dir, err := t.Root.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if around, err := t.Root.Identify(dir); err != nil || around.Dev == t.HostDev {
		return err // the host's nodes are the host's
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
	there, err := t.Root.Identify(node)
	if err != nil || !d.is(there) {
		return err
	}
	if host, err := stat(d.PathOnHost); err == nil && there.Dev == host.Dev && there.Ino == host.Ino {
		return nil // by a bound directory it is the host's own
	}
	switch bound, err := mounted(dir, node); {
	case err != nil:
		return err
	case bound:
		return unbind(t, d, node, dir, path.Base(p), there)
	}
	return t.Root.Do(p, func() error {
		return unlinkAs(dir, path.Base(p), func(st unix.Stat_t) bool { return isDevice(st, d) })
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

// is tells whether a file is a node of d.
func (d Device) is(i rootfs.Identity) bool {
	return typeOf(i.Type) == d.Type && i.Rdev == unix.Mkdev(uint32(d.Major), uint32(d.Minor))
}

// verifyNode returns nil when the container has d's node.
func verifyNode(t *resource.Target, d Device) error {
	f, err := t.Root.Open(d.PathInContainer, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	there, err := t.Root.Identify(f)
	if err == nil && !d.is(there) {
		err = fmt.Errorf("%s in the container is another file", d.PathInContainer)
	}
	return err
}
