package network

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// updateNIC makes the interface old what r is, which has the same type and
// names. A link that has gone is made anew.
func updateNIC(ctx context.Context, t *resource.Target, old, r NIC) (err error) {
	n, err := r.parse()
	if err != nil {
		return err
	}
	w, err := enter(t)
	if err != nil {
		return err
	}
	if !t.Ledger.Made(nicName, old, &n.is) {
		t.Ledger.Made(nicName, r, &n.is)
	}
	e, err := n.find(w, n)
	if err != nil {
		return err
	}
	if e.inside == nil {
		if e.host != nil { // the container has moved the other end elsewhere
			if err := w.host.DeleteLink(e.host.Index); err != nil {
				return wrapOp(opDeleteLink, err)
			}
		}
		return applyNIC(ctx, t, r)
	}
	// What the kernel drops on the way, and is not ours to drop, comes back.
	keep, err := readConfig(w.inside, e.inside.Index)
	if err != nil {
		return err
	}
	var u undo.Stack
	defer u.OnError(&err)
	u.Push("restore addresses and routes", func() error { keep.restore(); return nil })
	if e.host != nil {
		if err := w.changeBridge(ctx, e.host, old.Bridge, n.Bridge, &u); err != nil {
			return err
		}
	}
	for _, end := range []struct {
		side *rtnl.Conn
		link *rtnl.Link
	}{{w.host, e.host}, {w.inside, e.inside}} {
		if end.link == nil {
			continue
		}
		if err := resize(end.side, end.link, n, &u); err != nil {
			return err
		}
	}
	if n.mac != nil && !bytes.Equal(n.mac, e.inside.MAC) {
		if err := changeMAC(w.inside, e.inside, n.mac, &u); err != nil {
			return err
		}
	}
	left, err := w.changeAddress(e.inside.Index, old, n, keep, &u)
	if err != nil {
		return err
	}
	left.restore()
	t.Ledger.Make(nicName, r, n.is)
	return nil
}

// changeBridge takes the host's end from one bridge to another. It goes by the link, not
// by the record: a bridge that was made anew has lost its ports.
func (w *session) changeBridge(ctx context.Context, host *rtnl.Link, from, to string, u *undo.Stack) error {
	if from == to {
		if is, err := w.isPort(host, to); is || err != nil {
			return err
		}
	}
	b, err := w.bridge(ctx, to)
	if err != nil {
		return err
	}
	before := bridge{}
	if from != to {
		if before, err = w.bridge(ctx, from); err != nil && !errors.Is(err, errNoBridge) {
			return err
		}
	}
	if before.ovs {
		u.Push("return to "+from, func() error { return w.ovsAddPort(context.WithoutCancel(ctx), from, host.Name) })
		if err := w.ovsRemovePort(ctx, from, host.Name); err != nil {
			return err
		}
	}
	if b.ovs && !before.ovs && host.Bridge != 0 {
		u.Push("return to "+from, func() error { return w.setBridge(host.Index, host.Bridge) })
		if err := w.setBridge(host.Index, 0); err != nil {
			return err
		}
	}
	return b.attach(ctx, w, host, u)
}

// resize sets the link's MTU and queue length.
func resize(side *rtnl.Conn, link *rtnl.Link, n parsedNIC, u *undo.Stack) error {
	for _, c := range []struct {
		what     string
		same     bool
		old, now rtnl.LinkAttrs
	}{
		{opSetMTU, n.MTU == 0 || n.MTU == link.MTU, rtnl.LinkAttrs{MTU: link.MTU}, rtnl.LinkAttrs{MTU: n.MTU}},
		{opSetQueueLen, n.QueueLen == link.QueueLen, rtnl.LinkAttrs{QueueLen: &link.QueueLen}, rtnl.LinkAttrs{QueueLen: &n.QueueLen}},
	} {
		if c.same {
			continue
		}
		if err := side.SetLink(link.Index, c.now); err != nil {
			return wrapOp(c.what, err)
		}
		u.Push("restore "+link.Name, func() error { return side.SetLink(link.Index, c.old) })
	}
	return nil
}

// changeMAC sets the link's hardware address; a driver that wants it down for
// that gets it down, and up again.
func changeMAC(side *rtnl.Conn, link *rtnl.Link, mac net.HardwareAddr, u *undo.Stack) error {
	set := func(mac net.HardwareAddr) error {
		err := side.SetLink(link.Index, rtnl.LinkAttrs{MAC: mac})
		if !errors.Is(err, unix.EBUSY) || !link.Up {
			return wrapOp(opSetMAC, err)
		}
		down := false
		if err := side.SetLink(link.Index, rtnl.LinkAttrs{Up: &down}); err != nil {
			return wrapOp(opSetMAC, err)
		}
		err = wrapOp(opSetMAC, side.SetLink(link.Index, rtnl.LinkAttrs{MAC: mac}))
		return errors.Join(err, setUp(side, link.Index))
	}
	u.Push("restore hardware address", func() error { return set(link.MAC) })
	return set(mac)
}

// changeAddress puts n's address in the place of the one that was recorded, and of
// one that an update gave that was killed. They go first: the kernel makes a second
// address of a network depend on the first. It returns what else the link had.
func (w *session) changeAddress(index int, old NIC, n parsedNIC, all linkConfig, u *undo.Stack) (left linkConfig, err error) {
	before, _ := parseAddress(old.IP)
	left = all
	left.addresses = nil
	for _, a := range all.addresses {
		if a.Prefix == n.ip || a.Prefix != before && !a.Ours {
			left.addresses = append(left.addresses, a)
			continue
		}
		u.Push("restore address "+a.Prefix.String(), func() error { return w.addAddress(index, a.Prefix) })
		if err := w.inside.DeleteAddress(index, a.Prefix); err != nil {
			return left, wrapOp(opSetAddress, err)
		}
	}
	if !n.ip.IsValid() {
		return left, nil
	}
	if !slices.ContainsFunc(all.addresses, func(a rtnl.Address) bool { return a.Prefix == n.ip }) {
		u.Push("take back address "+n.IP, func() error { return w.inside.DeleteAddress(index, n.ip) })
	}
	return left, w.addAddress(index, n.ip)
}

// linkConfig are a link's addresses and routes.
type linkConfig struct {
	side      *rtnl.Conn
	index     int
	addresses []rtnl.Address
	routes    []rtnl.Route
}

// readConfig reads what the link has.
func readConfig(side *rtnl.Conn, index int) (k linkConfig, err error) {
	k.side, k.index = side, index
	if k.addresses, err = side.Addresses(index); err != nil {
		return k, err
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := side.Routes(family)
		if err != nil {
			return k, err
		}
		for _, r := range routes {
			if r.Link == index {
				k.routes = append(k.routes, r)
			}
		}
	}
	// A gateway may be behind a link route.
	sort.SliceStable(k.routes, func(a, b int) bool { return k.routes[a].GW.BitLen() < k.routes[b].GW.BitLen() })
	return k, nil
}

// restore brings back what is missing, as far as it still fits the link: a route
// from an address that is gone does not.
func (k *linkConfig) restore() {
	for _, a := range k.addresses {
		_ = k.side.RestoreAddress(k.index, a.Raw())
	}
	for _, r := range k.routes {
		_ = k.side.RestoreRoute(k.index, r.Raw())
	}
}
