package mounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// Kind is the kind of resource that binds are. A bind that fails is reported and
// the container starts without it, as it always did.
var Kind = resource.Kind[Bind]{
	Name:      kindName,
	Key:       config.Binds,
	Policy:    resource.Skip,
	Check:     Check,
	Order:     outermostFirst,
	Resolve:   resolve,
	Apply:     apply,
	Remove:    remove,
	Reconcile: reconcile,
	Verify:    verify,
	Granted:   true,
	Had:       hadOf,
}

const kindName = "path"

func resolve(b Bind) (Bind, bool, error) {
	for _, p := range []string{b.Host, b.Container} {
		if !filepath.IsAbs(p) {
			return b, false, fmt.Errorf("path %q: not absolute", p)
		}
	}
	_, err := parseOptions(b.Options)
	return b, false, err
}

// stagingName names the staging mounts of a host path, cleaned but not resolved.
func stagingName(host string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(host)))
	return hex.EncodeToString(sum[:])
}

func apply(_ context.Context, t *resource.Target, b Bind) (err error) {
	var u undo.Stack
	defer u.OnError(&err)
	return attachBind(t, b, &u, false)
}

// UndoableKind is Kind for one change: what it adds it can remove to the last
// directory that it had to make.
func UndoableKind() resource.Kind[Bind] {
	made := map[Bind]*undo.Stack{}
	k := Kind
	k.Apply = func(_ context.Context, t *resource.Target, b Bind) (err error) {
		u := new(undo.Stack)
		made[b] = u
		defer u.OnError(&err)
		return attachBind(t, b, u, true)
	}
	k.Remove = func(ctx context.Context, t *resource.Target, b Bind) error {
		err := remove(ctx, t, b)
		if u := made[b]; err == nil && u != nil {
			err = u.Undo()
		}
		return err
	}
	return k
}

// attachBind puts the host's tree where b says, and what it makes for that on u. Later
// paths may be below an added one; a start has them in order.
func attachBind(t *resource.Target, b Bind, u *undo.Stack, added bool) error {
	if err := b.CheckUsers(t.UserNS); err != nil {
		return err
	}
	if err := errors.Join(CheckTarget(b.Container), t.FindSharedPath()); err != nil {
		return err
	}
	own := t.Owner.Or(rootfs.Owner{})
	host, dir, err := openHost(t.Wait, ContainerOf(t), b.Host, b.HostOwner(own), u)
	if err != nil {
		return err
	}
	defer host.Close()
	var arrived *os.File
	if t.NoSharedPath == nil {
		if err := transfer(t, host, dir, b, u); err != nil {
			return err
		}
		if arrived, err = openPropagated(t, host, b); err != nil {
			return err
		}
		defer arrived.Close()
	}
	var point *os.File
	if dir {
		point, err = t.Root.MkdirAll(b.Container, own, u)
	} else {
		point, err = t.Root.Create(b.Container, own, u)
	}
	if err != nil {
		return err
	}
	defer point.Close()
	if there, err := isMountOf(t, b, point, host); err != nil {
		return err
	} else if there { // an earlier run for this start was killed after it
		return recordMount(t, b, point)
	}
	if err := checkPoint(t, b, point); err != nil {
		return err
	}
	if added {
		if err := unmountBelow(t, b); err != nil {
			return err
		}
	}
	var mnt *os.File
	if t.NoSharedPath != nil {
		mnt, err = direct(t, host, point, b)
	} else {
		mnt, err = mounttable.Bind(t.NS, arrived, point, true)
	}
	if err != nil {
		return err
	}
	u.Push("unmount "+b.Container, func() error { return remove(context.Background(), t, b) })
	if mnt == nil { // before Linux 5.2 only a path leads to it
		if mnt, err = t.Root.Open(b.Container, unix.O_PATH); err != nil {
			return err
		}
	}
	defer mnt.Close()
	return recordMount(t, b, mnt)
}

// recordMount puts the mount that was made for b into the ledger.
func recordMount(t *resource.Target, b Bind, mnt *os.File) error {
	is, err := madeOf(t, mnt)
	if err == nil {
		t.Ledger.Make(kindName, b, is)
	}
	return err
}

