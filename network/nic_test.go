package network

import (
	"net/netip"
	"strings"
	"testing"
)

var good = NIC{IP: "172.17.28.2/24", MTU: 1500, QueueLen: 1000, Type: "veth", Bridge: "br0", HostName: "h1", Name: "eth1"}

func TestWhatNoInterfaceCanHaveIsRefusedAndNamed(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*NIC){
		"unsupported type sriov":                     func(n *NIC) { n.Type = "sriov" },
		"bridge must be specified":                   func(n *NIC) { n.Bridge = "" },
		"host nic name input error":                  func(n *NIC) { n.Type, n.Bridge, n.HostName = "eth", "", "" },
		"for eth type, bridge cannot be set":         func(n *NIC) { n.Type = "eth" },
		`invalid nic name "a/b"`:                     func(n *NIC) { n.Name = "a/b" },
		`invalid nic name "a:b"`:                     func(n *NIC) { n.HostName = "a:b" },
		`invalid nic name "a b"`:                     func(n *NIC) { n.Bridge = "a b" },
		`invalid nic name "a\tb"`:                    func(n *NIC) { n.Name = "a\tb" },
		`invalid nic name "eth%d"`:                   func(n *NIC) { n.Name = "eth%d" },
		`invalid nic name "."`:                       func(n *NIC) { n.Name = "." },
		`invalid nic name ".."`:                      func(n *NIC) { n.HostName = ".." },
		"failed to rename link: numerical result":    func(n *NIC) { n.Name = "eth0123456789012" },
		"invalid CIDR address: 172.17.28.2":          func(n *NIC) { n.IP = "172.17.28.2" },
		"invalid CIDR address: 172.17.28.2/33":       func(n *NIC) { n.IP = "172.17.28.2/33" },
		"invalid CIDR address: 172.17.28.255/24: th": func(n *NIC) { n.IP = "172.17.28.255/24" },
		"invalid CIDR address: 224.0.0.1/24: not":    func(n *NIC) { n.IP = "224.0.0.1/24" },
		"invalid CIDR address: ff02::1/64: not":      func(n *NIC) { n.IP = "ff02::1/64" },
		"invalid CIDR address: 0.0.0.0/8: not":       func(n *NIC) { n.IP = "0.0.0.0/8" },
		"invalid CIDR address: ::/64: not":           func(n *NIC) { n.IP = "::/64" },
		"invalid CIDR address: ::ffff:1.2.3.4/120":   func(n *NIC) { n.IP = "::ffff:1.2.3.4/120" },
		"invalid CIDR address: fe80::1%eth0/64":      func(n *NIC) { n.IP = "fe80::1%eth0/64" },
		"address banana: invalid MAC address":        func(n *NIC) { n.MAC = "banana" },
		"failed to set hardware: cannot assign":      func(n *NIC) { n.MAC = "01:00:5e:00:00:01" },
		"failed to set hardware: cannot assign r":    func(n *NIC) { n.MAC = "00:00:00:00:00:00" },
		"Mtu must not be less than 68":               func(n *NIC) { n.MTU = 67 },
		"failed to set mtu: invalid argument":        func(n *NIC) { n.MTU = 65536 },
		"Qlen must not be less than 0":               func(n *NIC) { n.QueueLen = -1 },
		"Qlen 2147483648 must not be greater":        func(n *NIC) { n.QueueLen = 1 << 31 },
	} {
		t.Run(says, func(t *testing.T) {
			n := good
			change(&n)
			err := n.CheckOptions()
			if err == nil {
				err = n.CheckNumbers()
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%+v: %v, want %q", n, err, says)
			}
			if _, _, resolved := Interfaces.Resolve(n); resolved == nil {
				t.Errorf("%+v can be recorded", n)
			}
		})
	}
}

func TestWhatAnInterfaceCanHave(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*NIC){
		"nothing special":     func(*NIC) {},
		"a network's address": func(n *NIC) { n.IP = "172.17.28.0/24" }, // as recorded of v0.9
		"a point-to-point":    func(n *NIC) { n.IP = "172.17.28.1/31" },
		"one address":         func(n *NIC) { n.IP = "172.17.28.255/32" },
		"IPv6":                func(n *NIC) { n.IP = "fd00::2/64" },
		"EUI-64":              func(n *NIC) { n.MAC = "00:ff:48:23:e2:bb:00:11" },
		"no address":          func(n *NIC) { n.IP = "" },
		"no type":             func(n *NIC) { n.Type = "" },
		"the longest name":    func(n *NIC) { n.Name = "eth012345678901" },
		"the largest MTU":     func(n *NIC) { n.MTU = 65535 },
		"an MTU as it comes":  func(n *NIC) { n.MTU = 0 }, // in a file only
	} {
		t.Run(what, func(t *testing.T) {
			n := good
			change(&n)
			if now, renewed, err := Interfaces.Resolve(n); err != nil || renewed || now != n {
				t.Errorf("%s: %v %v %v", what, now, renewed, err)
			}
		})
	}
}

