package devices

import (
	"context"
	"errors"
	"fmt"

	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// Adder is how a command adds devices.
type Adder struct {
	// Force replaces what stands in a node's place. It is implied at a start.
	Force bool

	// Host, when there is one, was looked at when the devices were planned.
	Host *Host

	replaced map[Device]bool
}

// errExists says that something else stands in a node's place.
var errExists = errors.New("the path already exists in the container: choose another, or give --force")

// Kind is the kind of devices as a command adds them.
func (a *Adder) Kind() *resource.Kind[Device] {
	k := Kind
	k.Resolve = a.Host.resolve
	k.Apply = func(_ context.Context, t *resource.Target, d Device) error { return a.add(t, d) }
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
	is, err := a.makeNode(t, d, grant)
	if err == nil {
		t.Ledger.Make(kindName, d, is)
	}
	return err
}

// makeNode makes d's node in the container, with the host node's mode and, without a user
// namespace, its owner, else the container's root; its parent directories, 0755, have the
// same owner. Then it calls commit. When anything fails, what it made is gone again. With force a
// different file in its place is replaced; a node that is this device already is
// adopted.
func (a *Adder) makeNode(t *resource.Target, d Device, commit func() error) (is made, err error) {
	n := a.Host.nodeOf(d)
	if n.err != nil {
		return is, n.err
	}
	host := n.Stat_t
	own := t.Owner.Or(rootfs.Owner{UID: int(host.Uid), GID: int(host.Gid)})
	var u undo.Stack
	defer func() {
		if err != nil {
			u.OnError(&err) // which needs the directory
			t.Root.Leave()
		}
	}()
	p, err := makeNodeFollowing(t, d, nodePlace{by: t.Root.Maker(own), force: a.Force}, host, own, &u)
	if p.replaced {
		if a.replaced == nil {
			a.replaced = map[Device]bool{}
		}
		a.replaced[d] = true
	}
	if err != nil {
		return is, fmt.Errorf("make node %s: %w", d.PathInContainer, err)
	}
	switch {
	case !d.isContainers(t), !p.adopted && !p.is.Bound:
		is = p.is
	case !p.adopted: // what it is bound onto may be the container's own node
		is = made{Bound: true}
	}
	return is, commit()
}
