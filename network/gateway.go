package network

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/rtnl"
)

// unreachable is what the kernel says of a route whose gateway is in no network of
// the container's.
func unreachable(gw netip.Addr) error {
	if gw.Is4() {
		return unix.ENETUNREACH
	}
	return unix.EHOSTUNREACH
}

// addOffSubnet adds a route whose gateway is in no network of the container's, as hosters
// give it to an address of its own (/32). A link route to the gateway, which v0.9 and
// AddRoute make of scope universe, gets scope link: through another one the kernel
// looks for no gateway of IPv4. Without such a route the gateway is on the link that
// is wanted.
func (w *session) addOffSubnet(want rtnl.Route) (onLink bool, err error) {
	link, there, err := w.routeTo(want)
	if err != nil {
		return false, err
	}
	err = unreachable(want.GW)
	if there {
		if err := w.inside.SetScope(link, unix.RT_SCOPE_LINK); err != nil {
			return false, err
		}
		if err = w.inside.AddRoute(want); err == nil {
			return false, nil
		}
		if e := w.inside.SetScope(link, link.Scope); e != nil {
			return false, errors.Join(err, fmt.Errorf("restore the scope of the route to %s: %w", want.GW, e))
		}
	}
	if want.Link == 0 {
		return false, err
	}
	want.OnLink = true
	return true, w.inside.AddRoute(want)
}

// routeTo finds the closest link route of IPv4 to the gateway that we have made, and
// that the kernel looks for no gateway through. A default route is none: every gateway
// would be on its link.
func (w *session) routeTo(want rtnl.Route) (closest rtnl.Route, there bool, err error) {
	if want.GW.Is6() {
		return closest, false, nil // IPv6 has no scopes
	}
	routes, err := w.routes(want.GW)
	for _, r := range routes {
		if r.Ours && !r.GW.IsValid() && r.Scope == unix.RT_SCOPE_UNIVERSE && r.Dest.Bits() > 0 &&
			r.Dest.Contains(want.GW) && (want.Link == 0 || r.Link == want.Link) && (!there || r.Dest.Bits() > closest.Dest.Bits()) {
			closest, there = r, true
		}
	}
	return closest, there, err
}

// leadsTo tells whether r is a link route to the other one's gateway.
func (r Route) leadsTo(other Route) bool {
	link, err := r.parse()
	if err != nil || link.gw.IsValid() || link.dest.Bits() == 0 {
		return false
	}
	p, err := other.parse()
	return err == nil && p.gw.IsValid() && p.dev == "" && link.dest.Contains(p.gw)
}

// Needs tells whether the route needs the interface n, itself or for the link route, one
// of all, that leads to its gateway.
func (r Route) Needs(n NIC, all []Route) bool {
	if r.DependsOn(n) {
		return true
	}
	for _, link := range all {
		if link.leadsTo(r) && link.DependsOn(n) {
			return true
		}
	}
	return false
}

// CheckReached tells that the route needs an interface that is not among those recorded.
func (r Route) CheckReached(nics []NIC, all []Route) error {
	for _, n := range nics {
		if r.Needs(n, all) {
			return nil
		}
	}
	switch t := r.trimmed(); {
	case t.Dev == "lo":
		return nil
	case t.Dev != "":
		return fmt.Errorf("no recorded interface is called %s: a start fails unless the container has such a link of its own", t.Dev)
	default:
		return fmt.Errorf("no recorded interface reaches %s: a start fails unless a link of its own does", t.GW)
	}
}
