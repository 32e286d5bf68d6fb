package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

func applyNIC(ctx context.Context, t *resource.Target, r NIC) (err error) {
	n, err := r.parse()
	if err != nil {
		return err
	}
	w, err := enter(t)
	if err != nil {
		return err
	}
	var u undo.Stack
	defer u.OnError(&err)
	index, err := n.apply(ctx, w, n, &u)
	if err != nil {
		return err
	}
	if err := addAddress(w.inside, index, n.ip); err != nil {
		return err
	}
	return refused(setUp, w.inside.LinkSetUp(byIndex(index)))
}

// byIndex names a link for a request that needs no more of it.
func byIndex(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// address is the kernel's form of an interface's address. An IPv6 one is usable
// at once: a container does not start again because its address was tentative
// when it looked.
func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addAddress gives the link an address; one that it has is fine.
func addAddress(side *netspace.Side, index int, p netip.Prefix) error {
	err := side.AddrAdd(byIndex(index), address(p))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return refused(setIP, err)
}

// dropAddress takes an address away; one that is gone is fine.
func dropAddress(side *netspace.Side, index int, p netip.Prefix) error {
	err := side.AddrDel(byIndex(index), &netlink.Addr{IPNet: ipNet(p)})
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return refused(setIP, err)
}

func removeNIC(ctx context.Context, t *resource.Target, r NIC) error {
	w, err := enter(t)
	if err != nil {
		return err
	}
	return w.take(ctx, r)
}

// take removes an interface, also one whose record this version would refuse to
// apply: somebody has recorded it, and it may be there.
func (w *work) take(ctx context.Context, r NIC) error {
	n := nic{NIC: r, linkType: typeOf(r.Type)}
	if n.linkType == nil {
		return nil // such a one cannot have been made
	}
	return n.remove(ctx, w, n)
}

func verifyNIC(_ context.Context, t *resource.Target, r NIC) error {
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
		return errors.New("the container has no such link")
	}
	addresses, err := w.inside.AddrList(e.inside, netlink.FAMILY_ALL)
	if err != nil {
		return refused("list addresses", err)
	}
	for _, a := range addresses {
		if a.IPNet.String() == ipNet(n.ip).String() {
			return nil
		}
	}
	return fmt.Errorf("%s has not the address %s", n.Name, n.IP)
}
