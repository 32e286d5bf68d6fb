package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/resource"
)

// made is, in the ledger, what a container was given as an interface.
type made struct {
	NS     netspace.ID // the network namespace
	Inside int         // index there
	Host   int         // index of a veth's end on the host, which the container cannot touch
	Was    *lent       // the host's link, before it was lent
}

// lent is a link of the host as it was.
type lent struct {
	netspace.Link
	Addresses, Routes [][]byte // as the kernel tells them
}

// lend looks at a link before it is lent.
func lend(host *netspace.Side, link *netspace.Link) (*lent, error) {
	has, err := remember(host, link.Index)
	if err != nil {
		return nil, err
	}
	was := &lent{Link: *link}
	for _, a := range has.addresses {
		was.Addresses = append(was.Addresses, a.Raw())
	}
	for _, r := range has.routes {
		was.Routes = append(was.Routes, r.Raw())
	}
	return was, nil
}

// peered tells whether the link is one end of a pair whose other end is the host's:
// that says where the link is, whatever the container does.
func (l *lent) peered() bool { return l.Kind == "veth" && l.PeerNS < 0 && l.Peer > 0 }

// is tells whether link, found in a namespace, is the one that was lent. The
// address of the hardware cannot be forged; without one it is the number.
func (m made) is(link *netspace.Link, ns netspace.ID) bool {
	switch was := m.Was; {
	case link.Kind != was.Kind || was.peered():
		return false
	case len(was.PermMAC) > 0:
		return bytes.Equal(link.PermMAC, was.PermMAC)
	case was.Kind == "veth":
		return ns == m.NS && link.Index == m.Inside && link.Peer == was.Peer
	default: // what is made on top of a link names that
		return ns == m.NS && link.Index == m.Inside && (link.Peer == was.Peer || was.Peer == 0)
	}
}

// errHeld says that a link is the container's still, and cannot be reached.
var errHeld = errors.New("it is in a network namespace that none of the container's processes is in")

// errDestroyed says that a link exists no more.
var errDestroyed = errors.New("the container has destroyed it")

// findLent finds the link that was lent: the container may have renamed it, or
// moved it to another namespace of its own. On the host, from is nil. found is
// called while the namespace is open.
func (w *work) findLent(m made, found func(from *netspace.Space, link *netspace.Link) error) error {
	var peer *netspace.Link
	var err error
	if m.Was.peered() {
		if peer, err = w.host.LinkAt(m.Was.Peer); err != nil {
			return refused("look for the other end of "+m.Was.Name, err)
		}
		if peer == nil || peer.Kind != "veth" {
			return errDestroyed
		}
	}
	at := func(side *netspace.Side, here bool, ns netspace.ID) (*netspace.Link, error) {
		if peer != nil {
			if !here {
				return nil, nil
			}
			return side.LinkAt(peer.Peer)
		}
		links, err := side.Links()
		for _, l := range links {
			if m.is(l, ns) {
				return l, err
			}
		}
		return nil, err
	}
	link, err := at(w.host, peer != nil && peer.PeerNS < 0, netspace.ID{})
	switch {
	case err != nil:
		return refused("look for link "+m.Was.Name, err)
	case link != nil:
		return found(nil, link)
	}
	done, err := w.each(func(s *netspace.Space) (bool, error) {
		here := false
		if peer != nil {
			if here, err = s.Peered(peer); err != nil {
				return false, err
			}
		}
		ns, err := s.ID()
		if err != nil {
			return false, err
		}
		link, err := at(s.Inside, here, ns)
		if link == nil || err != nil {
			return false, err
		}
		return true, found(s, link)
	})
	switch {
	case done || err != nil:
		return err
	case peer != nil || len(m.Was.PermMAC) > 0:
		return errHeld
	}
	return errDestroyed
}

