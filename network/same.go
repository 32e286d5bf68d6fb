package network

import (
	"bytes"
	"encoding/json"
	"slices"

	"isula.org/isulad-tools/internal/rtnl"
)

// hasIndex tells whether link, in a namespace of the container's, has the number that the one
// had that was lent, where it was put.
func (m made) hasIndex(s *rtnl.Namespace, link *rtnl.Link) (bool, error) {
	ns, err := s.ID()
	return link.Index == m.Inside && ns == m.NS, err
}

// isLent tells whether link is the link that was lent; without a namespace it is on the
// host, where no container makes one. The address of the hardware cannot be forged, of
// software it can. What a link of software is on top of cannot be forged either while
// the host has that, or the container was lent it.
func (w *session) isLent(m made, link *rtnl.Link, s *rtnl.Namespace) (bool, error) {
	was := m.Was
	switch {
	case link.Kind != was.Kind:
		return false, nil
	case was.Kind == "" && len(was.PermMAC) > 0:
		return bytes.Equal(link.PermMAC, was.PermMAC), nil
	case s == nil:
		return link.Index == was.Index && link.Name == was.Name, nil
	}
	at, err := m.hasIndex(s, link)
	switch {
	case err != nil:
		return false, err
	case was.Peer == 0:
		return at && was.Kind != "veth", nil
	case link.PeerNS < 0: // what it is on top of may be lent to the container, too
		return at && w.lowerIsLent(m, link), nil
	case was.Kind == "veth", was.PeerNS >= 0: // in a namespace that we do not have
		return at && link.Peer == was.Peer, nil
	}
	host, err := s.IsHostLink(&rtnl.Link{Kind: "veth", PeerNS: link.PeerNS}) // whether that is the host's number
	return host && link.Peer == was.Peer && (at || !w.siblingIsLent(m)), err
}

// otherLent are the other links that the container was lent.
func (w *session) otherLent(m made) (list []made) {
	for _, g := range slices.Concat(w.Ledger.Grants(nicName, true), w.Ledger.Grants(nicName, false)) {
		var is made
		if g.Made != nil && json.Unmarshal(g.Made, &is) == nil && is.Was != nil && (m.Was == nil || is.Was.Name != m.Was.Name) {
			list = append(list, is)
		}
	}
	return list
}

// lowerIsLent tells whether the container was lent what the link is on top of, too.
func (w *session) lowerIsLent(m made, link *rtnl.Link) bool {
	return link.Kind != "veth" && slices.ContainsFunc(w.otherLent(m), func(o made) bool { return o.hasHadIndex(m.Was.Peer) || o.Inside == link.Peer })
}

// hasHadIndex tells whether a link is the one with this number, of before it was lent or now.
func (m made) hasHadIndex(index int) bool {
	return index > 0 && (m.Was != nil && m.Was.Index == index || m.Inside == index)
}

// siblingIsLent tells whether it was lent another link that is on top of the same one: only
// their numbers tell them apart.
func (w *session) siblingIsLent(m made) bool {
	return slices.ContainsFunc(w.otherLent(m), func(o made) bool { return o.Was.Kind == m.Was.Kind && o.Was.Peer == m.Was.Peer })
}

// mayBeLent tells whether a link on top of the one that goes is the host's: it has the
// number of one that was lent, or such a one is not where it was put.
func (w *session) mayBeLent(m made, s *rtnl.Namespace, link *rtnl.Link) (bool, error) {
	for _, o := range w.otherLent(m) {
		if o.Was.Kind != link.Kind {
			continue
		}
		if at, err := o.hasIndex(s, link); at || err != nil {
			return at, err
		}
		if !m.hasHadIndex(o.Was.Peer) {
			continue
		}
		there, err := s.Inside.LinkAt(o.Inside)
		if err != nil {
			return false, err
		}
		if there != nil {
			if at, err := o.hasIndex(s, there); err != nil || at && there.Kind == o.Was.Kind {
				continue
			}
		}
		return true, nil
	}
	return false, nil
}
