package mounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
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
	if err := CheckTarget(b.Container); err != nil {
		return err
	}
	own := t.Owner.Or(rootfs.Owner{})
	host, dir, err := openHost(t.Wait, ContainerOf(t), b.Host, b.HostOwner(own), u)
	if err != nil {
		return err
	}
	defer host.Close()
	arrived, err := handOver(t, host, dir, b, u)
	if err != nil {
		return err
	}
	defer arrived.Close()
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
	if arrived == nil {
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
