//go:build linux && amd64

package fault

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// The host's links of a world that is wired: a bridge, and a link that a
// container borrows, with its cable's other end. Those made for containers
// begin as pairs.
const (
	wires  = "flt"
	bridge = wires + "br"
	cable  = wires + "up"
	lent   = wires + "eth"
	pairs  = wires + "v"
)

var lentMAC = net.HardwareAddr{2, 0x79, 0, 0, 0, 0xee}

// wiredRecords are oldRecords with two pairs, a link that the host lends, and
// routes of either family.
var wiredRecords = strings.Replace(oldRecords, `"deviceToAdd":`,
	`"networkInterfaces":[`+
		`{"Ip":"10.77.0.2/24","Mac":"02:77:00:00:00:02","Mtu":1400,"Qlen":500,"Type":"veth","Bridge":"fltbr","HostNicName":"fltv0","CtrNicName":"net0"},`+
		`{"Ip":"fd77::2/64","Mac":"","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"fltbr","HostNicName":"fltv1","CtrNicName":"net1"},`+
		`{"Ip":"10.79.0.2/24","Mac":"","Mtu":1500,"Qlen":1000,"Type":"eth","Bridge":"","HostNicName":"flteth","CtrNicName":"net2"}],`+
		`"networkRoute":[{"dest":"10.88.0.0/16","src":"","gw":"10.77.0.1","dev":""},{"dest":"default","src":"","gw":"","dev":"net2"},`+
		`{"dest":"fd88::/32","src":"","gw":"fd77::1","dev":"net1"}],"deviceToAdd":`, 1)

// wiredItems are what they ask for.
var wiredItems = []item{
	{pairs + "0", []string{"link " + pairs + "0", "inside link net0", "inside address of net0"}},
	{pairs + "1", []string{"link " + pairs + "1", "inside link net1", "inside address of net1"}},
	{lent, []string{"link " + lent, "inside link net2", "inside address of net2"}},
	{"10.88.0.0/16", []string{"inside route 10.88.0.0/16"}},
	{"default", []string{"inside route 0.0.0.0/0"}},
	{"fd88::/32", []string{"inside route fd88::/32"}},
}

// newWiredWorld is a world whose containers have changed their roots and have
// interfaces and routes beside the rest.
func newWiredWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.options = []string{pivoted}
	w.records, w.wired = wiredRecords, true
	// The container's own links have the first numbers, and a lent link that has one
	// of them gets another there: that is a call more.
	for range 10 {
		spare := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "fltspare"}, PeerName: "fltspare2"}
		must(t, netlink.LinkAdd(spare))
		must(t, netlink.LinkDel(spare))
	}
	w.rewire()
	t.Cleanup(func() { must(t, cutWires()) })
	w.resetFiles()
	w.pristine = w.fingerprint()
	return w
}

// rewire makes the host's links what they are at first. A namespace that ended
// takes its links along in the background.
func (w *world) rewire() {
	w.t.Helper()
	end := time.Now().Add(5 * time.Second)
	for {
		all, err := net.Interfaces()
		must(w.t, err)
		there := map[string]bool{}
		left := false
		for _, l := range all {
			there[l.Name] = true
			left = left || strings.HasPrefix(l.Name, pairs)
		}
		if !left && there[lent] == there[cable] {
			if there[lent] && there[bridge] {
				w.queueless()
				return
			}
			break
		}
		if time.Now().After(end) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	must(w.t, cutWires())
	named := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	br := &netlink.Bridge{LinkAttrs: named(bridge)}
	br.HardwareAddr = net.HardwareAddr{2, 0x77, 0, 0, 0, 0xb0} // chosen: the first start has no other calls than the rest
	must(w.t, netlink.LinkAdd(br))
	must(w.t, netlink.LinkSetUp(br))
	must(w.t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: named(cable), PeerName: lent, PeerHardwareAddr: lentMAC}))
	w.queueless()
}

// queueless takes the queue from the link that is lent, whatever an earlier try has left
// it: in the container it has one.
func (w *world) queueless() {
	w.t.Helper()
	l, err := netlink.LinkByName(lent)
	must(w.t, err)
	must(w.t, netlink.LinkSetTxQLen(l, 0))
}

