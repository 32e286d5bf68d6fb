package scenario

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// What the host has for the rows of interfaces: a bridge with an address of
// either family and something plugged in, and an end of a cable for a link of
// the host that a container borrows. All names begin as links.
const (
	links  = "scn"
	bridge = links + "br"
	cable  = links + "up" // the host's end of the borrowed one's cable
	lent   = links + "eth"
)

// cabling makes them, once for a container.
func (r *run) cabling() {
	r.t.Helper()
	if _, err := netlink.LinkByName(bridge); err == nil {
		return
	}
	add := func(l netlink.Link, addresses ...string) {
		r.t.Helper()
		check(r.t, netlink.LinkAdd(l))
		for _, a := range addresses {
			parsed, err := netlink.ParseAddr(a)
			check(r.t, err)
			if parsed.IP.To4() == nil {
				parsed.Flags = unix.IFA_F_NODAD
			}
			check(r.t, netlink.AddrAdd(l, parsed))
		}
		check(r.t, netlink.LinkSetUp(l))
	}
	named := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	br := &netlink.Bridge{LinkAttrs: named(bridge)}
	add(br, "10.77.0.1/24", "fd77::1/64")
	plug := &netlink.Veth{LinkAttrs: named(links + "plug"), PeerName: links + "sock"}
	plug.MasterIndex = br.Index
	add(plug)
	sock, err := netlink.LinkByName(links + "sock")
	check(r.t, err)
	check(r.t, netlink.LinkSetUp(sock))
	up := &netlink.Veth{LinkAttrs: named(cable), PeerName: lent, PeerHardwareAddr: lentMAC}
	add(up, "10.79.0.1/24")
	borrowed, err := netlink.LinkByName(lent)
	check(r.t, err)
	check(r.t, netlink.LinkSetTxQLen(borrowed, 1000)) // what it is given again by who asks for nothing
	r.after = append(r.after, func() {
		for _, l := range []netlink.Link{up, plug, br} {
			if err := netlink.LinkDel(l); err != nil {
				r.t.Errorf("delete %s: %v", l.Attrs().Name, err)
			}
		}
	})
}

// lentMAC tells the borrowed link from another one of its name.
var lentMAC = net.HardwareAddr{2, 0x79, 0, 0, 0, 0xee}

// wired is what a container is to have, and its links on the host.
type wired struct{ inside, host []string }

// wires is what the records come to. Nothing of the container is there when it
// does not run.
func (w recorded) wires(running bool) wired {
	var s wired
	borrowed := false
	for _, n := range w.NICs {
		if !running {
			break
		}
		line := fmt.Sprintf("link %s %s mtu %d qlen %d up", n.Name, "veth", n.MTU, n.QueueLen)
		if n.Type == "eth" {
			borrowed = true
			n.MAC = lentMAC.String()
		} else {
			s.host = append(s.host, fmt.Sprintf("link %s mtu %d qlen %d in %s up", n.HostName, n.MTU, n.QueueLen, n.Bridge))
		}
		if n.MAC != "" {
			line += " mac " + n.MAC
		}
		a, _ := netlink.ParseAddr(n.IP)
		address := fmt.Sprintf("address %s of %s", n.IP, n.Name)
		if v4 := a.IP.To4(); v4 != nil {
			broadcast := make(net.IP, 4)
			for i := range v4 {
				broadcast[i] = v4[i] | ^a.Mask[i]
			}
			address += " broadcast " + broadcast.String()
		}
		s.inside = append(s.inside, line, address)
	}
	for _, p := range w.Routes {
		if !running {
			break
		}
		dev, src, dest := p.Dev, p.Src, strings.Replace(p.Dest, "default", "", 1)
		for _, n := range w.NICs {
			if _, net, err := net.ParseCIDR(n.IP); dev == "" && err == nil && net.Contains(net4or6(p.GW)) {
				dev = n.Name
			}
		}
		if dest == "" && strings.Contains(p.GW, ":") {
			dest = "::/0"
		} else if dest == "" {
			dest = "0.0.0.0/0"
		}
		metric := p.Metric
		switch {
		case metric != "":
		case strings.Contains(dest, ":"): // the kernel's own
			metric = "1024"
		default:
			metric = "0"
		}
		s.inside = append(s.inside, fmt.Sprintf("route %s gw %s src %s dev %s metric %s", dest, p.GW, src, dev, metric))
	}
	if !borrowed {
		s.host = append(s.host, "link "+lent+" mac "+lentMAC.String())
	}
	slices.Sort(s.inside)
	slices.Sort(s.host)
	return s
}

