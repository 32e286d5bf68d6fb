package network

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// InContainer is the link that a container has as an interface.
type InContainer struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	MTU       int      `json:"mtu"`
	QueueLen  int      `json:"qlen"`
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses"`
	Host      string   `json:"host,omitempty"`   // the other end of a veth
	Bridge    string   `json:"bridge,omitempty"` // what that is a port of
}

func (l InContainer) String() string {
	state := "down"
	if l.Up {
		state = "up"
	}
	s := fmt.Sprintf("%s %s mtu %d %s", l.Name, state, l.MTU, strings.Join(l.Addresses, ","))
	if l.Host != "" {
		s += " " + l.Host + "@" + l.Bridge
	}
	return s
}

// Views looks at the recorded interfaces of a running container.
func Views(t *resource.Target, records []NIC) ([]resource.View, error) {
	return Interfaces.Views(t, records, func(r NIC) string { return r.Name }, func(r NIC, v *resource.View) error { return r.view(t, v) })
}

// enterFor is enter for a look at a record, which may be refused when it is read, bad
// saying why, or because of the host's network: then there is nothing more to look at.
func enterFor(t *resource.Target, bad error, v *resource.View) (*session, error) {
	var w *session
	err := bad
	if err == nil {
		w, err = enter(t)
	}
	if bad != nil || errors.Is(err, rtnl.ErrHostNetwork) {
		v.DifferForGood("record refused", "%v", err)
		return nil, nil
	}
	return w, err
}

func (r NIC) view(t *resource.Target, v *resource.View) error {
	n, err := r.parse()
	w, err := enterFor(t, err, v)
	if w == nil {
		return err
	}
	t.Ledger.Made(nicName, r, &n.is)
	e, err := n.find(w, n)
	switch {
	case err != nil:
		return err
	case e.inside == nil && e.host != nil:
		v.Differ("link missing", "the other end of the host's %s is not in the container's network namespace", e.host.Name)
		return nil
	case e.inside == nil && n.name == "eth":
		return w.viewOnHost(n, v)
	case e.inside == nil:
		v.Differ("link missing", "the container has no link %s", n.Name)
		return nil
	}
	has, err := w.inside.Addresses(e.inside.Index)
	if err != nil {
		return err
	}
	real := InContainer{Name: e.inside.Name, MAC: e.inside.MAC.String(), MTU: e.inside.MTU, QueueLen: e.inside.QueueLen, Up: e.inside.Up, Addresses: []string{}}
	for _, a := range has {
		real.Addresses = append(real.Addresses, a.Prefix.String())
	}
	n.compare(e.inside, has, v)
	if e.host != nil {
		real.Host = e.host.Name
		if real.Bridge, err = w.compareHostEnd(n, e.host, v); err != nil {
			return err
		}
	}
	v.Real = real
	return nil
}

// viewOnHost tells whether the host has the link that is not in the container.
func (w *session) viewOnHost(n parsedNIC, v *resource.View) error {
	link, err := linkByName(w.host, n.HostName)
	if err != nil {
		return err
	}
	if link == nil {
		v.DifferForGood("link missing", "neither the container nor the host has the link %s", n.HostName)
	} else {
		v.Differ("link missing", "the host has its link %s itself", n.HostName)
	}
	return nil
}

// compare says in what the container's link is not as recorded.
func (n parsedNIC) compare(link *rtnl.Link, has []rtnl.Address, v *resource.View) {
	if link.Name != n.Name {
		v.Differ("link renamed", "the container's link is called %s, should be %s", link.Name, n.Name)
	}
	if !link.Up {
		v.Differ("link down", "the container's link %s is down", link.Name)
	}
	if n.MTU != 0 && link.MTU != n.MTU {
		v.Differ("other MTU", "the container's link %s has an MTU of %d, should have %d", link.Name, link.MTU, n.MTU)
	}
	if link.QueueLen != n.QueueLen {
		v.Differ("other queue length", "the container's link %s has a queue of %d, should have %d", link.Name, link.QueueLen, n.QueueLen)
	}
	if n.mac != nil && !bytes.Equal(n.mac, link.MAC) {
		v.Differ("other hardware address", "the container's link %s has the address %s, should have %s", link.Name, link.MAC, n.MAC)
	}
	if n.ip.IsValid() && !slices.ContainsFunc(has, func(a rtnl.Address) bool { return a.Prefix == n.ip }) {
		v.Differ("address missing", "the container's link %s does not have the address %s", link.Name, n.IP)
	}
}

