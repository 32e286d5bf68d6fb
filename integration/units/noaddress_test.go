package units

import (
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/network"
)

// DHCP in the container gives it one, which is not ours.
func TestAnInterfaceWithoutAnAddressIsUp(t *testing.T) {
	bridges(t, "br0")
	physical(t, "phy0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	h.keepLedger(t, to)
	n, lent := veth("h1", "eth1", ""), eth("phy0", "eth5", "")
	for range 2 {
		apply(t, to, n)
		apply(t, to, lent)
		same(t, "container", h.links(t), "eth1 veth up=true mtu=1500 qlen=1000", "eth5 veth up=true mtu=1500 qlen=1000")
	}
	for _, link := range []string{"eth1", "eth5"} {
		h.ip(t, "addr", "add", "172.17.28.100/24", "dev", link)
	}
	for _, c := range []struct{ old, now network.NIC }{{n, n}, {lent, lent}} {
		c.now.MTU = 1400
		update(t, to, c.old, c.now)
	}
	same(t, "after an update", h.links(t),
		"eth1 veth up=true mtu=1400 qlen=1000 172.17.28.100/24", "eth5 veth up=true mtu=1400 qlen=1000 172.17.28.100/24")
	must(t, network.Interfaces.Remove(t.Context(), to, n))
	must(t, network.Interfaces.Remove(t.Context(), to, lent))
	same(t, "container", h.links(t))
}

func TestAnUpdateGivesAndTakesTheAddress(t *testing.T) {
	for _, addr := range []string{"172.17.28.2/24", "fd00::2/64"} {
		t.Run(addr, func(t *testing.T) {
			bridges(t, "br0")
			h := hold(t, nil)
			to := h.target(t, hostOwner)
			without, with := veth("h1", "eth1", ""), veth("h1", "eth1", addr)
			apply(t, to, without)
			bare := h.links(t)
			update(t, to, without, with)
			if err := network.Interfaces.Verify(t.Context(), to, with); err != nil {
				t.Error(err)
			}
			update(t, to, with, without)
			same(t, "container", h.links(t), bare...)
		})
	}
}

func TestAStartMakesAnInterfaceWithoutAnAddress(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	dir := t.TempDir()
	write(t, dir+"/"+config.Name, `{"networkInterfaces":[
		{"Ip":"","Mac":"","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"br0","HostNicName":"h1","CtrNicName":"eth1"},
		{"Ip":"","Mac":"","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"br0","HostNicName":"h2","CtrNicName":"eth2"}]}`)
	doc, err := config.Load(dir)
	must(t, err)
	plan, err := network.Interfaces.Restore(doc)
	must(t, err)
	must(t, plan.Do(t.Context(), h.target(t, hostOwner), func(err error) { t.Error(err) }))
	same(t, "container", h.links(t), "eth1 veth up=true mtu=1500 qlen=1000", "eth2 veth up=true mtu=1500 qlen=1000")
}
