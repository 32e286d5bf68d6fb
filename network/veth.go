package network

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

func checkVeth(n NIC) error {
	if n.Bridge == "" {
		return errors.New("bridge must be specified")
	}
	return nil
}

// hostNameTaken is that a veth cannot have its name on the host.
func hostNameTaken(name string) error {
	//lint:ignore ST1005 the wording of v0.9
	return fmt.Errorf("Host has nic with name %s, please choose another one", name)
}

// findVeth goes from the host's end, which the container cannot rename, to the
// other, wherever that is. A link that has its name but no end in the container is
// somebody else's, unless the ledger knows its number.
func findVeth(w *session, n parsedNIC) (e linkEnds, err error) {
	var host *rtnl.Link
	if n.is.Host > 0 {
		host, err = w.host.LinkAt(n.is.Host)
	} else if w.space != nil {
		host, err = linkByName(w.host, n.HostName)
	}
	if host == nil || err != nil || host.Kind != "veth" {
		return e, wrapOp("look for link "+n.HostName, err)
	}
	if n.is.Host > 0 {
		e.host = host
	}
	for s := range w.spaces(&err) {
		far, err := w.peerOf(s, host)
		if err != nil {
			return e, wrapOp("look for link "+n.Name, err)
		}
		if far != nil {
			e.host = host
		}
		if far != nil && s == w.space {
			e.inside = far
		}
		if far != nil {
			break
		}
	}
	return e, err
}

func applyVeth(ctx context.Context, w *session, n parsedNIC, u *undo.Stack) (is made, err error) {
	b, err := w.bridge(ctx, n.Bridge)
	if err != nil {
		return is, err
	}
	if is.NS, err = w.space.ID(); err != nil {
		return is, err
	}
	// The peer is born in the container's namespace under its own name, and the
	// host's end up and in its bridge. The peer cannot be up yet: the other end is
	// not there when the kernel makes it.
	up := true
	end := rtnl.LinkAttrs{Name: n.HostName, MTU: n.MTU, QueueLen: &n.QueueLen, MAC: portMAC(), Up: &up}
	if !b.ovs {
		w.fixMAC(b)
		end.Bridge = &b.index
	}
	peer := rtnl.LinkAttrs{Name: n.Name, MTU: n.MTU, QueueLen: &n.QueueLen, MAC: n.mac, NS: w.space.FD()}
	err = w.host.AddVeth(end, peer)
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return is, wrapOp(opAddVeth, err)
	}
	if made {
		n.is.Host = 0 // that of before is gone
		u.Push("delete link "+n.HostName, func() error { return w.deleteVeth(n) })
	}
	var host *rtnl.Link
	if made {
		if host, err = linkByName(w.host, n.HostName); err == nil && host == nil {
			err = errGone
		}
	} else {
		host, err = w.findInterrupted(n)
	}
	if err != nil {
		return is, err
	}
	if !made || b.ovs {
		err = b.attach(ctx, w, host, u)
	}
	is.Host, is.Inside = host.Index, host.Peer
	return is, err
}

// findInterrupted returns the host's end of a pair that a run made before it was killed.
// When there is none, one of the names is in somebody else's use.
func (w *session) findInterrupted(n parsedNIC) (*rtnl.Link, error) {
	e, err := findVeth(w, n)
	if err != nil {
		return nil, err
	}
	if e.inside != nil && e.inside.Name == n.Name {
		return e.host, setUp(w.host, e.host.Index)
	}
	if host, err := linkByNameOrAltName(w.host, n.HostName); host != nil || err != nil {
		return nil, errors.Join(err, hostNameTaken(n.HostName))
	}
	return nil, fmt.Errorf("the container has a nic with name %s", n.Name)
}

// deleteVeth deletes both ends, by the host's.
func (w *session) deleteVeth(n parsedNIC) error {
	e, err := findVeth(w, n)
	if e.host == nil || err != nil {
		return err
	}
	return wrapOp(opDeleteLink, w.host.DeleteLink(e.host.Index))
}

func removeVeth(ctx context.Context, w *session, n parsedNIC) error {
	e, err := findVeth(w, n)
	if err != nil {
		return err
	}
	if e.host == nil && n.is.Host == 0 { // a link of that name may be somebody else's
		link, err := linkByNameOrAltName(w.host, n.HostName)
		switch {
		case err != nil, link != nil && w.containerEnded:
			return resource.Warn(err)
		case link != nil && link.Kind == "veth" && link.PeerNS >= 0:
			return resource.Warn(fmt.Errorf("the other end of %s is in a network namespace that none of the container's processes is in, and nothing was noted when it was made: "+
				"if it is the container's, delete it (ip link del %s)", n.HostName, n.HostName))
		}
	}
	// First, for when it fails, nothing is changed yet.
	left := w.ovsForgetPort(ctx, n.Bridge, n.HostName)
	if left != nil && !w.containerEnded {
		return left
	}
	if e.host != nil {
		if err := w.host.DeleteLink(e.host.Index); err != nil {
			return errors.Join(left, wrapOp(opDeleteLink, err))
		}
	}
	return resource.Warn(left)
}

// deleteVeths deletes the pairs of a container that has ended, together. What it does
// not come to is left to remove.
func (w *session) deleteVeths(grants []*grant) {
	var links []int
	for _, g := range grants {
		if t := typeOf(g.Type); t == nil || t.name != "veth" {
			continue
		}
		if e, err := findVeth(w, parsedNIC{NIC: g.NIC, is: g.is}); err == nil && e.host != nil {
			links = append(links, e.host.Index)
		}
	}
	if len(links) > 1 {
		_ = w.host.DeleteLinks(links)
	}
}
