package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/rtnl"
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
	t.Ledger.Made(nicName, r, &n.is)
	var u undo.Stack
	defer u.OnError(&err)
	if n.is, err = n.apply(ctx, w, n, &u); err != nil {
		return err
	}
	t.Ledger.Make(nicName, r, n.is)
	if n.ip.IsValid() {
		if err := w.addAddress(n.is.Inside, n.ip); err != nil {
			return err
		}
	}
	return setUp(w.inside, n.is.Inside)
}

// addAddress gives the container's link an address; one that it has is fine. IPv6 that
// the container has switched off (net.ipv6.conf.*.disable_ipv6, Docker's default) is
// switched on for that link, as CNI does.
func (w *session) addAddress(index int, p netip.Prefix) error {
	var all netip.Addr
	if p.Addr().Is4() && p.Bits() < 31 {
		all = broadcast(p)
	}
	err := w.inside.AddAddress(index, p, all)
	if errors.Is(err, unix.EACCES) && p.Addr().Is6() {
		if err = w.space.EnableIPv6(index); err == nil {
			err = w.inside.AddAddress(index, p, all)
		}
	}
	return wrapOp(opSetAddress, err)
}

func removeNIC(ctx context.Context, t *resource.Target, r NIC) error {
	w, err := enter(t)
	if err != nil {
		return err
	}
	var is made
	t.Ledger.Made(nicName, r, &is)
	return w.remove(ctx, r, is)
}

// remove removes an interface, also one whose record this version would refuse to
// apply: somebody has recorded it, and it may be there.
func (w *session) remove(ctx context.Context, r NIC, is made) error {
	n := parsedNIC{NIC: r, linkType: typeOf(r.Type), is: is}
	if n.linkType == nil {
		return nil // such a one cannot have been made
	}
	return n.remove(ctx, w, n)
}

// locate finds the ends of the interface that r records, by what the ledger has of it.
func (r NIC) locate(t *resource.Target) (w *session, n parsedNIC, e linkEnds, err error) {
	if n, err = r.parse(); err != nil {
		return w, n, e, err
	}
	if w, err = enter(t); err != nil {
		return w, n, e, err
	}
	t.Ledger.Made(nicName, r, &n.is)
	e, err = n.find(w, n)
	return w, n, e, err
}

func verifyNIC(_ context.Context, t *resource.Target, r NIC) error {
	w, n, e, err := r.locate(t)
	if err != nil {
		return err
	}
	if e.inside == nil {
		return errors.New("the container has no such link")
	}
	addresses, err := w.inside.Addresses(e.inside.Index)
	if err != nil {
		return err
	}
	if n.ip.IsValid() && !slices.ContainsFunc(addresses, func(a rtnl.Address) bool { return a.Prefix == n.ip }) {
		return fmt.Errorf("%s does not have the address %s", n.Name, n.IP)
	}
	return nil
}
