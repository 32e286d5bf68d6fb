package network

import (
	"bytes"
	"context"
	"errors"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// updateNIC makes the interface old what r is, which has the same type and
// names. One that has gone is made anew.
func updateNIC(ctx context.Context, t *resource.Target, old, r NIC) (err error) {
	n, err := r.parse()
	if err != nil {
		return err
	}
	w, err := enter(t)
	if err != nil {
		return err
	}
	e, err := n.find(w, n)
	if err != nil {
		return err
	}
	if e.inside == nil {
		return applyNIC(ctx, t, r)
	}
	// What the kernel drops on the way, and is not ours to drop, comes back.
	keep, err := remember(w.inside, e.inside)
	if err != nil {
		return err
	}
	var u undo.Stack
	defer u.OnError(&err)
	u.Push("restore addresses and routes", func() error { keep.restore(); return nil })
	if n.Bridge != old.Bridge {
		if err := w.changeBridge(ctx, e.host, old.Bridge, n.Bridge, &u); err != nil {
			return err
		}
	}
	for _, end := range []struct {
		side *netspace.Side
		link netlink.Link
	}{{w.host, e.host}, {w.inside, e.inside}} {
		if end.link == nil {
			continue
		}
		if err := resize(end.side, end.link, n, &u); err != nil {
			return err
		}
	}
	if n.mac != nil && !bytes.Equal(n.mac, e.inside.Attrs().HardwareAddr) {
		if err := changeMAC(w.inside, e.inside, n.mac, &u); err != nil {
			return err
		}
	}
	if err := w.changeAddress(e.inside.Attrs().Index, old, n, &u); err != nil {
		return err
	}
	keep.except(old.IP)
	keep.restore()
	return nil
}

// changeBridge takes the host's end from one bridge to another.
func (w *work) changeBridge(ctx context.Context, host netlink.Link, from, to string, u *undo.Stack) error {
	b, err := w.bridge(ctx, to)
	if err != nil {
		return err
	}
	before, err := w.bridge(ctx, from)
	if errors.Is(err, errNoBridge) {
		before, err = bridge{}, nil
	}
	if err != nil {
		return err
	}
	if before.ovs {
		var none undo.Stack
		u.Push("return to "+from, func() error { return before.join(context.WithoutCancel(ctx), w, host, &none) })
		if err := w.leaveSwitch(ctx, from, host.Attrs().Name); err != nil {
			return err
		}
	}
	if b.ovs && host.Attrs().MasterIndex != 0 && !before.ovs {
		was := host.Attrs().MasterIndex
		u.Push("return to "+from, func() error { return refused(join, w.host.LinkSetMasterByIndex(host, was)) })
		if err := w.host.LinkSetNoMaster(host); err != nil {
			return refused(join, err)
		}
	}
	return b.join(ctx, w, host, u)
}

// resize sets the link's MTU and queue length.
func resize(side *netspace.Side, link netlink.Link, n nic, u *undo.Stack) error {
	was := link.Attrs()
	for _, c := range []struct {
		what      string
		old, want int
		set       func(netlink.Link, int) error
	}{
		{setMTU, was.MTU, n.MTU, side.LinkSetMTU},
		{setQueue, was.TxQLen, n.QueueLen, side.LinkSetTxQLen},
	} {
		if c.old == c.want || c.what == setMTU && c.want == 0 {
			continue
		}
		if err := c.set(link, c.want); err != nil {
			return refused(c.what, err)
		}
		u.Push(c.what, func() error { return c.set(link, c.old) })
	}
	return nil
}

// changeMAC sets the link's hardware address; a driver that wants it down for
// that gets it down, and up again.
func changeMAC(side *netspace.Side, link netlink.Link, mac net.HardwareAddr, u *undo.Stack) error {
	was := link.Attrs()
	set := func(mac net.HardwareAddr) error {
		err := side.LinkSetHardwareAddr(link, mac)
		if !errors.Is(err, unix.EBUSY) || was.RawFlags&unix.IFF_UP == 0 {
			return refused(setMAC, err)
		}
		if err := side.LinkSetDown(link); err != nil {
			return refused(setMAC, err)
		}
		err = refused(setMAC, side.LinkSetHardwareAddr(link, mac))
		return errors.Join(err, refused(setUp, side.LinkSetUp(link)))
	}
	u.Push("restore hardware address", func() error { return set(was.HardwareAddr) })
	return set(mac)
}

// changeAddress puts n's address in the place of the one that was recorded,
// which goes first: the kernel makes a second address of a network depend on
// the first.
func (w *work) changeAddress(index int, old NIC, n nic, u *undo.Stack) error {
	before, err := parseAddress(old.IP)
	known := err == nil
	if known && before == n.ip {
		return addAddress(w.inside, index, n.ip)
	}
	if known {
		u.Push("restore address "+old.IP, func() error { return addAddress(w.inside, index, before) })
		if err := dropAddress(w.inside, index, before); err != nil {
			return err
		}
	}
	u.Push("take back address "+n.IP, func() error { return dropAddress(w.inside, index, n.ip) })
	return addAddress(w.inside, index, n.ip)
}

// kept are a link's addresses and routes.
type kept struct {
	side      *netspace.Side
	link      netlink.Link
	addresses []netlink.Addr
	routes    []netlink.Route
}

// remember reads what the link has that the kernel did not make by itself.
func remember(side *netspace.Side, link netlink.Link) (k kept, err error) {
	k = kept{side: side, link: link}
	if k.addresses, err = side.AddrList(link, netlink.FAMILY_ALL); err != nil {
		return k, refused("list addresses", err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := side.RouteList(link, family)
		if err != nil {
			return k, refused("list routes", err)
		}
		for _, r := range routes {
			if r.Protocol != unix.RTPROT_KERNEL && r.Protocol != unix.RTPROT_RA {
				k.routes = append(k.routes, r)
			}
		}
	}
	return k, nil
}

// except forgets an address.
func (k *kept) except(ip string) {
	for i, a := range k.addresses {
		if a.IPNet.String() == ip {
			k.addresses = append(k.addresses[:i:i], k.addresses[i+1:]...)
			return
		}
	}
}

// restore brings back what is missing, as far as it still fits the link: a route
// from an address that is gone does not.
func (k *kept) restore() {
	for _, a := range k.addresses {
		if a.Scope == unix.RT_SCOPE_UNIVERSE {
			_ = k.side.AddrAdd(k.link, &a)
		}
	}
	for _, r := range k.routes {
		_ = k.side.RouteAdd(&r)
	}
}
