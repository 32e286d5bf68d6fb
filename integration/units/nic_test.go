package units

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

func veth(host, name, addr string) network.NIC {
	return network.NIC{IP: addr, MTU: 1500, QueueLen: 1000, Type: "veth", Bridge: "br0", HostName: host, Name: name}
}

func eth(host, name, addr string) network.NIC {
	return network.NIC{IP: addr, MTU: 1500, QueueLen: 1000, Type: "eth", HostName: host, Name: name}
}

func apply(t testing.TB, to *resource.Target, n network.NIC) {
	t.Helper()
	must(t, to.Ledger.Intend(network.Interfaces.Name, nil, n))
	must(t, network.Interfaces.Apply(t.Context(), to, n))
	must(t, network.Interfaces.Verify(t.Context(), to, n))
}

const br0 = "br0 bridge up=true mtu=1500 qlen=1000"

func TestAVethIsMadeWholeAndGoesWhole(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	n4 := veth("h1", "eth1", "172.17.28.2/24")
	n4.MAC, n4.MTU, n4.QueueLen = "00-FF-48-23-E2-BB", 1400, 5
	n6 := veth("h2", "eth2", "fd00::2/64")
	for range 2 { // what is real already is left as it is
		apply(t, to, n4)
		apply(t, to, n6)
		same(t, "container", h.links(t),
			"eth1 veth up=true mtu=1400 qlen=5 172.17.28.2/24 brd 172.17.28.255",
			"eth2 veth up=true mtu=1500 qlen=1000 fd00::2/64")
		same(t, "host", hostLinks(t), "br0 bridge up=true mtu=1400 qlen=1000",
			"h1 veth up=true mtu=1400 qlen=5 in br0", "h2 veth up=true mtu=1500 qlen=1000 in br0")
		if got := h.ip(t, "link", "show", "eth1"); !strings.Contains(got, "link/ether 00:ff:48:23:e2:bb ") {
			t.Errorf("hardware address: %s", got)
		}
	}
	for range 2 { // what is gone already is fine
		must(t, network.Interfaces.Remove(t.Context(), to, n4))
		must(t, network.Interfaces.Remove(t.Context(), to, n6))
		same(t, "container", h.links(t))
		same(t, "host", hostLinks(t), br0)
	}
	if err := network.Interfaces.Verify(t.Context(), to, n4); err == nil {
		t.Error("what is gone is real")
	}
}

func TestHalfOfAVethIsCompleted(t *testing.T) {
	bridges(t, "br0", "br1")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	ip(t, "link", "add", "h1", "type", "veth", "peer", "name", "eth1", "netns", fmt.Sprint(h.pid))
	ip(t, "link", "set", "h1", "master", "br1")
	apply(t, to, veth("h1", "eth1", "172.17.28.2/24"))
	same(t, "container", h.links(t), "eth1 veth up=true mtu=1500 qlen=1000 172.17.28.2/24 brd 172.17.28.255")
	same(t, "host", hostLinks(t), br0, strings.Replace(br0, "br0", "br1", 1), "h1 veth up=true mtu=1500 qlen=1000 in br0")
}

// refuse applies what cannot be had; nothing may change.
func refuse(t testing.TB, h *fakeContainer, to *resource.Target, n network.NIC, says string) {
	t.Helper()
	host, inside := hostLinks(t), h.links(t)
	err := network.Interfaces.Apply(t.Context(), to, n)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want %q", n, err, says)
	}
	same(t, "host after "+n.String(), hostLinks(t), host...)
	same(t, "container after "+n.String(), h.links(t), inside...)
}