// each is do for the network namespaces of the container's processes, that of its
// start first, until one is done.
func (w *work) each(do func(*netspace.Space) (done bool, err error)) (done bool, err error) {
	seen := map[string]bool{}
	if w.space != nil {
		if done, err := do(w.space); done || err != nil {
			return done, err
		}
		id, err := w.space.ID()
		if err != nil {
			return false, err
		}
		seen[fmt.Sprintf("net:[%d]", id.Ino)] = true
	}
	if w.Init.PID <= 0 {
		return false, nil
	}
	pids, err := w.Cgroups.Processes()
	for _, pid := range pids {
		ns, e := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if e != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		s := netspace.OfProcess(pid)
		if e := s.Open(); e != nil {
			if !errors.Is(e, netspace.ErrHost) && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
			continue
		}
		done, e := do(s)
		s.Close()
		if done || e != nil {
			return done, e
		}
	}
	return false, err
}

// giveBack gives the host's link back to it under its name, and makes it what it
// was. What that does not come to is a warning: the link is back.
func (w *work) giveBack(n nic, from *netspace.Space, link *netspace.Link) error {
	name, told := n.HostName, error(nil)
	taken, err := lookUp(w.host, name)
	if err != nil {
		return err
	}
	if taken != nil && (from != nil || taken.Index != link.Index) {
		if !w.ended {
			return fmt.Errorf("the host has another nic with name %s now", name)
		}
		if name, err = freeName(w.host, name); err != nil {
			return err
		}
		told = fmt.Errorf("the host has another nic with name %s now, the container's is returned as %s", n.HostName, name)
	}
	index := link.Index
	if from != nil {
		if err := dropAbove(from.Inside, link); err != nil {
			return err
		}
		if err := from.Inside.Set(link.Index, netspace.Attributes{Name: name, NS: from.HostFD()}); err != nil {
			return refused(moveLink, err)
		}
	} else if link.Name != name {
		down := false
		err := errors.Join(w.host.Set(index, netspace.Attributes{Up: &down}), w.host.Set(index, netspace.Attributes{Name: name}))
		if err != nil {
			return refused(setName, err)
		}
	}
	back, err := find(w.host, name)
	if back == nil || err != nil {
		return errors.Join(err, told)
	}
	return resource.Warn(errors.Join(told, w.restore(n, back)))
}

// dropAbove deletes what the container has put on top of the link, which would go
// on using it.
func dropAbove(side *netspace.Side, link *netspace.Link) error {
	links, err := side.Links()
	if err != nil {
		return refused("list links", err)
	}
	for _, l := range links {
		if l.Peer == link.Index && l.Index != link.Index && l.Kind != "veth" && l.PeerNS < 0 {
			if err := side.Delete(l.Index); err != nil {
				return refused(dropLink, err)
			}
		}
	}
	return nil
}

// restore makes a link that came back what it was, as far as that is known and the
// kernel lets it be.
func (w *work) restore(n nic, back *netspace.Link) error {
	none, was := "", n.is.Was
	if was == nil {
		if back.Alias != n.mark() {
			return nil
		}
		return refused("restore alias", w.host.Set(back.Index, netspace.Attributes{Alias: &none}))
	}
	var errs []error
	set := func(what string, differs bool, to netspace.Attributes) {
		if differs {
			if err := w.host.Set(back.Index, to); err != nil {
				errs = append(errs, fmt.Errorf("its %s is not as before: %w", what, err))
			}
		}
	}
	set("MTU", back.MTU != was.MTU, netspace.Attributes{MTU: was.MTU})
	set("hardware address", !bytes.Equal(back.MAC, was.MAC), netspace.Attributes{MAC: was.MAC})
	set("queue length", back.QueueLen != was.QueueLen, netspace.Attributes{QueueLen: &was.QueueLen})
	set("alias", back.Alias != was.Alias, netspace.Attributes{Alias: &was.Alias})
	set("bridge", was.Bridge != 0 && back.Bridge != was.Bridge, netspace.Attributes{Bridge: &was.Bridge})
	set("state", back.Up != was.Up, netspace.Attributes{Up: &was.Up})
	for i, list := range [][][]byte{was.Addresses, was.Routes} {
		for _, raw := range list {
			if err := w.host.ReturnRaw(back.Index, raw, i == 1); err != nil {
				errs = append(errs, fmt.Errorf("it has not all of its %s of before: %w", []string{"addresses", "routes"}[i], err))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// destroyed makes errDestroyed a warning: nobody will have the link again.
func destroyed(err error) error {
	if errors.Is(err, errDestroyed) {
		return resource.Warn(err)
	}
	return err
}
