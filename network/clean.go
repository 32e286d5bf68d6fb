package network

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"

	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// ErrStillInUse says that an interface may still be in a pinned namespace, which must stay:
// removing the pin would destroy the interface.
var ErrStillInUse = errors.New("the network namespace is kept")

// grant is an interface that a container may have.
type grant struct {
	NIC
	is    made
	entry *ledger.Grant // nil: only its record tells of it
	ended bool
}

// Cleanup says what is taken back from a container that has ended.
type Cleanup struct {
	ID      string
	Ledger  *ledger.Ledger
	Records []NIC
	// OnlyRecords: not what the ledger has besides.
	OnlyRecords bool
	// SwitchPorts: ports of a switch are looked for, whose links went with their namespace.
	SwitchPorts bool
	// Forget ends the ledger's grants of what cannot be taken back, too.
	Forget bool
}

// grants are the interfaces that the container may have.
func (c Cleanup) grants() (list []*grant) {
	for _, e := range slices.Concat(c.Ledger.Grants(nicName, true), c.Ledger.Grants(nicName, false)) {
		g := &grant{entry: &e}
		known := json.Unmarshal(e.Record, &g.NIC) == nil && (e.Made == nil || json.Unmarshal(e.Made, &g.is) == nil)
		if known && (!c.OnlyRecords || slices.Contains(c.Records, g.NIC)) {
			list = append(list, g)
		}
	}
	for _, r := range c.Records {
		if !slices.ContainsFunc(list, func(g *grant) bool { return g.NIC == r }) {
			list = append(list, &grant{NIC: r})
		}
	}
	return list
}

// Do deletes veths and returns eths to the host, through the namespaces that are pinned
// for the container. Without a pin the kernel has already deleted the veths and returned
// the eths as they were left. Do goes on after errors.
func (c Cleanup) Do(ctx context.Context) error {
	grants := c.grants()
	if len(grants) == 0 {
		return nil
	}
	var errs []error
	pinned := false
	for _, g := range place.Generations {
		t := &resource.Target{ID: c.ID, Ledger: c.Ledger, Net: rtnl.AtPath(filepath.Join(g.NetNS(), c.ID))}
		w, err := enter(t)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, rtnl.ErrNotNetworkNamespace), errors.Is(err, rtnl.ErrHostNetwork):
			continue // nothing of the container's is there
		case err != nil:
			errs = append(errs, err, ErrStillInUse)
			continue
		}
		pinned = true
		errs = append(errs, w.removeAll(ctx, grants))
		t.Net.Close()
	}
	if !pinned && !c.SwitchPorts {
		grants = slices.DeleteFunc(grants, func(g *grant) bool { return g.entry == nil })
	}
	if !pinned && len(grants) > 0 {
		host, err := rtnl.Dial()
		if err != nil {
			return err
		}
		defer host.Close()
		errs = append(errs, (&session{Target: &resource.Target{Ledger: c.Ledger}, host: host}).removeAll(ctx, grants))
	}
	for _, g := range grants {
		if g.entry != nil && (g.ended || c.Forget) {
			c.Ledger.End(*g.entry)
		}
	}
	return errors.Join(append(errs, c.Ledger.Flush())...)
}

// removeAll takes every grant back, pairs first: then what is left in the namespace is not
// theirs. ErrStillInUse is among the errors when an interface could not be taken back.
func (w *session) removeAll(ctx context.Context, grants []*grant) error {
	var errs []error
	var stillInUse error
	w.containerEnded = true
	sort.SliceStable(grants, func(a, b int) bool { return cmp.Or(grants[a].Type, "veth") > cmp.Or(grants[b].Type, "veth") })
	w.deleteVeths(grants)
	for _, g := range grants {
		err := w.remove(ctx, g.NIC, g.is)
		if errors.Is(err, errNotInLedger) && !w.holdsOther() {
			err = nil // it was never lent, or the kernel has returned it
		}
		_, told := err.(resource.Warning)
		if g.ended = g.ended || err == nil || told; !g.ended {
			stillInUse = ErrStillInUse
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove network interface %s: %w", g.NIC, err))
		}
	}
	return errors.Join(append(errs, stillInUse)...)
}

// holdsOther tells whether a link is in the namespace that would go away with it and
// has its other end, or what it is made on top of, elsewhere: it may be the host's.
func (w *session) holdsOther() bool {
	if w.space == nil {
		return false
	}
	links, err := w.inside.Links()
	return err != nil || slices.ContainsFunc(links, func(l *rtnl.Link) bool { return l.PeerNS >= 0 })
}