func TestAnInterfaceThatCannotBeHadLeavesNothing(t *testing.T) {
	bridges(t, "br0")
	physical(t, "phy0")
	other, h := hold(t, nil), hold(t, nil)
	apply(t, other.target(t, hostOwner), veth("h1", "eth1", "172.17.28.2/24"))
	to := h.target(t, hostOwner)
	h.ip(t, "link", "add", "eth3", "type", "bridge")

	refuse(t, h, to, veth("h1", "eth1", "172.17.28.3/24"), "Host has nic with name h1, please choose another one")
	refuse(t, h, to, veth("br0", "eth1", "172.17.28.3/24"), "Host has nic with name br0")
	refuse(t, h, to, veth("h3", "eth3", "172.17.28.3/24"), "the container has a nic with name eth3")
	nobr := veth("h4", "eth4", "172.17.28.3/24")
	nobr.Bridge = "nobr"
	refuse(t, h, to, nobr, "failed in prefunc: failed to add to bridge nobr: Device does not exist")
	nobr.Bridge = "phy0"
	refuse(t, h, to, nobr, "phy0 is no bridge")
	refuse(t, h, to, eth("phy9", "eth4", "10.9.0.2/24"), "HostNic(phy9) not found, please check")
	refuse(t, h, to, eth("phy9", "eth3", "10.9.0.2/24"), "HostNic(phy9) not found, please check") // the eth3 there is another
	refuse(t, h, to, eth("phy0", "eth3", "10.9.0.2/24"), "the container has a nic with name eth3")
	refuse(t, h, to, eth("lo", "eth4", "10.9.0.2/24"), "failed to move link")
	unknown := eth("phy0", "eth4", "10.9.0.2/24")
	unknown.Type = "dpdk"
	refuse(t, h, to, unknown, "unsupported type dpdk")

	// Its last step fails, for the packets are too small for IPv6: it is back on the host.
	small := eth("phy0", "eth4", "fd00::2/64")
	small.MTU = 1000
	refuse(t, h, to, small, "failed to set ip")
	small = veth("h4", "eth4", "fd00::2/64")
	small.MTU = 1000
	refuse(t, h, to, small, "failed to set ip")
}

// What has an interface's name on the host, but no end in the container, is not
// its own.
func TestAForeignLinkIsNeverDeleted(t *testing.T) {
	bridges(t, "br0", "h1")
	h, other := hold(t, nil), hold(t, nil)
	to := h.target(t, hostOwner)
	apply(t, other.target(t, hostOwner), veth("h2", "eth1", "172.17.28.2/24"))
	ip(t, "link", "add", "h3", "type", "veth", "peer", "name", "h4")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "h3").Run() })
	before := hostLinks(t)
	for _, host := range []string{"h1", "h2", "h3"} {
		n := veth(host, "eth1", "172.17.28.2/24")
		err := network.Interfaces.Remove(t.Context(), to, n)
		if told := (resource.Warning{}); errors.As(err, &told) != (host == "h2") || host != "h2" && err != nil {
			t.Errorf("%s: %v; want a warning for what may have been the container's", host, err)
		}
		must(t, network.Pin(place.Isulad, h.id, h.pid))
		must(t, network.Cleanup{ID: h.id, Records: []network.NIC{n}, SwitchPorts: true}.Do(t.Context()))
		must(t, network.Unpin(h.id))
	}
	same(t, "host", hostLinks(t), before...)
}

func TestAnEthComesBackUnderItsOldName(t *testing.T) {
	physical(t, "phy0")
	const there = "phy0 veth up=true mtu=1500 qlen=1000"
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	h.keepLedger(t, to)
	same(t, "host", hostLinks(t), there)
	n := eth("phy0", "eth5", "10.9.0.2/24")
	for range 2 {
		apply(t, to, n)
		same(t, "host", hostLinks(t))
		same(t, "container", h.links(t), "eth5 veth up=true mtu=1500 qlen=1000 10.9.0.2/24 brd 10.9.0.255")
	}
	for range 2 {
		must(t, network.Interfaces.Remove(t.Context(), to, n))
		same(t, "host", hostLinks(t), there)
		same(t, "container", h.links(t))
	}

	// Its name is taken: it stays while the container runs, and comes back under
	// another one when it has ended.
	apply(t, to, n)
	ip(t, "link", "add", "phy0", "type", "bridge")
	err := network.Interfaces.Remove(t.Context(), to, n)
	if err == nil || !strings.Contains(err.Error(), "the host has another nic with name phy0 now") {
		t.Errorf("removed although its name is taken: %v", err)
	}
	same(t, "container", h.links(t), "eth5 veth up=true mtu=1500 qlen=1000 10.9.0.2/24 brd 10.9.0.255")
	must(t, network.Pin(place.Syscontainer, h.id, h.pid))
	err = (network.Cleanup{ID: h.id, Ledger: to.Ledger, SwitchPorts: true}).Do(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is returned as phy0_0") {
		t.Errorf("nobody says that it has another name: %v", err)
	}
	must(t, network.Unpin(h.id))
	same(t, "host", hostLinks(t), "phy0 bridge up=false mtu=1500 qlen=1000", "phy0_0 veth up=true mtu=1500 qlen=1000")
	ip(t, "link", "del", "phy0_0")
}