// compareHostEnd does so for the host's end of a veth, and returns what it is a port of.
func (w *session) compareHostEnd(n parsedNIC, host *rtnl.Link, v *resource.View) (bridge string, err error) {
	if host.Name != n.HostName && n.HostName != "" {
		v.Differ("link renamed", "the host's end is called %s, should be %s", host.Name, n.HostName)
	}
	if !host.Up {
		v.Differ("link down", "the host's end %s is down", host.Name)
	}
	if n.MTU != 0 && host.MTU != n.MTU {
		v.Differ("other MTU", "the host's end %s has an MTU of %d, should have %d", host.Name, host.MTU, n.MTU)
	}
	if host.QueueLen != n.QueueLen {
		v.Differ("other queue length", "the host's end %s has a queue of %d, should have %d", host.Name, host.QueueLen, n.QueueLen)
	}
	if host.Bridge != 0 {
		master, err := w.host.LinkAt(host.Bridge)
		if err != nil {
			return "", wrapOp("look for the bridge of "+host.Name, err)
		}
		if master != nil {
			bridge = master.Name
		}
		if master != nil && master.Kind == "openvswitch" {
			return n.Bridge, nil // only its database could tell which bridge of it
		}
	}
	switch {
	case bridge == n.Bridge:
	case bridge == "":
		v.Differ("bridge missing", "the host's end %s is a port of no bridge, should be one of %s", host.Name, n.Bridge)
	default:
		v.Differ("other bridge", "the host's end %s is a port of %s, should be one of %s", host.Name, bridge, n.Bridge)
	}
	return bridge, nil
}

// Repairing is Interfaces for what is to be made real again.
func Repairing() *resource.Kind[NIC] {
	k := Interfaces
	k.Apply = repairNIC
	return &k
}

// repairNIC is an update to what is recorded already, of names and states, too.
func repairNIC(ctx context.Context, t *resource.Target, r NIC) (err error) {
	w, n, e, err := r.locate(t)
	if err != nil {
		return err
	}
	if e.inside == nil {
		return updateNIC(ctx, t, r, r)
	}
	keep, err := readConfig(w.inside, e.inside.Index)
	if err != nil {
		return err
	}
	var u undo.Stack
	defer u.OnError(&err)
	for _, end := range []struct {
		side *rtnl.Conn
		link *rtnl.Link
		name string
	}{{w.host, e.host, n.HostName}, {w.inside, e.inside, n.Name}} {
		if end.link == nil {
			continue
		}
		if err := restoreName(end.side, end.link, end.name, &u); err != nil {
			return err
		}
		if err := setUp(end.side, end.link.Index); err != nil {
			return err
		}
	}
	keep.restore()
	return updateNIC(ctx, t, r, r)
}

// restoreName gives a link its name again.
func restoreName(side *rtnl.Conn, link *rtnl.Link, name string, u *undo.Stack) error {
	if name == "" || link.Name == name {
		return nil
	}
	u.Push("restore name "+link.Name, func() error { return errors.Join(rename(side, link.Index, link.Name), setUp(side, link.Index)) })
	return rename(side, link.Index, name)
}

// Way is that of a route as the kernel has it.
type Way string

func (w Way) String() string { return string(w) }

// Name is where the route leads.
func (r Route) Name() string { return cmp.Or(r.trimmed().Dest, "default") }

// RouteViews looks at the recorded routes of a running container.
func RouteViews(t *resource.Target, records []Route) ([]resource.View, error) {
	return Routes.Views(t, records, Route.Name, func(r Route, v *resource.View) error { return r.view(t, v) })
}

func (r Route) view(t *resource.Target, v *resource.View) error {
	p, err := r.parse()
	w, err := enterFor(t, err, v)
	if w == nil {
		return err
	}
	want, err := w.kernelRoute(p)
	if gone := (*linkNotFound)(nil); errors.As(err, &gone) {
		v.Differ("route missing", "the container has no link %s for it", p.dev)
		return nil
	}
	if err != nil {
		return err
	}
	found, there, err := w.findRoute(want, false)
	if err != nil {
		return err
	}
	if there {
		way, err := w.describeRoute(found)
		v.Real = Way(way)
		return err
	}
	routes, err := w.routes(p.dest.Addr())
	if err != nil {
		return err
	}
	// The kernel has one route of IPv4 to a destination with a metric.
	if i := slices.IndexFunc(routes, func(o rtnl.Route) bool { return o.Dest == p.dest && o.Metric == p.metric && p.dest.Addr().Is4() }); i >= 0 {
		way, err := w.describeRoute(routes[i])
		v.Real = Way(way)
		v.DifferForGood("other route", "the container's way to %s is %s, which is not ours to delete: delete it (ip route del), and repair", v.Name, way)
		return err
	}
	v.Differ("route missing", "the container has no route %s", r)
	return nil
}

// describeRoute is a route in ip(8)'s words.
func (w *session) describeRoute(r rtnl.Route) (string, error) {
	var words []string
	for _, a := range []struct {
		word string
		addr netip.Addr
	}{{"via", r.GW}, {"src", r.Src}} {
		if a.addr.IsValid() {
			words = append(words, a.word+" "+a.addr.String())
		}
	}
	link, err := w.inside.LinkAt(r.Link)
	if link != nil {
		words = append(words, "dev "+link.Name)
	}
	if r.Metric != 0 {
		words = append(words, fmt.Sprintf("metric %d", r.Metric))
	}
	return strings.Join(words, " "), err
}
