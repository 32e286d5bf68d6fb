package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// Route is a record of device_hook.json's networkRoute. Its fields are trimmed
// for use, and kept as they were typed.
type Route struct {
	Dest string `json:"dest"` // with a prefix length; "" and "default" are the default route
	Src  string `json:"src"`  // the address that the container sends from
	GW   string `json:"gw"`
	Dev  string `json:"dev"` // its link in the container

	Metric Metric `json:"metric,omitempty"` // "": that of the kernel
}

// Routes is the kind of resource that routes are.
var Routes = resource.Kind[Route]{
	Name:    "route",
	Key:     config.NetRoutes,
	Policy:  resource.Stop,
	Resolve: func(r Route) (Route, bool, error) { return r, false, r.Check() },
	Apply:   applyRoute,
	Remove:  removeRoute,
	Verify:  verifyRoute,
}

// String is the record as v0.9 prints it.
func (r Route) String() string {
	metric := ""
	if r.Metric != "" {
		metric = ",metric:" + string(r.Metric)
	}
	return "{dest:" + r.Dest + ",src:" + r.Src + ",gw:" + r.GW + ",dev:" + r.Dev + metric + "}"
}

// Rule is the record as commands take it.
func (r Route) Rule() string {
	rule, _ := json.Marshal([]Route{r}) // never fails
	return string(rule)
}

// trimmed is the record without spaces, and with one name for the default route.
func (r Route) trimmed() Route {
	for _, f := range []*string{&r.Dest, &r.Src, &r.GW, &r.Dev, (*string)(&r.Metric)} {
		*f = strings.TrimSpace(*f)
	}
	if r.Dest == "default" {
		r.Dest = ""
	}
	return r
}

// parsedRoute is a record that is understood.
type parsedRoute struct {
	dest    netip.Prefix
	src, gw netip.Addr // the zero value: none
	dev     string
	metric  uint32
}

// Check refuses what no container can have.
func (r Route) Check() error {
	_, err := r.parse()
	return err
}

func (r Route) parse() (p parsedRoute, err error) {
	t := r.trimmed()
	if t.Src == "" && t.GW == "" && t.Dev == "" {
		return p, errors.New("src or gw or dev name is required")
	}
	for _, f := range []struct {
		name, text string
		to         *netip.Addr
	}{{"src", t.Src, &p.src}, {"gw", t.GW, &p.gw}} {
		if f.text == "" {
			continue
		}
		*f.to, err = netip.ParseAddr(f.text)
		if err != nil || f.to.Zone() != "" || f.to.Is4In6() || f.to.IsUnspecified() || f.to.IsMulticast() {
			return p, fmt.Errorf("failed to parse %s %q of route rule", f.name, t.part(f.name))
		}
	}
	if p.dest, err = t.destination(p); err != nil {
		return p, err
	}
	if p.dev = t.Dev; p.dev != "" {
		if err := checkName(p.dev); err != nil {
			return p, err
		}
	}
	for _, a := range []netip.Addr{p.src, p.gw} {
		if a.IsValid() && a.Is4() != p.dest.Addr().Is4() {
			return p, fmt.Errorf("%s and %s are not of one address family", p.dest, a)
		}
	}
	if p.metric, err = t.Metric.value(p.dest.Addr()); err != nil {
		return p, err
	}
	switch {
	case p.dest != p.dest.Masked(): // Compat: add-route-dest-host-bits
		return p, wrapOp(opAddRoute, unix.EINVAL)
	case !p.gw.IsValid() && p.dev == "": // Compat: add-route-src-only
		return p, wrapOp(opAddRoute, unix.ENODEV)
	}
	return p, nil
}

func (r Route) part(name string) string {
	if name == "src" {
		return r.Src
	}
	return r.GW
}