// The link dies with its namespace: only through the pin does it come back.
func TestWhatAKilledContainerHadComesBackThroughItsPin(t *testing.T) {
	bridges(t, "br0")
	physical(t, "phy0")
	nics := []network.NIC{veth("h1", "eth1", "172.17.28.2/24"), eth("phy0", "eth5", "10.9.0.2/24"), veth("h9", "eth9", "10.9.9.2/24")}
	var id string
	t.Run("while it runs", func(t *testing.T) {
		h := hold(t, nil)
		id = h.id
		must(t, network.Pin(place.Isulad, id, h.pid))
		to := h.target(t, hostOwner)
		apply(t, to, nics[0])
		apply(t, to, nics[1])
	})
	same(t, "host", hostLinks(t), br0, "h1 veth up=true mtu=1500 qlen=1000 in br0")
	for range 2 {
		must(t, network.Cleanup{ID: id, Records: nics, SwitchPorts: true}.Do(t.Context()))
		same(t, "host", hostLinks(t), br0, "phy0 veth up=false mtu=1500 qlen=1000")
	}
	must(t, network.Unpin(id))
	must(t, network.Cleanup{ID: id, Records: nics, SwitchPorts: true}.Do(t.Context())) // no pin, nothing to do
	write(t, place.Isulad.NetNS()+"/"+id, "no namespace")
	must(t, network.Cleanup{ID: id, Records: nics, SwitchPorts: true}.Do(t.Context()))
	must(t, network.Unpin(id))
	same(t, "host", hostLinks(t), br0, "phy0 veth up=false mtu=1500 qlen=1000")
}

func TestTheHostsNetworkIsNoContainers(t *testing.T) {
	bridges(t, "br0")
	physical(t, "phy0")
	before := hostLinks(t)
	to := &resource.Target{Net: rtnl.AtPath("/proc/self/ns/net")}
	for _, err := range []error{
		network.Interfaces.Apply(t.Context(), to, veth("h1", "eth1", "172.17.28.2/24")),
		network.Interfaces.Remove(t.Context(), to, eth("phy1", "phy0", "10.9.0.2/24")),
		network.Routes.Apply(t.Context(), to, network.Route{Dest: "default", Dev: "phy0"}),
	} {
		if !errors.Is(err, rtnl.ErrHostNetwork) {
			t.Errorf("%v, want %v", err, rtnl.ErrHostNetwork)
		}
	}
	same(t, "host", hostLinks(t), before...)
}

func update(t testing.TB, to *resource.Target, old, now network.NIC) {
	t.Helper()
	must(t, network.Interfaces.Update(t.Context(), to, old, now))
	must(t, network.Interfaces.Verify(t.Context(), to, now))
}