func TestConflictsAreOfValues(t *testing.T) {
	t.Parallel()
	old := good
	old.MAC = "00:ff:48:23:e2:bb"
	for says, n := range map[string]NIC{
		"interface name conflict: eth1":             {IP: "10.0.0.2/8", HostName: "h2", Name: "eth1"},
		"interface name conflict: h1":               {IP: "10.0.0.2/8", HostName: "h1", Name: "eth2"},
		"interface ip conflict: 172.17.28.2/16":     {IP: "172.17.28.2/16", HostName: "h2", Name: "eth2"},
		"interface mac conflict: 00-FF-48-23-E2-BB": {IP: "10.0.0.2/8", MAC: "00-FF-48-23-E2-BB", HostName: "h2", Name: "eth2"},
		"": {IP: "172.17.28.3/24", HostName: "eth1", Name: "h1"}, // of different places
	} {
		t.Run(says, func(t *testing.T) {
			got := ""
			if err := n.Conflict(old); err != nil {
				got = err.Error()
			}
			if got != says {
				t.Errorf("%+v: %q, want %q", n, got, says)
			}
		})
	}
}

func TestInterfacesWithoutAnAddressDoNotConflict(t *testing.T) {
	t.Parallel()
	a, b := good, NIC{HostName: "h2", Name: "eth2"}
	a.IP = ""
	if err := b.Conflict(a); err != nil {
		t.Error(err)
	}
	if got := a.String(); got != "veth h1:eth1" {
		t.Errorf("%q, want %q", got, "veth h1:eth1")
	}
}

func TestAHardwareAddressThatIsGivenHasSixBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, mac, says string }{
		{"none", "", ""},
		{"6 bytes", "00:ff:48:23:e2:bb", ""},
		{"EUI-64", "00:ff:48:23:e2:bb:00:11", "has 6 bytes, this one has 8"},
		{"InfiniBand", strings.Repeat("00:", 19) + "01", "has 6 bytes, this one has 20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckMAC(c.mac); (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func TestANewHostNameIsALinkName(t *testing.T) {
	t.Parallel()
	for name, begins := range map[string]string{"eth1": "eth1_", "ethabcdefghijk": "ethabcdef_"} {
		t.Run(name, func(t *testing.T) {
			a, b := NewHostName(name), NewHostName(name)
			if !strings.HasPrefix(a, begins) || len(a) != len(begins)+5 || checkName(a) != nil || a == b {
				t.Errorf("%s: %q and %q", name, a, b)
			}
		})
	}
}

func TestRoutesAreComparedByValue(t *testing.T) {
	t.Parallel()
	r := Route{Dest: "100.10.0.0/16", GW: "172.17.28.1"}
	for _, c := range []struct {
		other         Route
		same, matches bool // r is other, r is matched by it
	}{
		{Route{Dest: " 100.10.0.0/16 ", GW: "172.17.28.1 "}, true, true},
		{Route{Dest: "100.10.0.0/16", GW: "172.17.28.1", Dev: "eth1"}, false, false},
		{Route{Dest: "100.10.0.0/16"}, false, true},
		{Route{GW: "172.17.28.1"}, false, true},
		{Route{}, false, true},
		{Route{Dest: "default"}, false, false},
		{Route{Dest: "100.10.0.0/17", GW: "172.17.28.1"}, false, false},
	} {
		if got := r.Same(c.other); got != c.same {
			t.Errorf("%s same as %s: %v", r, c.other, got)
		}
		if got := r.Matches(c.other); got != c.matches {
			t.Errorf("%s matches %s: %v", r, c.other, got)
		}
	}
	def := Route{GW: "fd00::1"}
	if !def.Same(Route{Dest: "default", GW: "fd00:0::1"}) || !def.Matches(Route{Dest: "default"}) || !def.Matches(Route{GW: "FD00::1"}) {
		t.Error("the default route has one spelling only")
	}
}

func TestBadRoutesAreRefusedAndNamed(t *testing.T) {
	t.Parallel()
	for says, r := range map[string]Route{
		"src or gw or dev name is required":                       {Dest: "100.10.0.0/16", Dev: " "},
		`failed to parse dest "banana" of route rule`:             {Dest: "banana", Dev: "eth1"},
		`failed to parse dest "100.10.1.1" of route rule`:         {Dest: "100.10.1.1", Dev: "eth1"},
		`failed to parse gw "300.1.1.1" of route rule`:            {GW: "300.1.1.1"},
		`failed to parse gw "224.0.0.1" of route rule`:            {GW: "224.0.0.1"},
		`failed to parse src "fe80::1%eth0" of route rule`:        {Src: "fe80::1%eth0", Dev: "eth1"},
		`failed to parse src "0.0.0.0" of route rule`:             {Src: "0.0.0.0", Dev: "eth1"},
		`invalid nic name "a/b"`:                                  {Dev: "a/b"},
		"100.10.0.0/16 and fd00::1 are not of one address family": {Dest: "100.10.0.0/16", GW: "fd00::1"},
		"::/0 and 1.2.3.4 are not of one address family":          {Src: "1.2.3.4", GW: "fd00::1"},
		"failed to add route: invalid argument":                   {Dest: "100.10.1.1/16", Dev: "eth1"},
		"failed to add route: no such device":                     {Dest: "100.10.0.0/16", Src: "1.2.3.4"},
	} {
		t.Run(says, func(t *testing.T) {
			if err := r.Check(); err == nil || err.Error() != says {
				t.Errorf("%s: %v, want %q", r, err, says)
			}
		})
	}
}

func TestARouteNeedsTheInterfaceThatItGoesThrough(t *testing.T) {
	t.Parallel()
	for r, want := range map[Route]bool{
		{Dev: "eth1"}:                       true,
		{GW: "172.17.28.1"}:                 true,
		{Src: "172.17.28.2", GW: "1.1.1.1"}: true,
		{GW: "172.17.28.1", Dev: "eth2"}:    false,
		{GW: "10.0.0.1"}:                    false,
		{GW: "banana", Dev: " eth1 "}:       true,
		{GW: "banana"}:                      false,
	} {
		if got := r.DependsOn(good); got != want {
			t.Errorf("%s: %v", r, got)
		}
	}
}

func TestARouteNeedsTheInterfaceOfTheLinkRouteToItsGateway(t *testing.T) {
	t.Parallel()
	all := []Route{{Dest: "172.31.1.1/32", Dev: "eth1"}, {Dest: "fd31::1/128", Dev: "eth1"}, {Dev: "eth1"}, {Dest: "10.0.0.0/8", GW: "172.31.1.1"}}
	for _, c := range []struct {
		name string
		r    Route
		want bool
	}{
		{"IPv4", Route{GW: "172.31.1.1"}, true},
		{"IPv6", Route{GW: "fd31::1"}, true},
		{"another gateway", Route{GW: "172.31.1.2"}, false},
		{"another link", Route{GW: "172.31.1.1", Dev: "eth2"}, false},
		{"behind a gateway", Route{GW: "10.0.0.1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.r.Needs(good, all); got != c.want {
				t.Errorf("%s: %v, want %v", c.r, got, c.want)
			}
		})
	}
}

