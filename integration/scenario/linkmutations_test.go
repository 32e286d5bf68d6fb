package scenario

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// inside does something with a link of the container's, and with its routes.
func inside(name string, do func(*netlink.Handle, netlink.Link) error) func(*run) {
	return func(r *run) {
		r.t.Helper()
		ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", r.pid()))
		check(r.t, err)
		defer ns.Close()
		h, err := netlink.NewHandleAt(ns)
		check(r.t, err)
		defer h.Close()
		link, err := h.LinkByName(name)
		check(r.t, err)
		check(r.t, do(h, link))
	}
}

// outside does something with a link of the host's.
func outside(name string, do func(netlink.Link) error) func(*run) {
	return func(r *run) {
		r.t.Helper()
		link, err := netlink.LinkByName(name)
		check(r.t, err)
		check(r.t, do(link))
	}
}

// drop deletes an address.
func drop(address string) func(*netlink.Handle, netlink.Link) error {
	return func(h *netlink.Handle, l netlink.Link) error {
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return h.AddrDel(l, a)
	}
}

// unroute deletes the routes to a destination; "" is the default route.
func unroute(dest string, family int, metric int) func(*netlink.Handle, netlink.Link) error {
	return func(h *netlink.Handle, _ netlink.Link) error {
		list, err := h.RouteList(nil, family)
		if err != nil {
			return err
		}
		for _, p := range list {
			to := ""
			if p.Dst != nil {
				if ones, _ := p.Dst.Mask.Size(); ones > 0 {
					to = p.Dst.String()
				}
			}
			if to == dest && p.Priority == metric && p.Protocol != 2 {
				if err := h.RouteDel(&p); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

const (
	v4 = netlink.FAMILY_V4
	v6 = netlink.FAMILY_V6
)

var linkMutations = []mutation{
	{
		name: "a link is deleted", do: outside(links+"v0", netlink.LinkDel),
		want: []string{"network interface net0: link missing", "route 10.88.0.0/16: route missing", "route default: route missing"},
	},
	{
		name: "a link of IPv6 is deleted", do: outside(links+"v1", netlink.LinkDel),
		want: []string{"network interface net1: link missing", "route fd88::/32: route missing", "route default: route missing", "route default: route missing"},
	},
	{
		name: "a link has another name", do: inside("net0", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetName(l, "other0") }),
		want: []string{"network interface net0: link renamed"},
	},
	{
		name: "the host's end has another name", do: outside(links+"v0", func(l netlink.Link) error { return netlink.LinkSetName(l, links+"v7") }),
		want: []string{"network interface net0: link renamed"},
	},
	{
		name: "a link is in no bridge", do: outside(links+"v0", netlink.LinkSetNoMaster),
		want: []string{"network interface net0: bridge missing"},
	},
	{
		name: "a link is in another bridge", do: func(r *run) {
			a := netlink.NewLinkAttrs()
			a.Name = links + "br2"
			br := &netlink.Bridge{LinkAttrs: a}
			check(r.t, netlink.LinkAdd(br))
			outside(links+"v0", func(l netlink.Link) error { return netlink.LinkSetMasterByIndex(l, br.Index) })(r)
		}, want: []string{"network interface net0: other bridge"}, undo: outside(links+"br2", netlink.LinkDel),
	},
	{
		name: "a link has another MTU", do: inside("net0", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetMTU(l, 1280) }),
		want: []string{"network interface net0: other MTU"},
	},
	{
		name: "the host's end has another MTU", do: outside(links+"v1", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1300) }),
		want: []string{"network interface net1: other MTU"},
	},
	{
		name: "a link has another queue", do: inside("net1", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetTxQLen(l, 7) }),
		want: []string{"network interface net1: other queue length"},
	},
	{
		name: "a link has another hardware address", do: inside("net0", func(h *netlink.Handle, l netlink.Link) error {
			return h.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 9})
		}),
		want: []string{"network interface net0: other hardware address"},
	},
	{
		name: "a link has lost its address", do: inside("net0", drop("10.77.0.2/24")),
		want: []string{"network interface net0: address missing", "route 10.88.0.0/16: route missing", "route default: route missing"},
	},
	{
		name: "a link has lost its address of IPv6", do: inside("net1", drop("fd77::2/64")),
		want: []string{"network interface net1: address missing"},
	},
	{
		name: "the host's end is down", do: outside(links+"v1", netlink.LinkSetDown),
		want: []string{"network interface net1: link down"},
	},
	{
		name: "a link is down", do: inside("net0", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetDown(l) }),
		want: []string{"network interface net0: link down", "route 10.88.0.0/16: route missing", "route default: route missing"},
	},
	{
		name: "the host has its link back", do: inside("net2", func(h *netlink.Handle, l netlink.Link) error {
			if err := h.LinkSetDown(l); err != nil {
				return err
			}
			if err := h.LinkSetName(l, lent); err != nil {
				return err
			}
			ns, err := netns.GetFromPath("/proc/1/ns/net") // the sandbox's
			if err != nil {
				return err
			}
			defer ns.Close()
			return h.LinkSetNsFd(l, int(ns))
		}),
		want: []string{"network interface net2: link missing", "route 10.89.0.0/16: route missing", "route default: route missing"},
	},
	{name: "a route is gone", do: inside("net0", unroute("10.88.0.0/16", v4, 0)), want: []string{"route 10.88.0.0/16: route missing"}},
	{name: "a route of IPv6 is gone", do: inside("net0", unroute("fd88::/32", v6, 1024)), want: []string{"route fd88::/32: route missing"}},
	{name: "the default route is gone", do: inside("net0", unroute("", v4, 0)), want: []string{"route default: route missing"}},
	{name: "a second default route is gone", do: inside("net0", unroute("", v4, 200)), want: []string{"route default: route missing"}},
	{name: "the default route of IPv6 is gone", do: inside("net0", unroute("", v6, 9)), want: []string{"route default: route missing"}},
	{
		name: "another route is in a route's place", do: inside("net0", func(h *netlink.Handle, l netlink.Link) error {
			if err := unroute("10.88.0.0/16", v4, 0)(h, l); err != nil {
				return err
			}
			_, dest, _ := net.ParseCIDR("10.88.0.0/16")
			return h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dest, Gw: net.IPv4(10, 77, 0, 9)})
		}),
		want: []string{"route 10.88.0.0/16: other route"}, undo: inside("net0", unroute("10.88.0.0/16", v4, 0)),
	},
	{
		name: "an interface's record is gone", do: rerecord(func(w *recorded, _ *run) { w.NICs = w.NICs[1:] }),
		want: []string{"network interface veth " + links + "v0:net0 10.77.0.2/24: granted, not recorded"}, undo: recordedAgain,
	},
}
