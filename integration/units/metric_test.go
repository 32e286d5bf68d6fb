package units

import (
	"strings"
	"testing"

	"isula.org/isulad-tools/network"
)

// kernelRoutes lists the container's routes with their metrics, without the kernel's own.
func (h *fakeContainer) kernelRoutes(t testing.TB) (all []string) {
	t.Helper()
	for line := range strings.Lines(h.ip(t, "route") + h.ip(t, "-6", "route")) {
		if !strings.Contains(line, "proto kernel") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " pref ")
			all = append(all, line)
		}
	}
	return all
}

func TestRoutesToOneDestinationDifferByTheirMetric(t *testing.T) {
	h := networked(t)
	to := h.target(t, hostOwner)
	routes := []network.Route{
		{GW: "172.17.28.1"},
		{GW: "172.17.28.1", Metric: "200"},
		{Dest: "default", GW: "172.17.28.7", Metric: "100"},
		{GW: "fd00::1"},
		{GW: "fd00::7", Metric: "9"},
	}
	all := []string{
		"default via 172.17.28.1 dev eth1",
		"default via 172.17.28.7 dev eth1 metric 100",
		"default via 172.17.28.1 dev eth1 metric 200",
		"default via fd00::7 dev eth2 metric 9",
		"default via fd00::1 dev eth2 metric 1024",
	}
	for range 2 { // what is there already is fine
		for _, r := range routes {
			must(t, network.Routes.Apply(t.Context(), to, r))
			must(t, network.Routes.Verify(t.Context(), to, r))
		}
		same(t, "routes", h.kernelRoutes(t), all...)
	}
	if err := network.Routes.Apply(t.Context(), to, network.Route{GW: "172.17.28.9", Metric: "100"}); err == nil {
		t.Error("two routes of one destination and metric")
	}
	if err := network.Routes.Verify(t.Context(), to, network.Route{GW: "172.17.28.1", Metric: "300"}); err == nil {
		t.Error("a route of another metric is real")
	}
	for _, i := range []int{1, 3} {
		must(t, network.Routes.Remove(t.Context(), to, routes[i]))
	}
	same(t, "after two are removed", h.kernelRoutes(t), all[0], all[1], all[3])
}

// A route is ours by all that the kernel tells of it, not by where it leads.
func TestARouteThatSomebodyElseSetIsNotRemoved(t *testing.T) {
	for _, c := range []struct {
		name, foreign string
		ours          network.Route
		adds          string // what adding ours makes; "": the kernel has it already
	}{
		{"IPv6, of another metric", "default via fd00::1 dev eth2 metric 9", network.Route{GW: "fd00::1"}, "default via fd00::1 dev eth2 metric 1024"},
		{"IPv4, of another metric", "default via 172.17.28.1 dev eth1 metric 9", network.Route{GW: "172.17.28.1"}, "default via 172.17.28.1 dev eth1"},
		{"without the metric that ours has", "default via 172.17.28.1 dev eth1", network.Route{GW: "172.17.28.1", Metric: "9"}, "default via 172.17.28.1 dev eth1 metric 9"},
		{"IPv6, of another protocol", "default via fd00::1 dev eth2 proto static metric 1024", network.Route{GW: "fd00::1"}, ""},
		{"IPv4, of another protocol", "100.10.0.0/16 via 172.17.28.1 dev eth1 proto static", network.Route{Dest: "100.10.0.0/16", GW: "172.17.28.1"}, ""},
		{"of another type of service", "default tos lowdelay via 172.17.28.1 dev eth1", network.Route{GW: "172.17.28.1"}, "default via 172.17.28.1 dev eth1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := networked(t)
			to := h.target(t, hostOwner)
			family := "-4"
			if strings.Contains(c.foreign, "::") {
				family = "-6"
			}
			h.ip(t, append([]string{family, "route", "add"}, strings.Fields(strings.Replace(c.foreign, "tos lowdelay", "tos 0x10", 1))...)...)
			before := h.kernelRoutes(t)
			must(t, network.Routes.Remove(t.Context(), to, c.ours)) // before it was made
			same(t, "the foreign route", h.kernelRoutes(t), before...)
			must(t, network.Routes.Apply(t.Context(), to, c.ours))
			must(t, network.Routes.Verify(t.Context(), to, c.ours))
			if got := h.kernelRoutes(t); c.adds != "" && !strings.Contains(strings.Join(got, "\n")+"\n", c.adds+"\n") {
				t.Errorf("%q, want %q", got, c.adds)
			}
			must(t, network.Routes.Remove(t.Context(), to, c.ours))
			same(t, "the foreign route", h.kernelRoutes(t), before...)
		})
	}
}
