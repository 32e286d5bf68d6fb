package units

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"isula.org/isulad-tools/network"
)

// hostMAC is the hardware address of a link of the host.
func hostMAC(t testing.TB, link string) string {
	t.Helper()
	var list []struct {
		Address string `json:"address"`
	}
	must(t, json.Unmarshal([]byte(ip(t, "-j", "link", "show", "dev", link)), &list))
	return list[0].Address
}

// hostPort puts a link of the host's with this address into br0.
func hostPort(t testing.TB, name, mac string) {
	t.Helper()
	ip(t, "link", "add", name, "address", mac, "type", "veth", "peer", "name", name+"_far")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", name).Run() })
	ip(t, "link", "set", name, "master", "br0")
}

// Else the containers that have the bridge as a gateway send to its address of before.
func TestABridgeKeepsItsHardwareAddress(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(*testing.T)
	}{
		{"without ports", func(*testing.T) {}},
		{"with a port of the host's", func(t *testing.T) { hostPort(t, "x_up", "fa:ff:ff:ff:ff:fe") }},
		{"whose address was chosen", func(t *testing.T) { ip(t, "link", "set", "br0", "address", "fe:ff:ff:ff:ff:fe") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bridges(t, "br0")
			c.before(t)
			h := hold(t, nil)
			to := h.target(t, hostOwner)
			want := hostMAC(t, "br0")
			var nics []network.NIC
			for i := range 6 {
				n := veth(fmt.Sprintf("h%d", i), fmt.Sprintf("eth%d", i), fmt.Sprintf("172.17.28.%d/24", i+2))
				apply(t, to, n)
				nics = append(nics, n)
				if got := hostMAC(t, "br0"); got != want {
					t.Fatalf("with %s in it the bridge has %s, want %s", n.HostName, got, want)
				}
				if got := hostMAC(t, n.HostName); !strings.HasPrefix(got, "fe:") {
					t.Errorf("%s has %s, want fe:", n.HostName, got)
				}
			}
			for _, n := range nics {
				must(t, network.Interfaces.Remove(t.Context(), to, n))
			}
			if got := hostMAC(t, "br0"); got != want {
				t.Errorf("when all are gone it has %s, want %s", got, want)
			}
		})
	}
}

func TestABridgeThatLostItsPortsGetsOneHardwareAddress(t *testing.T) {
	bridges(t, "br0")
	hostPort(t, "x_old", "fa:ff:ff:ff:ff:fe")
	ip(t, "link", "del", "x_old") // br0 has 00:00:00:00:00:00 now
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	apply(t, to, veth("h0", "eth0", "172.17.28.2/24"))
	want := hostMAC(t, "br0")
	for i := range 6 {
		apply(t, to, veth(fmt.Sprintf("h%d", i+1), fmt.Sprintf("eth%d", i+1), fmt.Sprintf("172.17.28.%d/24", i+3)))
	}
	if got := hostMAC(t, "br0"); got != want || want == "00:00:00:00:00:00" {
		t.Errorf("it has %s, want %s as with the first", got, want)
	}
}

func TestAnUpdateGoesByTheBridgeThatTheLinkIsIn(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"the bridge was made anew", func(t *testing.T) {
			ip(t, "link", "del", "br0")
			ip(t, "link", "add", "br0", "type", "bridge")
			ip(t, "link", "set", "br0", "up")
		}},
		{"the link was taken out", func(t *testing.T) { ip(t, "link", "set", "h1", "nomaster") }},
		{"the link was put into another one", func(t *testing.T) { ip(t, "link", "set", "h1", "master", "br1") }},
		{"nothing has happened", func(*testing.T) {}},
	} {
		for _, to := range []string{"br0", "br1"} {
			t.Run(c.name+", and it is to be in "+to, func(t *testing.T) {
				bridges(t, "br0", "br1")
				h := hold(t, nil)
				target := h.target(t, hostOwner)
				n := veth("h1", "eth1", "172.17.28.2/24")
				apply(t, target, n)
				c.do(t)
				want := hostMAC(t, to)
				now := n
				now.Bridge = to
				update(t, target, n, now)
				if got := strings.Join(hostLinks(t), "\n"); !strings.Contains(got, "h1 veth up=true mtu=1500 qlen=1000 in "+to) {
					t.Errorf("%s, want h1 in %s", got, to)
				}
				if got := hostMAC(t, to); got != want {
					t.Errorf("%s has %s, want %s", to, got, want)
				}
			})
		}
	}
}

func TestAnUpdateWithoutItsBridgeIsRefused(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	n := veth("h1", "eth1", "172.17.28.2/24")
	apply(t, to, n)
	ip(t, "link", "del", "br0")
	now := n
	now.IP = "172.17.28.3/24"
	err := network.Interfaces.Update(t.Context(), to, n, now)
	if err == nil || !strings.Contains(err.Error(), "Device does not exist") {
		t.Errorf("%v, want that the bridge does not exist", err)
	}
	same(t, "container", h.links(t), "eth1 veth up=true mtu=1500 qlen=1000 172.17.28.2/24 brd 172.17.28.255")
}
