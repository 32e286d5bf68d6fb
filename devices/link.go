package devices

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// errLink says that a symbolic link stands in a node's place.
var errLink = errors.New("a link is there")

// makeNodeFollowing makes d's node and its parent directories. Where a link stands that leads nowhere,
// the node is made as what it names: /dev/cdrom -> sr0. Any other link is a file that is
// in the way.
func makeNodeFollowing(t *resource.Target, d Device, p nodePlace, host unix.Stat_t, own rootfs.Owner, u *undo.Stack) (nodePlace, error) {
	at := d.PathInContainer
	for {
		dir, base, err := t.Root.Parent(at, own, u)
		if err != nil {
			return p, err
		}
		p.dir, p.on, p.base = dir.File, dir.On, base
		made, err := placeNode(t, d, p, host, own, u)
		if !errors.Is(err, errLink) {
			return made, err
		}
		p.overLink = true
		leads, err := t.Root.Follow(at)
		if errors.Is(err, unix.ELOOP) {
			continue // as any other file
		}
		if err != nil {
			return p, err
		}
		if f, err := t.Root.Open(leads, unix.O_PATH|unix.O_NOFOLLOW); errors.Is(err, unix.ENOENT) {
			at = leads
		} else {
			f.Close()
		}
	}
}

// placeOf is where d's node is. When the ledger has it, a link in its place may lead
// there.
func placeOf(t *resource.Target, d Device) (string, error) {
	var is made
	p := path.Clean("/" + d.PathInContainer)
	if !t.Ledger.Made(kindName, d, &is) || is.Ino == 0 {
		return p, nil
	}
	leads, err := t.Root.Follow(p)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return p, nil
	}
	return leads, err
}

// leadsToOurs tells whether a link in d's place leads to the node that we made.
func leadsToOurs(t *resource.Target, d Device) bool {
	var is made
	if !t.Ledger.Made(kindName, d, &is) || is.Ino == 0 {
		return false
	}
	f, err := t.Root.Open(d.PathInContainer, unix.O_PATH)
	if err != nil {
		return false
	}
	defer f.Close()
	there, err := t.Root.Identify(f)
	return err == nil && d.is(there) && there.Dev == is.Dev && there.Ino == is.Ino
}
