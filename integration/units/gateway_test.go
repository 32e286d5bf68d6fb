package units

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// A host that has an address of its own (/32, /128) and a gateway outside of it.
func TestAGatewayOutsideTheNetworkIsReached(t *testing.T) {
	link4, link6 := network.Route{Dest: "172.31.1.1/32", Dev: "eth1"}, network.Route{Dest: "fd31::1/128", Dev: "eth2"}
	other := network.Route{Dest: "100.10.0.0/16", Dev: "eth1"}
	for _, c := range []struct {
		name   string
		before []network.Route
		route  network.Route
		says   string // the warning; "": none
		want   []string
	}{
		{
			"IPv4, by a link route",
			[]network.Route{link4, other},
			network.Route{GW: "172.31.1.1"},
			"",
			[]string{"default via 172.31.1.1 dev eth1", "100.10.0.0/16 dev eth1", "172.31.1.1 dev eth1 scope link"},
		},
		{
			"IPv4, by a link route, and by name",
			[]network.Route{link4},
			network.Route{GW: "172.31.1.1", Dev: "eth1", Metric: "7"},
			"",
			[]string{"default via 172.31.1.1 dev eth1 metric 7", "172.31.1.1 dev eth1 scope link"},
		},
		{
			"IPv4, by name alone",
			[]network.Route{other},
			network.Route{Dest: "198.51.100.0/24", GW: "172.31.1.9", Dev: " eth1"},
			"gateway 172.31.1.9 is in no network of the container: it is taken to be on link eth1 (onlink)",
			[]string{"100.10.0.0/16 dev eth1", "198.51.100.0/24 via 172.31.1.9 dev eth1 onlink"},
		},
		{
			"IPv6, by a link route",
			[]network.Route{link6},
			network.Route{GW: "fd31::1"},
			"",
			[]string{"fd31::1 dev eth2 metric 1024", "default via fd31::1 dev eth2 metric 1024"},
		},
		{
			"IPv6, by name alone", nil,
			network.Route{GW: "fd31::9", Dev: "eth2"},
			"gateway fd31::9 is in no network of the container: it is taken to be on link eth2 (onlink)",
			[]string{"default via fd31::9 dev eth2 metric 1024 onlink"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			bridges(t, "br0")
			h := hold(t, nil)
			to := h.target(t, hostOwner)
			apply(t, to, veth("h1", "eth1", "192.0.2.10/32"))
			apply(t, to, veth("h2", "eth2", "fd00::2/128"))
			for _, r := range c.before {
				must(t, network.Routes.Apply(t.Context(), to, r))
			}
			err := network.Routes.Apply(t.Context(), to, c.route)
			if told := (resource.Warning{}); c.says == "" && err != nil || c.says != "" && (!errors.As(err, &told) || told.Error() != c.says) {
				t.Errorf("%v, want the warning %q", err, c.says)
			}
			must(t, network.Routes.Verify(t.Context(), to, c.route))
			same(t, "routes", h.kernelRoutes(t), c.want...)
			must(t, network.Routes.Apply(t.Context(), to, c.route)) // what is there already is fine
			for _, r := range append(c.before, c.route) {
				must(t, network.Routes.Remove(t.Context(), to, r))
			}
			same(t, "routes that are removed", h.kernelRoutes(t))
		})
	}
}

func TestAGatewayThatNothingLeadsToIsRefused(t *testing.T) {
	h := networked(t)
	to := h.target(t, hostOwner)
	must(t, network.Routes.Apply(t.Context(), to, network.Route{Dest: "172.31.1.0/24", Dev: "eth1"}))
	must(t, network.Routes.Apply(t.Context(), to, network.Route{Dest: "default", Dev: "eth1"}))
	h.ip(t, "route", "add", "172.31.2.0/24", "via", "172.17.28.1")
	before := h.kernelRoutes(t)
	for _, c := range []struct {
		name  string
		route network.Route
		err   error
	}{
		{"IPv4", network.Route{Dest: "100.10.0.0/16", GW: "172.31.9.9"}, unix.ENETUNREACH},
		{"behind another gateway", network.Route{Dest: "100.10.0.0/16", GW: "172.31.2.9"}, unix.ENETUNREACH},
		{"IPv6", network.Route{GW: "fd31::1"}, unix.EHOSTUNREACH},
		// The link route is as before when its scope did not help.
		{"a source that the container does not have", network.Route{Dest: "100.10.0.0/16", GW: "172.31.1.9", Src: "9.9.9.9"}, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := network.Routes.Apply(t.Context(), to, c.route); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			same(t, "routes", h.kernelRoutes(t), before...)
		})
	}
}

// The kernel drops them with the address; the one through the gateway can come back
// only after the link route to it.
func TestAnUpdateKeepsAGatewayOutsideTheNetwork(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	old := veth("h1", "eth1", "192.0.2.10/32")
	apply(t, to, old)
	h.ip(t, "route", "add", "172.31.1.1", "dev", "eth1")
	h.ip(t, "route", "add", "default", "via", "172.31.1.1")
	before := h.kernelRoutes(t)
	now := old
	now.IP = "192.0.2.11/32"
	update(t, to, old, now)
	same(t, "routes", h.kernelRoutes(t), before...)
}

func TestAStartSaysThatItTakesAGatewayToBeOnTheLink(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	apply(t, to, veth("h1", "eth1", "192.0.2.10/32"))
	dir := t.TempDir()
	write(t, dir+"/"+config.Name, `{"networkRoute":[{"dest":"default","gw":"172.31.1.1","dev":"eth1"},{"dest":"100.10.0.0/16","dev":"eth1"}]}`)
	doc, err := config.Load(dir)
	must(t, err)
	plan, err := network.Routes.Restore(doc)
	must(t, err)
	var told []string
	must(t, plan.Do(t.Context(), to, func(err error) { told = append(told, err.Error()) }))
	if len(told) != 1 || !strings.Contains(told[0], "add route {dest:default,src:,gw:172.31.1.1,dev:eth1}: gateway 172.31.1.1 is in no network of the container") {
		t.Errorf("it says %q", told)
	}
	same(t, "routes", h.kernelRoutes(t), "default via 172.31.1.1 dev eth1 onlink", "100.10.0.0/16 dev eth1")
}
