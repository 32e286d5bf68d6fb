package network

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// made is, in the ledger, what a container was given as an interface.
type made struct {
	NS     rtnl.ID    // the network namespace
	Inside int        // index there
	Host   int        // index of a veth's end on the host, which the container cannot touch
	Was    *savedLink // the host's link, before it was lent
}

// savedLink is a link of the host as it was.
type savedLink struct {
	rtnl.Link
	Addresses, Routes [][]byte // as the kernel tells them
}

// saveLink looks at a link before it is lent.
func saveLink(host *rtnl.Conn, link *rtnl.Link) (*savedLink, error) {
	has, err := readConfig(host, link.Index)
	was := &savedLink{Link: *link}
	for _, a := range has.addresses {
		was.Addresses = append(was.Addresses, a.Raw())
	}
	for _, r := range has.routes {
		was.Routes = append(was.Routes, r.Raw())
	}
	return was, err
}

// Why a link that was lent is nowhere.
var (
	errInOtherNetNS = errors.New("it is in no network namespace of the container's processes: " +
		"look for it in the other namespaces (lsns -t net), return it by hand (ip link set LINK netns 1), " +
		"and remove its record (remove-nic --forget)")
	errDestroyed   = errors.New("the container has destroyed it")
	errNotInLedger = errors.New("the container has no link of that name, and nothing was noted when it was lent: " +
		"look for it in the container (nsenter -n -t PID ip link), return it by hand (ip link set LINK netns 1), and repeat")
)

// spaces are the network namespaces of the container's processes, that of its start
// first. Each is open while it is looked at.
func (w *session) spaces(err *error) iter.Seq[*rtnl.Namespace] {
	return func(yield func(*rtnl.Namespace) bool) {
		seen := map[string]bool{}
		if w.space != nil {
			id, e := w.space.ID()
			if *err = e; e != nil || !yield(w.space) {
				return
			}
			seen[fmt.Sprintf("net:[%d]", id.Ino)] = true
		}
		if w.Init.PID <= 0 {
			return
		}
		pids, e := w.Cgroups.Threads()
		*err = e
		for _, pid := range pids {
			ns, e := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
			if e != nil || seen[ns] {
				continue
			}
			seen[ns] = true
			s := rtnl.OfProcess(pid)
			if e := s.Open(); e != nil {
				if !errors.Is(e, rtnl.ErrHostNetwork) && !errors.Is(e, os.ErrNotExist) {
					*err = errors.Join(*err, e)
				}
				continue
			}
			more := yield(s)
			s.Close()
			if !more {
				return
			}
		}
	}
}

// findLent finds the link that was lent, which the container may have renamed, or moved to
// another namespace of its own, and calls found with it. On the host, from is nil.
func (w *session) findLent(n parsedNIC, found func(from *rtnl.Namespace, link *rtnl.Link) error) (err error) {
	was := n.is.Was
	var peer *rtnl.Link // the host's end of a pair, which says where the other one is
	if was != nil && was.Kind == "veth" && was.PeerNS < 0 && was.Peer > 0 {
		if peer, err = w.host.LinkAt(was.Peer); err != nil {
			return wrapOp("look for the other end of "+was.Name, err)
		}
		if peer != nil && peer.Kind != "veth" {
			peer = nil
		}
	}
	moved := false // the host's end may have been
	for s := range w.spaces(&err) {
		if link, e := w.findLentIn(s, n, peer, &moved); link != nil {
			return found(s, link)
		} else if e != nil {
			return wrapOp("look for link "+n.HostName, e)
		}
	}
	if err != nil {
		return err
	}
	if link, err := w.findLentIn(nil, n, peer, &moved); link != nil || err != nil {
		if err != nil {
			return wrapOp("look for link "+n.HostName, err)
		}
		return found(nil, link)
	}
	switch {
	case was == nil:
		return errNotInLedger
	case peer != nil, !w.containerEnded && (moved || was.Kind != "veth" || was.PeerNS >= 0):
		return errInOtherNetNS
	}
	return errDestroyed // with the host's end of a pair, or with its namespace
}

// findLentIn looks for the link in a namespace; nil: the host's. abroad: there is a pair's
// end whose other end is in a namespace that is not this one.
func (w *session) findLentIn(s *rtnl.Namespace, n parsedNIC, peer *rtnl.Link, abroad *bool) (*rtnl.Link, error) {
	side := w.host
	switch {
	case peer != nil:
		return w.peerOf(s, peer)
	case s == nil && n.is.Was == nil:
		return linkByName(w.host, n.HostName) // it came back, whoever returned it
	case s != nil:
		side = s.Inside
	}
	links, err := side.Links()
	// The one with its number first: others may be on top of the same link.
	if i := slices.IndexFunc(links, func(l *rtnl.Link) bool { return l.Index == n.is.Inside }); i > 0 {
		links[0], links[i] = links[i], links[0]
	}
	for _, l := range links {
		is := false
		switch {
		case n.is.Was != nil:
			is, err = w.isLent(n.is, l, s)
		case s == w.space && l.Name == n.Name || l.Alias == n.legacyAlias():
			is, err = s.IsHostLink(l)
		}
		if is || err != nil {
			return l, err
		}
		*abroad = *abroad || s != nil && l.Kind == "veth" && l.PeerNS >= 0
	}
	return nil, err
}

