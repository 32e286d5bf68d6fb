package units

import (
	"strings"
	"testing"

	"isula.org/isulad-tools/network"
)

// routes lists the container's routes, without the kernel's own.
func (h *fakeContainer) routes(t testing.TB) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(h.ip(t, "route") + h.ip(t, "-6", "route")) {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "proto kernel") {
			line, _, _ = strings.Cut(line, " pref ")
			line = strings.TrimSuffix(strings.TrimSuffix(line, " metric 1024"), " scope link")
			all = append(all, line)
		}
	}
	return all
}

// networked is a container with a link of each family.
func networked(t testing.TB) *fakeContainer {
	t.Helper()
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	apply(t, to, veth("h1", "eth1", "172.17.28.2/24"))
	apply(t, to, veth("h2", "eth2", "fd00::2/64"))
	return h
}

func TestRoutesAreMadeAndGo(t *testing.T) {
	h := networked(t)
	to := h.target(t, hostOwner)
	for _, c := range []struct {
		route network.Route
		want  string
	}{
		{network.Route{GW: "172.17.28.1"}, "default via 172.17.28.1 dev eth1"},
		{network.Route{Dest: "default", Dev: "eth1"}, "default dev eth1"},
		{network.Route{Dest: " default ", GW: "172.17.28.1", Dev: " eth1 "}, "default via 172.17.28.1 dev eth1"},
		{network.Route{Dest: "100.10.0.0/16", Src: "172.17.28.2", GW: "172.17.28.1", Dev: "eth1"}, "100.10.0.0/16 via 172.17.28.1 dev eth1 src 172.17.28.2"},
		{network.Route{Dest: "100.10.1.1/32", Dev: "eth1"}, "100.10.1.1 dev eth1"},
		{network.Route{GW: "fd00::1"}, "default via fd00::1 dev eth2"},
		{network.Route{Dest: "fd01::/64", GW: "fd00::1", Src: "fd00::2"}, "fd01::/64 via fd00::1 dev eth2 src fd00::2"},
		{network.Route{Dest: "::/0", Dev: "eth2"}, "default dev eth2"},
		{network.Route{GW: "fe80::1", Dev: "eth2"}, "default via fe80::1 dev eth2"},
	} {
		for range 2 { // what is there already is fine
			must(t, network.Routes.Apply(t.Context(), to, c.route))
			must(t, network.Routes.Verify(t.Context(), to, c.route))
			same(t, c.route.String(), h.routes(t), c.want)
		}
		for range 2 {
			must(t, network.Routes.Remove(t.Context(), to, c.route))
			same(t, c.route.String()+" is removed", h.routes(t))
		}
		if err := network.Routes.Verify(t.Context(), to, c.route); err == nil {
			t.Errorf("%s is gone, and real", c.route)
		}
	}
}

func TestARouteThatCannotBeHadSaysWhy(t *testing.T) {
	h := networked(t)
	to := h.target(t, hostOwner)
	must(t, network.Routes.Apply(t.Context(), to, network.Route{GW: "172.17.28.1"}))
	before := h.routes(t)
	for _, c := range []struct {
		route network.Route
		says  string
	}{
		{network.Route{GW: "172.17.28.7"}, "failed to add route: file exists"},
		{network.Route{Dest: "100.10.0.0/16", Dev: "nodev"}, "failed to get link by name nodev: Link not found"},
		{network.Route{Dest: "100.10.0.0/16", Src: "172.17.28.2"}, "failed to add route: no such device"},
		{network.Route{Dest: "100.10.1.1/16", GW: "172.17.28.1"}, "failed to add route: invalid argument"},
		{network.Route{Dest: "100.10.0.0/16", GW: "8.8.8.8"}, "failed to add route: network is unreachable"},
		{network.Route{}, "src or gw or dev name is required"},
	} {
		if err := network.Routes.Apply(t.Context(), to, c.route); err == nil || err.Error() != c.says {
			t.Errorf("%s: %v, want %q", c.route, err, c.says)
		}
	}
	same(t, "routes", h.routes(t), before...)
}

// A route is removed by all that is recorded of it, not by its destination.
func TestAnotherRouteToTheSameDestinationStays(t *testing.T) {
	h := networked(t)
	to := h.target(t, hostOwner)
	h.ip(t, "route", "add", "100.10.0.0/16", "via", "172.17.28.9")
	h.ip(t, "route", "add", "default", "via", "172.17.28.9", "metric", "9")
	before := h.routes(t)
	for _, r := range []network.Route{
		{Dest: "100.10.0.0/16", Dev: "eth1"},
		{Dest: "100.10.0.0/16", GW: "172.17.28.1"},
		{Dev: "eth1"},
		{GW: "172.17.28.1"},
		{GW: "fd00::1"},
		{Dest: "100.10.0.0/16", Dev: "gone"},
		{Dest: "banana", Dev: "eth1"},
	} {
		must(t, network.Routes.Remove(t.Context(), to, r))
	}
	same(t, "routes", h.routes(t), before...)
}