func TestAnUpdateTouchesOnlyWhatItIsAbout(t *testing.T) {
	bridges(t, "br0", "br1")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	old := veth("h1", "eth1", "172.17.28.2/24")
	apply(t, to, old)
	// Somebody else's: in the same network, of which the kernel makes it a
	// dependent, in another one, and routes.
	h.ip(t, "addr", "add", "172.17.28.100/24", "dev", "eth1")
	h.ip(t, "addr", "add", "fd00::100/64", "nodad", "dev", "eth1")
	h.ip(t, "route", "add", "100.10.0.0/16", "via", "172.17.28.1", "metric", "7")
	h.ip(t, "route", "add", "fd01::/64", "via", "fd00::1")
	now := old
	now.IP, now.MAC, now.MTU, now.QueueLen, now.Bridge = "172.17.28.9/24", "00:ff:48:23:e2:cc", 1400, 0, "br1"
	update(t, to, old, now)
	wantLinks := []string{"eth1 veth up=true mtu=1400 qlen=0 172.17.28.9/24 brd 172.17.28.255 172.17.28.100/24 fd00::100/64"}
	same(t, "container", h.links(t), wantLinks...)
	same(t, "host", hostLinks(t), br0, "br1 bridge up=true mtu=1400 qlen=1000", "h1 veth up=true mtu=1400 qlen=0 in br1")
	routes := func() string { return h.ip(t, "route") + h.ip(t, "-6", "route") }
	for _, r := range []string{"100.10.0.0/16 via 172.17.28.1 dev eth1 metric 7", "fd01::/64 via fd00::1 dev eth1"} {
		if !strings.Contains(routes(), r) {
			t.Errorf("the route %s is lost: %s", r, routes())
		}
	}

	// One that fails in the middle leaves everything as it was.
	before := routes()
	bad := now
	bad.IP, bad.MTU, bad.Bridge = "172.17.28.10/24", 1300, "nobr"
	if err := network.Interfaces.Update(t.Context(), to, now, bad); err == nil {
		t.Error("joined a bridge that is not there")
	}
	same(t, "container", h.links(t), wantLinks...)
	if after := routes(); after != before {
		t.Errorf("routes were\n%s and are\n%s", before, after)
	}

	// The link is gone: it is made anew.
	ip(t, "link", "del", "h1")
	update(t, to, now, old)
	same(t, "container", h.links(t), "eth1 veth up=true mtu=1500 qlen=1000 172.17.28.2/24 brd 172.17.28.255")
}

func TestAnEthIsUpdated(t *testing.T) {
	physical(t, "phy0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	old := eth("phy0", "eth5", "10.9.0.2/24")
	apply(t, to, old)
	now := old
	now.IP, now.MTU, now.MAC = "fd00::9/64", 1333, "00:ff:48:23:e2:cc"
	update(t, to, old, now)
	same(t, "container", h.links(t), "eth5 veth up=true mtu=1333 qlen=1000 fd00::9/64")

	// Its last step fails: everything is as it was.
	before := now
	before.IP = "10.9.0.3/24"
	update(t, to, now, before)
	small := now
	small.MTU = 1000
	if err := network.Interfaces.Update(t.Context(), to, before, small); err == nil {
		t.Error("an IPv6 address, and packets too small for it")
	}
	same(t, "container", h.links(t), "eth5 veth up=true mtu=1333 qlen=1000 10.9.0.3/24 brd 10.9.0.255")

	must(t, network.Interfaces.Remove(t.Context(), to, now))
	ip(t, "link", "del", "phy0")
	if err := network.Interfaces.Update(t.Context(), to, now, old); err == nil || !strings.Contains(err.Error(), "HostNic(phy0) not found") {
		t.Errorf("updated what is neither in the container nor on the host: %v", err)
	}
}

// An update that was killed has recorded the new address and left the old one: the
// same update again ends with the new one, and what somebody else gave.
func TestARepeatedUpdateDropsTheAddressBefore(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	n := veth("h1", "eth1", "172.17.28.2/24")
	apply(t, to, n)
	h.ip(t, "addr", "add", "172.17.28.100/24", "dev", "eth1")
	now := n
	now.IP = "172.17.28.9/24"
	for range 2 {
		update(t, to, now, now)
		same(t, "container", h.links(t), "eth1 veth up=true mtu=1500 qlen=1000 172.17.28.9/24 brd 172.17.28.255 172.17.28.100/24")
	}
}