// destination is that of the record, whose addresses tell the family of a
// default route.
func (r Route) destination(p parsedRoute) (netip.Prefix, error) {
	if r.Dest == "" {
		if p.gw.Is6() || p.src.Is6() {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), nil
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	dest, err := netip.ParsePrefix(r.Dest)
	if err != nil || dest.Addr().Is4In6() {
		return dest, fmt.Errorf("failed to parse dest %q of route rule", r.Dest)
	}
	return dest, nil
}

// Same tells whether two records are one route: all of parsedRoute is compared. A value in
// which two otherwise equal routes of the kernel cannot differ (an MTU) stays out of it:
// kernelRoute then needs it besides, and applyRoute must set it on a route that exists.
func (r Route) Same(other Route) bool {
	a, err := r.parse()
	b, otherErr := other.parse()
	if err != nil || otherErr != nil {
		return r.trimmed() == other.trimmed()
	}
	return a == b
}

// Matches tells whether the record has what filter asks for; its empty fields
// match everything, and so does the filter "{}".
func (r Route) Matches(filter Route) bool {
	have, want := r.trimmed(), filter.trimmed()
	if strings.TrimSpace(filter.Dest) != "" && !sameText(have.Dest, want.Dest) {
		return false
	}
	for _, f := range [][2]string{{have.Src, want.Src}, {have.GW, want.GW}, {have.Dev, want.Dev}} {
		if f[1] != "" && !sameText(f[0], f[1]) {
			return false
		}
	}
	return want.Metric == "" || have.sameMetric(want.Metric)
}

// sameText compares what may be two spellings of one address or network.
func sameText(a, b string) bool {
	if a == b {
		return true
	}
	if x, err := netip.ParseAddr(a); err == nil {
		y, err := netip.ParseAddr(b)
		return err == nil && x == y
	}
	x, err := netip.ParsePrefix(a)
	y, otherErr := netip.ParsePrefix(b)
	return err == nil && otherErr == nil && x == y
}

// DependsOn tells whether the route needs the interface n: by name, by its address,
// or by a gateway in its network.
func (r Route) DependsOn(n NIC) bool {
	p, err := r.parse()
	if err != nil {
		return r.trimmed().Dev == n.Name
	}
	if p.dev != "" {
		return p.dev == n.Name
	}
	ip, err := netip.ParsePrefix(n.IP)
	return err == nil && (p.src == ip.Addr() || p.gw.IsValid() && ip.Contains(p.gw))
}

// kernelRoute is the route as the kernel is asked for it.
func (w *session) kernelRoute(p parsedRoute) (rtnl.Route, error) {
	want := rtnl.Route{Dest: p.dest, Src: p.src, GW: p.gw, Metric: p.metric}
	if p.dev == "" {
		return want, nil
	}
	link, err := linkByName(w.inside, p.dev)
	if err == nil && link == nil { // Compat: add-route-flag-after
		err = &linkNotFound{p.dev}
	}
	if err != nil {
		return want, err
	}
	want.Link = link.Index
	return want, nil
}

// linkNotFound says that the container has no link of this name.
type linkNotFound struct{ name string }

func (e *linkNotFound) Error() string {
	return fmt.Sprintf("failed to get link by name %s: Link not found", e.name)
}

// findRoute returns the kernel's route that is the one wanted: of those that we have
// made, or of all.
func (w *session) findRoute(want rtnl.Route, ours bool) (r rtnl.Route, there bool, err error) {
	routes, err := w.routes(want.Dest.Addr())
	i := slices.IndexFunc(routes, func(r rtnl.Route) bool {
		return r.Dest == want.Dest && r.GW == want.GW && r.Src == want.Src && r.Metric == want.Metric &&
			(want.Link == 0 || want.Link == r.Link) && (r.Ours || !ours)
	})
	if i < 0 {
		return r, false, err
	}
	return routes[i], true, nil
}

// routes lists the kernel's routes of an address family.
func (w *session) routes(like netip.Addr) ([]rtnl.Route, error) {
	family := unix.AF_INET6
	if like.Is4() {
		family = unix.AF_INET
	}
	return w.inside.Routes(family)
}

func applyRoute(_ context.Context, t *resource.Target, r Route) error {
	p, err := r.parse()
	if err != nil {
		return err
	}
	w, err := enter(t)
	if err != nil {
		return err
	}
	want, err := w.kernelRoute(p)
	if err != nil {
		return err
	}
	onLink := false
	if err = w.inside.AddRoute(want); want.GW.IsValid() && errors.Is(err, unreachable(want.GW)) {
		onLink, err = w.addOffSubnet(want)
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		if _, there, err := w.findRoute(want, false); there || err != nil {
			return err
		}
	case err == nil && onLink:
		return resource.Warn(fmt.Errorf("gateway %s is in no network of the container: it is taken to be on link %s (onlink)", p.gw, p.dev))
	}
	return wrapOp(opAddRoute, err)
}

// removeRoute removes exactly the recorded route, and only when we have made it: asked
// for by destination alone, the kernel would take another one for it.
func removeRoute(_ context.Context, t *resource.Target, r Route) error {
	p, err := r.parse()
	if err != nil {
		return nil // such a one cannot have been made
	}
	w, err := enter(t)
	if err != nil {
		return err
	}
	want, err := w.kernelRoute(p)
	if gone := (*linkNotFound)(nil); errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return err
	}
	found, there, err := w.findRoute(want, true)
	if !there || err != nil {
		return err
	}
	return wrapOp(opDeleteRoute, w.inside.DeleteRoute(found))
}

func verifyRoute(_ context.Context, t *resource.Target, r Route) error {
	p, err := r.parse()
	if err != nil {
		return err
	}
	w, err := enter(t)
	if err != nil {
		return err
	}
	want, err := w.kernelRoute(p)
	if err != nil {
		return err
	}
	_, there, err := w.findRoute(want, false)
	if err == nil && !there {
		err = errors.New("the container has no such route")
	}
	return err
}
