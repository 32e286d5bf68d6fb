package units

import (
	"fmt"
	"testing"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/network"
)

func TestThePairsOfAContainerThatEndedGoTogetherAndNobodyElses(t *testing.T) {
	bridges(t, "br0")
	h, other := hold(t, nil), hold(t, nil)
	to := h.target(t, hostOwner)
	h.keepLedger(t, to)
	apply(t, other.target(t, hostOwner), veth("o1", "eth1", "172.17.28.99/24"))
	var nics []network.NIC
	for i := range 4 {
		nics = append(nics, veth(fmt.Sprintf("h%d", i), fmt.Sprintf("eth%d", i), fmt.Sprintf("172.17.28.%d/24", i+2)))
		apply(t, to, nics[i])
	}
	ip(t, "link", "del", "h3") // gone already
	must(t, network.Pin(place.Isulad, h.id, h.pid))
	for range 2 {
		must(t, network.Cleanup{ID: h.id, Ledger: to.Ledger, Records: append(nics, veth("o1", "eth7", "172.17.28.9/24")), SwitchPorts: true}.Do(t.Context()))
		same(t, "host", hostLinks(t), br0, "o1 veth up=true mtu=1500 qlen=1000 in br0")
		same(t, "container", h.links(t))
	}
	must(t, network.Unpin(h.id))
	same(t, "the other container", other.links(t), "eth1 veth up=true mtu=1500 qlen=1000 172.17.28.99/24 brd 172.17.28.255")
}

// Of links that cannot be deleted together none is, and one that is gone is fine.
func TestLinksThatCannotBeDeletedTogetherStay(t *testing.T) {
	bridges(t, "br0", "br1")
	before := hostLinks(t)
	host, err := rtnl.Dial()
	must(t, err)
	defer host.Close()
	indexes := func(names ...string) (list []int) {
		for _, name := range names {
			link, err := host.Link(name)
			must(t, err)
			list = append(list, link.Index)
		}
		return list
	}
	if err := host.DeleteLinks(indexes("br0", "lo")); err == nil {
		t.Error("the loopback was deleted")
	}
	same(t, "host", hostLinks(t), before...)
	ip(t, "link", "set", "lo", "group", "0")
	must(t, host.DeleteLinks(append(indexes("br0"), 1<<30)))
	same(t, "host", hostLinks(t), before[1])
}
