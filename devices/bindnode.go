package devices

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// probe is the name of a null device that is made to be tried. A node that a kill
// left is as good; what else has the name is the container's, and never opened.
const probe = ".isulad-tools-probe"

// nodesWork tells whether dir's file system, perhaps one that was mounted in a user
// namespace, has nodes that can be opened. If it has not, the kernel says EACCES
// (SB_I_NODEV), or before that EOVERFLOW, because our ids have no numbers
// there. Nothing tells without trying. So a null device is tried, which does no
// harm; a node of the real device might rewind a tape.
func nodesWork(dir *os.File) bool {
	name := probe
	for range 8 {
		if works, tried := tryNode(dir, name); tried {
			return works
		}
		name = probe + "-" + strconv.FormatUint(rand.Uint64(), 36)
	}
	return false // somebody is faster each time
}

// tryNode is nodesWork with a null device of this name. It opens the node that it
// has looked at, and no other; of another file nothing is tried.
func tryNode(dir *os.File, name string) (works, tried bool) {
	switch err := open.Again(func() error { return unix.Mknodat(int(dir.Fd()), name, unix.S_IFCHR|0o600, int(null)) }); {
	case errors.Is(err, unix.EOVERFLOW):
		return false, true
	case err != nil && !errors.Is(err, unix.EEXIST):
		return true, true // mknod will say why not
	}
	node, err := open.At(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, false
	}
	defer node.Close()
	var st unix.Stat_t
	if unix.Fstat(int(node.Fd()), &st) != nil || !isNull(st) {
		return false, false
	}
	defer func() { _ = unlinkAs(dir, name, isNull) }()
	f, err := open.File("/proc/self/fd/"+strconv.Itoa(int(node.Fd())), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	f.Close()
	return !errors.Is(err, unix.EACCES), true
}

var null = unix.Mkdev(1, 3)

func isNull(st unix.Stat_t) bool { return typeOf(st.Mode) == "c" && st.Rdev == null }

const nodePrefix = "node-"

// boundName is the name below the container's shared path of a node that is bound.
func boundName(d Device) string {
	sum := sha256.Sum256([]byte(d.PathInContainer))
	return nodePrefix + hex.EncodeToString(sum[:8])
}

func boundPath(t *resource.Target, d Device) string {
	return filepath.Join(place.Master, t.ID, boundName(d))
}

// bindNode gives the container a node of ours: one made on the host, below the
// container's shared path, where nodes work, with the container's root as its
// owner. It is bound onto an empty file. The host's own node would have an
// owner that is nobody inside, and is not ours to change.
func bindNode(t *resource.Target, d Device, p nodePlace, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) (nodePlace, error) {
	shared := boundPath(t, d)
	cleared, err := rootfs.Get(t.Root, d.PathInContainer, func() (nodePlace, error) { return p.clearForBind(shared, host) }, p.dir)
	if err == nil && cleared.adopted && cleared.is.Bound {
		err = setSharedOwnerAndMode(t, d, host, own)
	}
	if err != nil || cleared.adopted {
		return cleared, err
	}
	cleared.is, err = bindShared(t, d, host, own, u)
	return cleared, err
}

// bindShared binds it where there is room.
func bindShared(t *resource.Target, d Device, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) (is made, err error) {
	if err := t.FindSharedPath(); err != nil {
		return is, err
	}
	if t.NoSharedPath != nil {
		return is, fmt.Errorf("nodes do not work there, because of the mount option nodev or the container's user namespace, and there is no shared path to bind one from: choose a path below /dev, or mount it without nodev: %w", t.NoSharedPath)
	}
	node, err := makeShared(t, d, host, own, u)
	if err != nil {
		return is, err
	}
	defer node.Close()
	point, err := t.Root.Create(d.PathInContainer, own, u)
	if err != nil {
		return is, err
	}
	defer point.Close()
	on, err := t.Root.Identify(point)
	if err != nil {
		return is, err
	}
	mnt, err := mounttable.Bind(t.NS, node, point, false)
	mnt.Close()
	return made{on.Dev, on.Ino, true}, err
}

// clearForBind makes room for a bound node. A node that is bound there already is
// adopted. A node that does not work, as v0.9 made them, and the file that a
// container's last run left are as good a place as any.
func (p nodePlace) clearForBind(shared string, host unix.Stat_t) (nodePlace, error) {
	f, err := open.At(p.dir, p.base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return p, os.NewSyscallError("fstat", err)
	}
	bound, err := mounted(p.dir, f)
	switch {
	case err != nil:
		return p, err
	case sameDevice(st, host):
		var ours unix.Stat_t
		p.adopted = bound
		p.is.Bound = bound && unix.Lstat(shared, &ours) == nil && madeOf(ours).is(st)
		return p, nil
	case p.force && !bound && isEmpty(st):
		return p, nil
	}
	err = p.clear(host)
	return p, err
}

// openShared opens the directory of the nodes that are bound.
func openShared(t *resource.Target) (*os.File, error) {
	return open.File(filepath.Join(place.Master, t.ID), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// setSharedOwnerAndMode gives a node that is bound already its owner and mode.
func setSharedOwnerAndMode(t *resource.Target, d Device, host unix.Stat_t, own rootfs.Owner) error {
	shared, err := openShared(t)
	if err != nil {
		return err
	}
	defer shared.Close()
	_, err = setOwnerAndMode(shared, boundName(d), host, own, false)
	return err
}

// makeShared makes the node that is bound, and opens it as the container sees it.
func makeShared(t *resource.Target, d Device, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) (*os.File, error) {
	shared, err := openShared(t)
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	p := &nodePlace{dir: shared, base: boundName(d), by: t.Root.Maker(own), force: true}
	if err := p.mknodShared(host); err != nil {
		return nil, err
	}
	u.Push("remove node "+p.base, func() error {
		_, err := unbind(t, d)
		return err
	})
	if _, err := setOwnerAndMode(shared, p.base, host, own, !p.adopted); err != nil {
		return nil, err
	}
	node, err := t.Root.Open(filepath.Join(place.SharedPath, p.base), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	there, err := t.Root.Identify(node)
	if err == nil && (there.Type != host.Mode&unix.S_IFMT || there.Rdev != host.Rdev) {
		err = fmt.Errorf("%s in the container is another file", node.Name())
	}
	if err != nil {
		node.Close()
		return nil, err
	}
	return node, nil
}

// mknodShared is mknod below the shared path, where the container may have taken the
// node's name, or all the files that the file system may have.
func (p *nodePlace) mknodShared(host unix.Stat_t) error {
	err := p.mknod(host)
	switch {
	case errors.Is(err, unix.ENOSPC):
		err = mountpoint.MakeRoom(place.Master)
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EBUSY):
		err = mountpoint.Purge(filepath.Join(p.dir.Name(), p.base))
	default:
		return err
	}
	if err != nil {
		return err
	}
	return p.mknod(host)
}

// unbind unmounts the node that was bound for d, wherever the container has it
// now, and removes it. It is no error if it does not exist.
func unbind(t *resource.Target, d Device) (unbound bool, err error) {
	var master unix.Stat_t
	switch err := unix.Lstat(boundPath(t, d), &master); {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, &os.PathError{Op: "lstat", Path: boundPath(t, d), Err: err}
	}
	root := "/" + t.ID + "/" + boundName(d)
	left, err := mounttable.Detach(t.Mounts(), func(m *mountpoint.Mount) bool {
		ours := m.Root.Is(root) && unix.Mkdev(uint32(m.Major), uint32(m.Minor)) == master.Dev
		unbound = unbound || ours
		return ours
	})
	for _, l := range left {
		err = errors.Join(err, fmt.Errorf("process %d still has it at %s", l.PID, l.In("/")))
	}
	return unbound, errors.Join(err, mountpoint.Purge(boundPath(t, d))) // also what the container has put in its place
}

// Binds tells whether a node was bound for the running container id.
func Binds(id string) bool {
	list, err := filepath.Glob(filepath.Join(place.Master, id, nodePrefix+"*"))
	return err == nil && len(list) > 0
}

// mounted tells whether f, of directory dir, is mounted there.
func mounted(dir, f *os.File) (bool, error) {
	at, err := mountpoint.ID(f)
	if err != nil {
		return false, err
	}
	around, err := mountpoint.ID(dir)
	return at != around, err
}

func isEmpty(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0 }