func TestARouteThatNoInterfaceReachesIsTold(t *testing.T) {
	t.Parallel()
	const reaches, called = "no recorded interface reaches ", "no recorded interface is called "
	all := []Route{{Dest: "172.31.1.1/32", Dev: "eth1"}}
	for _, c := range []struct {
		name string
		r    Route
		says string
	}{
		{"in its network", Route{GW: "172.17.28.1"}, ""},
		{"by a link route", Route{GW: "172.31.1.1"}, ""},
		{"by name", Route{GW: "9.9.9.9", Dev: "eth1"}, ""},
		{"by the loopback", Route{Dest: "127.1.0.0/16", Dev: "lo"}, ""},
		{"of another network", Route{GW: "10.0.0.1"}, reaches + "10.0.0.1: "},
		{"of IPv6", Route{GW: "fd00::1"}, reaches + "fd00::1: "},
		{"of no link", Route{Dest: "10.0.0.0/8", Dev: " eth9 "}, called + "eth9: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := c.r.CheckReached([]NIC{good}, all); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
				t.Errorf("%q, want %q", got, c.says)
			}
		})
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"172.17.28.2/24", "fd00::2/64", "1.2.3.4/0", "::ffff:1.2.3.4/96", "fe80::1%x/64", "/", "1.2.3.4/032"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseAddress(s)
		if err != nil || s == "" {
			return
		}
		if again, err := netip.ParsePrefix(p.String()); err != nil || again != p {
			t.Errorf("%q: %v, again %v %v", s, p, again, err)
		}
		if p.Addr().Is4() && !p.Contains(broadcast(p)) {
			t.Errorf("%q: the broadcast address %v is elsewhere", s, broadcast(p))
		}
	})
}

func FuzzMAC(f *testing.F) {
	f.Add("00:ff:48:23:e2:bb")
	f.Add("00ff.4823.e2bb")
	f.Add("00:ff:48:23:e2:bb:00:11")
	f.Fuzz(func(t *testing.T, s string) {
		if mac, err := parseMAC(s); err == nil && mac != nil && len(mac) != 6 {
			t.Errorf("%q: %v", s, mac)
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("default", "", "172.17.28.1", "", "200")
	f.Add(" 100.10.0.0/16 ", "1.2.3.4", "", "eth1", "")
	f.Add("::/0", "fd00::1", "fe80::1", "eth2", "0")
	f.Fuzz(func(t *testing.T, dest, src, gw, dev, metric string) {
		r := Route{dest, src, gw, dev, Metric(metric)}
		p, err := r.parse()
		if !r.Same(r) || !r.Matches(Route{}) || !r.Matches(r) {
			t.Errorf("%q is not itself", r)
		}
		if err != nil {
			return
		}
		if !p.dest.IsValid() || !p.gw.IsValid() && p.dev == "" {
			t.Errorf("%q: %+v", r, p)
		}
		for _, a := range []netip.Addr{p.src, p.gw} {
			if a.IsValid() && a.Is4() != p.dest.Addr().Is4() {
				t.Errorf("%q: %+v", r, p)
			}
		}
	})
}