// cutWires deletes them.
func cutWires() error {
	all, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range all {
		if !strings.HasPrefix(l.Attrs().Name, wires) {
			continue
		}
		// One end of a pair takes the other along.
		if err := ignore(netlink.LinkDel(l), unix.ENODEV); err != nil {
			return fmt.Errorf("delete %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

// addWires adds to what is told of the host's links, and leaves out what the
// kernel makes up.
func (w *world) addWires(f sandbox.Fingerprint) {
	w.t.Helper()
	all, err := netlink.LinkList()
	must(w.t, err)
	names := map[int]string{}
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range all {
		a := l.Attrs()
		switch {
		case a.Name == bridge, a.Name == cable:
			f["link "+a.Name] = "present"
		case strings.HasPrefix(a.Name, pairs):
			f["link "+a.Name] = fmt.Sprintf("mtu %d qlen %d in %q up %v", a.MTU, a.TxQLen, names[a.MasterIndex], a.RawFlags&unix.IFF_UP != 0)
		}
	}
}

// addInside adds the container's links, addresses and routes.
func (w *world) addInside(all facts) {
	w.t.Helper()
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", w.holder.Pid))
	must(w.t, err)
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	must(w.t, err)
	defer h.Close()
	list, err := h.LinkList()
	must(w.t, err)
	names := map[int]string{}
	for _, l := range list {
		a := l.Attrs()
		names[a.Index] = a.Name
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		value := fmt.Sprintf("mtu %d qlen %d up %v", a.MTU, a.TxQLen, a.RawFlags&unix.IFF_UP != 0)
		if mac := a.HardwareAddr.String(); strings.HasPrefix(mac, "02:77:00:00:00:") || mac == lentMAC.String() { // others are random
			value += " mac " + mac
		}
		all["inside link "+a.Name] = value
		addresses, err := h.AddrList(l, netlink.FAMILY_ALL)
		must(w.t, err)
		for _, a := range addresses {
			if a.Scope == unix.RT_SCOPE_UNIVERSE {
				all["inside address of "+names[a.LinkIndex]+" "+a.IPNet.String()] = fmt.Sprintf("broadcast %v", a.Broadcast)
			}
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := h.RouteList(nil, family)
		must(w.t, err)
		for _, r := range routes {
			if r.Protocol != unix.RTPROT_KERNEL {
				all[fmt.Sprintf("inside route %v", r.Dst)] = fmt.Sprintf("gw %v src %v dev %s", r.Gw, r.Src, names[r.LinkIndex])
			}
		}
	}
}

// TestWiresAreSeen requires the facts of an undisturbed start to be all that was
// asked for, and the host to lack what it lent: the loops compare with them.
func TestWiresAreSeen(t *testing.T) {
	w := newWiredWorld(t)
	w.learn()
	for key, want := range map[string]string{
		"inside link net0":                    "mtu 1400 qlen 500 up true mac 02:77:00:00:00:02",
		"inside link net2":                    "mtu 1500 qlen 1000 up true mac " + lentMAC.String(),
		"inside address of net0 10.77.0.2/24": "broadcast 10.77.0.255",
		"inside address of net1 fd77::2/64":   "broadcast <nil>",
		"inside address of net2 10.79.0.2/24": "broadcast 10.79.0.255",
		"inside route 10.88.0.0/16":           "gw 10.77.0.1 src <nil> dev net0",
		"inside route 0.0.0.0/0":              "gw <nil> src <nil> dev net2",
		"inside route fd88::/32":              "gw fd77::1 src <nil> dev net1",
		"host + link " + pairs + "0":          `mtu 1400 qlen 500 in "fltbr" up true`,
		"host + link " + pairs + "1":          `mtu 1500 qlen 1000 in "fltbr" up true`,
	} {
		t.Run(key, func(t *testing.T) {
			if got := w.reference.started[key]; got != want {
				t.Errorf("after prestart, %s is %q, want %q", key, got, want)
			}
		})
	}
	if got := w.reference.started["inside link net1"]; !strings.HasPrefix(got, "mtu 1500 qlen 1000 up true") {
		t.Errorf("after prestart, net1 is %q", got)
	}
	if _, gone := w.reference.started["host - link "+lent]; !gone {
		t.Errorf("after prestart, the host still has %s", lent)
	}
	if _, err := os.Stat("/sys/class/net/" + lent); err != nil {
		t.Errorf("after poststop: %v", err)
	}
}