// peerOf is the other end of a pair of the host's, if it is in a namespace; nil: the
// host's.
func (w *session) peerOf(s *rtnl.Namespace, near *rtnl.Link) (*rtnl.Link, error) {
	side, here, err := w.host, near.PeerNS < 0, error(nil)
	if s != nil {
		side = s.Inside
		here, err = s.HasPeerOf(near)
	}
	if !here || err != nil {
		return nil, err
	}
	return side.LinkAt(near.Peer)
}

// legacyAlias is the ifalias that an older version gave a link of the host while the
// container had it.
func (n parsedNIC) legacyAlias() string { return legacyAliasOf(n.HostName) }

func legacyAliasOf(hostName string) string { return "isulad-tools " + hostName }

// returnToHost gives the host's link back to it under its name, and makes it what it
// was. What that does not come to is a warning: the link is back.
func (w *session) returnToHost(n parsedNIC, from *rtnl.Namespace, link *rtnl.Link) error {
	name, told := n.HostName, error(nil)
	taken, err := linkByNameOrAltName(w.host, name)
	if err != nil {
		return err
	}
	if taken != nil && (from != nil || taken.Index != link.Index) {
		if !w.containerEnded {
			return fmt.Errorf("the host has another nic with name %s now", name)
		}
		if name, err = freeName(w.host, name); err != nil {
			return err
		}
		told = fmt.Errorf("the host has another nic with name %s now, the container's is returned as %s", n.HostName, name)
	}
	if from != nil {
		if err := w.deleteUppers(n.is, from, link); err != nil {
			return err
		}
		if err := w.deleteAltNames(n.is.Was, from, link); err != nil {
			return err
		}
		err = wrapOp(opMoveLink, from.Inside.SetLink(link.Index, rtnl.LinkAttrs{Name: name, NS: from.HostFD()}))
	} else if link.Name != name {
		err = rename(w.host, link.Index, name)
	}
	if err != nil {
		return err
	}
	back, err := linkByName(w.host, name)
	if back == nil || err != nil {
		return errors.Join(err, told)
	}
	return resource.Warn(errors.Join(told, w.restore(n, back)))
}

// deleteUppers deletes what the container has put on top of the link, which would go
// on using it. What the host has put there, and has lent too, stays.
func (w *session) deleteUppers(m made, s *rtnl.Namespace, link *rtnl.Link) error {
	links, err := s.Inside.Links()
	for _, l := range links {
		if err != nil || l.Peer != link.Index || l.Index == link.Index || l.Kind == "veth" || l.PeerNS >= 0 {
			continue
		}
		var keep bool
		if keep, err = w.mayBeLent(m, s, l); err == nil && !keep {
			err = wrapOp(opDeleteLink, s.Inside.DeleteLink(l.Index))
		}
	}
	return err
}

// deleteAltNames takes the names that the container gave the link, and those by which the
// host finds another one: the kernel would refuse the move. The host's own stay.
func (w *session) deleteAltNames(was *savedLink, from *rtnl.Namespace, link *rtnl.Link) error {
	for _, name := range link.AltNames {
		taken, err := linkByNameOrAltName(w.host, name)
		if err != nil {
			return err
		}
		if taken == nil && (was == nil || slices.Contains(was.AltNames, name)) {
			continue
		}
		if err := wrapOp("drop alternative name "+name, from.Inside.DeleteAltName(link.Index, name)); err != nil {
			return err
		}
	}
	return nil
}

// restore makes a link that came back what it was, as far as that is known and the
// kernel lets it be.
func (w *session) restore(n parsedNIC, back *rtnl.Link) error {
	none, was := "", n.is.Was
	if was == nil {
		if back.Alias != n.legacyAlias() {
			return nil
		}
		return wrapOp("restore alias", w.host.SetLink(back.Index, rtnl.LinkAttrs{Alias: &none}))
	}
	var errs []error
	for _, c := range []struct {
		what string
		same bool
		was  rtnl.LinkAttrs
	}{
		{"MTU", back.MTU == was.MTU, rtnl.LinkAttrs{MTU: was.MTU}},
		{"hardware address", bytes.Equal(back.MAC, was.MAC), rtnl.LinkAttrs{MAC: was.MAC}},
		{"queue length", back.QueueLen == was.QueueLen, rtnl.LinkAttrs{QueueLen: &was.QueueLen}},
		{"alias", back.Alias == was.Alias, rtnl.LinkAttrs{Alias: &was.Alias}},
		{"bridge", was.Bridge == 0 || back.Bridge == was.Bridge, rtnl.LinkAttrs{Bridge: &was.Bridge}},
		{"state", back.Up == was.Up, rtnl.LinkAttrs{Up: &was.Up}},
	} {
		if c.same {
			continue
		}
		if err := w.host.SetLink(back.Index, c.was); err != nil {
			errs = append(errs, fmt.Errorf("its %s is not restored: %w", c.what, err))
		}
	}
	for _, name := range was.AltNames {
		if slices.Contains(back.AltNames, name) {
			continue
		}
		if err := w.host.AddAltName(back.Index, name); err != nil {
			errs = append(errs, fmt.Errorf("its alternative name %s is not restored: %w", name, err))
		}
	}
	for _, l := range []struct {
		what    string
		list    [][]byte
		restore func(int, []byte) error
	}{{"addresses", was.Addresses, w.host.RestoreAddress}, {"routes", was.Routes, w.host.RestoreRoute}} {
		for _, raw := range l.list {
			if err := l.restore(back.Index, raw); err != nil {
				errs = append(errs, fmt.Errorf("not all of its %s are restored: %w", l.what, err))
				break
			}
		}
	}
	return errors.Join(errs...)
}
