package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// ErrStuck says that an interface may still be in a pinned namespace. With that it
// would go away.
var ErrStuck = errors.New("the network namespace is kept")

// Grants are the interfaces that a container may have: the records, and what its
// ledger knows of them; of those that only the ledger has with all.
func Grants(l *ledger.Ledger, records []NIC, all bool) []Grant {
	var list []Grant
	for _, g := range slices.Concat(l.Grants(nicName, true), l.Grants(nicName, false)) {
		now := Grant{entry: &g}
		if json.Unmarshal(g.Record, &now.NIC) != nil || json.Unmarshal(g.Made, &now.is) != nil && g.Made != nil {
			continue
		}
		if all || slices.Contains(records, now.NIC) {
			list = append(list, now)
		}
	}
	for _, r := range records {
		if !slices.ContainsFunc(list, func(g Grant) bool { return g.NIC == r }) {
			list = append(list, Grant{NIC: r})
		}
	}
	return list
}

// Grant is an interface that a container may have.
type Grant struct {
	NIC
	is    made
	entry *ledger.Grant
}

// Clean takes back what container id, which has ended, was given: a veth is
// deleted, an eth comes back to the host, through the namespaces that are pinned for
// the container. Without a pin the kernel has deleted the one and returned the other
// as it was left; with ports, those of a switch are looked for, whose links have gone
// with their namespace. It goes on after errors.
func Clean(ctx context.Context, id string, l *ledger.Ledger, grants []Grant, ports bool) error {
	if len(grants) == 0 {
		return nil
	}
	var errs []error
	pinned := false
	over := map[int]bool{}
	for _, g := range place.Generations {
		t := &resource.Target{ID: id, Net: netspace.At(filepath.Join(g.NetNS(), id))}
		w, err := enter(t)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, netspace.ErrNone), errors.Is(err, netspace.ErrHost):
			continue // nothing of the container's is there
		case err != nil:
			errs = append(errs, err, ErrStuck)
			continue
		}
		w.ended, pinned = true, true
		errs = append(errs, w.all(ctx, grants, over))
		t.Net.Close()
	}
	if !pinned && !ports {
		grants = slices.DeleteFunc(grants, func(g Grant) bool { return g.entry == nil })
	}
	if !pinned && len(grants) > 0 {
		host, err := netspace.Here()
		if err != nil {
			return err
		}
		defer host.Close()
		w := &work{Target: new(resource.Target), host: host, ended: true}
		errs = append(errs, w.all(ctx, grants, over))
	}
	for i, g := range grants {
		if over[i] && g.entry != nil {
			l.End(*g.entry)
		}
	}
	return errors.Join(append(errs, l.Flush())...)
}

// all takes every grant back. ErrStuck is among the errors when one is no warning.
func (w *work) all(ctx context.Context, grants []Grant, over map[int]bool) error {
	var errs []error
	var stuck error
	for i, g := range grants {
		err := w.take(ctx, g.NIC, g.is)
		_, told := err.(resource.Warning)
		if over[i] = err == nil || told || over[i]; !over[i] {
			stuck = ErrStuck
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove network interface %s: %w", g.NIC, err))
		}
	}
	return errors.Join(append(errs, stuck)...)
}
