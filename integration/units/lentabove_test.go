package units

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// lending is a container that is lent links of the host, in order.
func lending(t *testing.T, list ...network.NIC) (h *fakeContainer, target *resource.Target, dir string) {
	t.Helper()
	h = hold(t, nil)
	target, dir = h.target(t, hostOwner), t.TempDir()
	h.keepLedger(t, target)
	for _, n := range list {
		must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
	}
	return h, target, dir
}

// A link that the host has made on top of another one is the host's, even where the
// container has both.
func TestALinkOnTopOfAnotherComesBackWhenBothWereLent(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		for _, order := range []string{"lower first", "upper first"} {
			t.Run(fmt.Sprintf("%s, stopped %v", order, stopped), func(t *testing.T) {
				physical(t, "phy8")
				ip(t, "link", "add", "link", "phy8", "name", "phy8v", "type", "macvlan")
				t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "phy8v").Run() })
				list := []network.NIC{eth("phy8", "eth5", "10.9.0.2/24"), eth("phy8v", "eth6", "10.9.1.2/24")}
				h, target, dir := lending(t, list...)
				h.ip(t, "link", "add", "link", "eth5", "name", "own", "type", "macvlan")
				if order == "upper first" {
					list[0], list[1] = list[1], list[0]
				}
				if stopped {
					must(t, network.Pin(place.Isulad, h.id, h.pid))
					must(t, network.Cleanup{ID: h.id, Ledger: target.Ledger, SwitchPorts: true}.Do(t.Context()))
					must(t, network.Unpin(h.id))
				} else {
					for _, n := range list {
						if task := changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) }); task.Err != nil || task.Warning != nil {
							t.Errorf("%s: %v, warning %v", n.HostName, task.Err, task.Warning)
						}
					}
				}
				same(t, "host", hostLinks(t), "phy8 veth up=true mtu=1500 qlen=1000", "phy8v macvlan up=false mtu=1500 qlen=1000")
				if left := strings.Join(h.links(t), "\n"); strings.Contains(left, "own") {
					t.Errorf("the container has\n%s", left)
				}
			})
		}
	}
}

// Not found is not destroyed: the record stays, and the link comes back where it is
// known for what it is.
func TestALinkOfSoftwareIsNotCalledDestroyed(t *testing.T) {
	away := func(t *testing.T, h *fakeContainer) {
		h.ip(t, "link", "set", "eth5", "netns", fmt.Sprint(h.service(t)))
	}
	for _, c := range []struct {
		name string
		make []string
		do   func(t *testing.T, h *fakeContainer)
		back bool
	}{
		{"a macvlan in another namespace of the container", []string{"link", "phy8", "name", "soft0", "type", "macvlan"}, away, true},
		{"an ifb in another namespace of the container", []string{"name", "soft0", "type", "ifb"}, away, false},
		{"a macvlan, and one of the container's own has its number", []string{"link", "phy8", "name", "soft0", "type", "macvlan"}, func(t *testing.T, h *fakeContainer) {
			index, _, _ := strings.Cut(h.ip(t, "-o", "link", "show", "eth5"), ":")
			below, _, _ := strings.Cut(ip(t, "-o", "link", "show", "phy8"), ":")
			away(t, h)
			h.ip(t, "link", "add", "low", "index", below, "type", "ifb")
			h.ip(t, "link", "add", "link", "low", "name", "eth5", "index", index, "type", "macvlan")
		}, true},
		{"a pair, the host's end of which was moved", []string{"name", "soft0", "type", "veth", "peer", "name", "b"}, func(t *testing.T, _ *fakeContainer) {
			ip(t, "netns", "add", "router")
			t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", "router").Run() })
			ip(t, "link", "set", "dev", "b", "netns", "router")
		}, true},
		{"a pair, the host's end of which was moved, in another namespace of the container", []string{"name", "soft0", "type", "veth", "peer", "name", "b"}, func(t *testing.T, h *fakeContainer) {
			ip(t, "netns", "add", "router")
			t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", "router").Run() })
			ip(t, "link", "set", "dev", "b", "netns", "router")
			away(t, h)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			physical(t, "phy8")
			ip(t, append([]string{"link", "add"}, c.make...)...)
			t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "soft0").Run() })
			n := eth("soft0", "eth5", "10.9.0.2/24")
			h, target, dir := lending(t, n)
			c.do(t, h)
			task := changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) })
			recorded := strings.Contains(read(t, filepath.Join(dir, config.Name)), "soft0")
			there := strings.Contains(strings.Join(hostLinks(t), "\n"), "soft0 ")
			if c.back && (task.Err != nil || task.Warning != nil) || !c.back && (task.Err == nil || !strings.Contains(task.Err.Error(), "--forget")) {
				t.Errorf("%v, warning %v, want that it comes back %v", task.Err, task.Warning, c.back)
			}
			if recorded == c.back || there != c.back {
				t.Errorf("recorded %v, on the host %v, want that it comes back %v", recorded, there, c.back)
			}
			if out, _ := exec.Command("ip", "-o", "link", "show", "soft0").Output(); there && strings.Contains(c.name, "macvlan") && !strings.Contains(string(out), "soft0@phy8:") {
				t.Errorf("the host has %s", out)
			}
		})
	}
}