func net4or6(s string) net.IP {
	if ip := net.ParseIP(s); ip != nil {
		return ip
	}
	return net.IPv6unspecified
}

// requireWires requires exactly the links, addresses and routes that are recorded.
func (r *run) requireWires(want recorded, running bool) {
	r.t.Helper()
	have := wired{host: hostWires(r.t)}
	if running {
		have.inside = insideWires(r.t, r.pid(), want)
	}
	if d := cmp.Diff(want.wires(running), have, cmp.AllowUnexported(wired{})); d != "" {
		r.t.Errorf("links (-want +got):\n%s", d)
	}
}

// hostWires are the host's links that come and go.
func hostWires(t *testing.T) []string {
	t.Helper()
	all, err := netlink.LinkList()
	check(t, err)
	var lines []string
	for _, l := range all {
		a := l.Attrs()
		if !strings.HasPrefix(a.Name, links) || slices.Contains([]string{bridge, cable, links + "plug", links + "sock"}, a.Name) {
			continue
		}
		line := "link " + a.Name
		switch master, _ := netlink.LinkByIndex(a.MasterIndex); {
		case a.Name == lent:
			line += " mac " + a.HardwareAddr.String()
		case master == nil:
			line += " in no bridge"
		default:
			line += fmt.Sprintf(" mtu %d qlen %d in %s", a.MTU, a.TxQLen, master.Attrs().Name)
		}
		if a.RawFlags&unix.IFF_UP != 0 && a.Name != lent {
			line += " up"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// insideWires are what is in the namespace of a process, but for what is in every
// new one and what the kernel adds by itself. The hardware address is told of
// links that have a wanted one.
func insideWires(t *testing.T, pid int, want recorded) []string {
	t.Helper()
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", pid))
	check(t, err)
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	check(t, err)
	defer h.Close()
	all, err := h.LinkList()
	check(t, err)
	always := newborn(t)
	names := map[int]string{}
	var lines []string
	for _, l := range all {
		a := l.Attrs()
		names[a.Index] = a.Name
		if slices.Contains(always, a.Name) {
			continue
		}
		line := fmt.Sprintf("link %s %s mtu %d qlen %d", a.Name, l.Type(), a.MTU, a.TxQLen)
		if a.RawFlags&unix.IFF_UP != 0 {
			line += " up"
		}
		for _, n := range want.NICs {
			if n.Name == a.Name && (n.MAC != "" || n.Type == "eth") {
				line += " mac " + a.HardwareAddr.String()
			}
		}
		lines = append(lines, line)
		addresses, err := h.AddrList(l, netlink.FAMILY_ALL)
		check(t, err)
		for _, a := range addresses {
			if a.Scope != unix.RT_SCOPE_UNIVERSE {
				continue
			}
			line := fmt.Sprintf("address %s of %s", a.IPNet, names[a.LinkIndex])
			if a.Broadcast != nil {
				line += " broadcast " + a.Broadcast.String()
			}
			if a.Flags&unix.IFA_F_TENTATIVE != 0 {
				line += " tentative"
			}
			lines = append(lines, line)
		}
	}
	for family, zero := range map[int]string{netlink.FAMILY_V4: "0.0.0.0/0", netlink.FAMILY_V6: "::/0"} {
		routes, err := h.RouteList(nil, family)
		check(t, err)
		for _, p := range routes {
			if p.Protocol == unix.RTPROT_KERNEL {
				continue
			}
			dest := zero
			if p.Dst != nil {
				dest = p.Dst.String()
			}
			lines = append(lines, fmt.Sprintf("route %s gw %s src %s dev %s metric %d", dest, text(p.Gw), text(p.Src), names[p.LinkIndex], p.Priority))
		}
	}
	slices.Sort(lines)
	return lines
}

func text(ip net.IP) string {
	if ip == nil {
		return ""
	}
	return ip.String()
}

// newborn are the links of a new namespace: lo, and where some modules are loaded
// a few more.
func newborn(t *testing.T) []string {
	t.Helper()
	type answer struct {
		names []string
		err   error
	}
	told := make(chan answer)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var a answer
		if a.err = unix.Unshare(unix.CLONE_NEWNET); a.err == nil {
			var list []net.Interface
			list, a.err = net.Interfaces()
			for _, l := range list {
				a.names = append(a.names, l.Name)
			}
		}
		told <- a
	}()
	a := <-told
	check(t, a.err)
	return a.names
}