// isMountOf tells whether point, the record's path in the container, is a mount
// of the host's tree already.
func isMountOf(t *resource.Target, b Bind, point, host *os.File) (bool, error) {
	if same, err := t.Root.SameFile(point, host); !same || err != nil {
		return false, err
	}
	dir, err := t.Root.Open(filepath.Dir(filepath.Clean(b.Container)), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	around, err := mountpoint.ID(dir)
	if err != nil {
		return false, err
	}
	own, err := mountpoint.ID(point)
	return own != around, err
}

// transfer puts the host tree on its way: on midpath/<id>/<sha>, where it gets
// the record's options, and from there on master/<id>/<sha>, from where it
// propagates into the container. A pair that is there serves all records of
// the same host path.
func transfer(t *resource.Target, host *os.File, dir bool, b Bind, u *undo.Stack) error {
	o, err := parseOptions(b.Options)
	if err != nil {
		return err
	}
	name := stagingName(b.Host)
	midDir, masterDir := filepath.Join(place.Midpath, t.ID), filepath.Join(place.Master, t.ID)
	if mounted(filepath.Join(masterDir, name), host) && mounted(filepath.Join(midDir, name), host) {
		out, err := open.File(filepath.Join(masterDir, name), unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer out.Close()
		return makePrivate(out, o.propagation) // a command that was killed may not have
	}
	flags, err := bindFlags(host)
	if err != nil {
		return err
	}
	put := func(point *os.File) error { return bind(host, point, flags, procFD) }
	if o.idmap {
		tree, err := mappedTree(t, host, flags)
		if err != nil {
			return err
		}
		defer tree.Close()
		put = func(point *os.File) error { return attach(tree, point) }
	}
	if _, err := os.Lstat(midDir); errors.Is(err, os.ErrNotExist) {
		for _, dir := range []string{place.Midpath, midDir} {
			if err := mountpoint.Mkdir(dir, 0o600); err != nil {
				return err
			}
		}
	}
	mid, err := mountAt(midDir, name, dir, u, put)
	if err != nil {
		return err
	}
	defer mid.Close()
	if err := setPropagation(mid, o.receives(), procFD); err != nil {
		return err
	}
	// A mount keeps the rw or ro that it had when it propagated: so now.
	if o.readOnly {
		if err := setReadOnly(mid, true, procFD); err != nil {
			return err
		}
	}
	// On master, which is shared, it gets a peer group of its own: what receives from
	// that in the container is ours, wherever it is, until it is made private.
	out, err := mountAt(masterDir, name, dir, u, func(point *os.File) error { return bind(mid, point, unix.MS_REC, procFD) })
	if err != nil {
		return err
	}
	defer out.Close()
	return makePrivate(out, o.propagation)
}

// makePrivate makes a staging mount private if that is asked for.
func makePrivate(mnt *os.File, propagation uintptr) error {
	if propagation&unix.MS_PRIVATE == 0 {
		return nil
	}
	return setPropagation(mnt, propagation, procFD)
}

// bindFlags returns how a host tree is bound: with the mounts below it, unless the tree
// contains the shared path, whose mounts would double with each bind.
func bindFlags(host *os.File) (uintptr, error) {
	root, err := open.File("/", unix.O_PATH, 0)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	whole, err := sameFile(host, root)
	if whole || place.Within(host.Name(), place.SharedPath) {
		return 0, err
	}
	return unix.MS_REC, err
}

// mounted tells whether path is a mount of what host has open. A mount point
// of ours is never the same inode as that.
func mounted(path string, host *os.File) bool {
	f, err := open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	same, err := sameFile(f, host)
	return err == nil && same
}

// mountAt makes the mount point dir/name, calls put to mount on it, and returns the root
// of the mount. An existing file of that name, of an earlier start or made by the
// container, is mounted over if possible, and is never followed.
func mountAt(dir, name string, isDir bool, u *undo.Stack, put func(point *os.File) error) (*os.File, error) {
	path := filepath.Join(dir, name)
	if err := makePoint(path, isDir); err != nil {
		return nil, &os.PathError{Op: "make mount point", Path: path, Err: err}
	}
	u.Push("remove staging mount "+path, func() error { return mountpoint.Purge(path) })
	point, err := open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer point.Close()
	if err := put(point); err != nil {
		return nil, err
	}
	return open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// makePoint makes a directory or an empty file for a mount.
func makePoint(path string, isDir bool) error {
	make := func() error { return unix.Mkdir(path, 0o600) }
	if !isDir {
		make = func() error { return unix.Mknod(path, unix.S_IFREG|0o600, 0) }
	}
	err := open.Again(make)
	if errors.Is(err, unix.ENOSPC) {
		if err := mountpoint.MakeRoom(place.Master); err != nil {
			return err
		}
		err = open.Again(make)
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := mountpoint.Detach(path); err != nil {
		return err
	}
	// With the mount point goes what is mounted there in the container still: a command was
	// killed between the two.
	if os.Remove(path) == nil {
		return make()
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if kind := st.Mode & unix.S_IFMT; isDir && kind == unix.S_IFDIR || !isDir && kind == unix.S_IFREG {
		return nil
	}
	if err := mountpoint.Purge(path); err != nil {
		return err
	}
	return make()
}

// openPropagated opens, in the container, the staging mount of b.
func openPropagated(t *resource.Target, host *os.File, b Bind) (*os.File, error) {
	path := filepath.Join(place.SharedPath, stagingName(b.Host))
	f, err := t.Root.Open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("it does not reach the container: %w", err)
	}
	if same, err := t.Root.SameFile(f, host); err != nil || !same {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("it does not reach the container: %s is another file there", path))
	}
	return f, nil
}

// verify returns nil when the bind's container path is the host's tree.
func verify(_ context.Context, t *resource.Target, b Bind) error {
	host, err := lookUp(t.Wait, b.Host)
	if err != nil {
		return err
	}
	defer host.Close()
	inside, err := t.Root.Open(b.Container, unix.O_PATH)
	if err != nil {
		return err
	}
	defer inside.Close()
	if same, err := t.Root.SameFile(inside, host.File); err != nil || !same {
		return errors.Join(err, fmt.Errorf("%s in the container is another file", b.Container))
	}
	return nil
}
