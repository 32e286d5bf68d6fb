package units

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// ip runs ip(8) on the host, which is the sandbox's network namespace.
func ip(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %q: %v: %s", args, err, out)
	}
	return string(out)
}

// ip runs ip(8) in the container's network namespace.
func (h *fakeContainer) ip(t testing.TB, args ...string) string {
	t.Helper()
	cmd := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", h.pid), "ip"}, args...)
	out, err := exec.Command("nsenter", cmd...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %q: %v: %s", args, err, out)
	}
	return string(out)
}

// withoutIPv6 switches IPv6 off in the container.
func (h *fakeContainer) withoutIPv6(t testing.TB) {
	t.Helper()
	const script = "mount -t proc proc /proc && for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done"
	out, err := exec.Command("unshare", "--mount", "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.pid), "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// links lists what "ip -j -d addr" says: name, kind, up, mtu, qlen, master, and
// the addresses that somebody gave; without lo.
func links(t testing.TB, addr string) []string {
	t.Helper()
	var list []struct {
		Name   string   `json:"ifname"`
		Flags  []string `json:"flags"`
		MTU    int      `json:"mtu"`
		Qlen   int      `json:"txqlen"`
		Master string   `json:"master"`
		Info   struct {
			Kind string `json:"info_kind"`
		} `json:"linkinfo"`
		Addrs []struct {
			Local     string `json:"local"`
			Length    int    `json:"prefixlen"`
			Broadcast string `json:"broadcast"`
			Scope     string `json:"scope"`
			Tentative bool   `json:"tentative"`
		} `json:"addr_info"`
	}
	must(t, json.Unmarshal([]byte(addr), &list))
	var all []string
	for _, l := range list {
		if l.Name == "lo" || strings.HasPrefix(l.Name, "x_") { // the far ends of links for tests
			continue
		}
		line := fmt.Sprintf("%s %s up=%v mtu=%d qlen=%d", l.Name, l.Info.Kind, slices.Contains(l.Flags, "UP"), l.MTU, l.Qlen)
		if l.Master != "" {
			line += " in " + l.Master
		}
		for _, a := range l.Addrs {
			if a.Scope != "global" {
				continue
			}
			line += fmt.Sprintf(" %s/%d", a.Local, a.Length)
			if a.Broadcast != "" {
				line += " brd " + a.Broadcast
			}
			if a.Tentative {
				line += " tentative"
			}
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

func (h *fakeContainer) links(t testing.TB) []string {
	t.Helper()
	return links(t, h.ip(t, "-j", "-d", "addr"))
}
func hostLinks(t testing.TB) []string { t.Helper(); return links(t, ip(t, "-j", "-d", "addr")) }
func same(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// bridges makes bridges on the host, for the test. What else has come until its
// end goes, too: with its container's namespace it does some time later.
func bridges(t testing.TB, names ...string) {
	t.Helper()
	before := hostLinks(t)
	t.Cleanup(func() {
		for _, l := range hostLinks(t) {
			name, _, _ := strings.Cut(l, " ")
			if !slices.ContainsFunc(before, func(b string) bool { return strings.HasPrefix(b, name+" ") }) {
				_ = exec.Command("ip", "link", "del", name).Run()
			}
		}
	})
	for i, n := range names {
		ip(t, "link", "add", n, "address", fmt.Sprintf("02:00:00:00:00:%02x", i+1), "type", "bridge")
		ip(t, "link", "set", n, "up")
		t.Cleanup(func() { _ = exec.Command("ip", "link", "del", n).Run() })
	}
}

// physical makes a host link that stands for hardware. Unlike that it does not come
// back by itself when the namespace that it is in goes.
func physical(t testing.TB, name string) {
	t.Helper()
	ip(t, "link", "add", name, "up", "type", "veth", "peer", "name", "x_"+name)
	// What has the name now, and the end that stays here, wherever the other one is.
	t.Cleanup(func() {
		for _, l := range []string{name, "x_" + name} {
			_ = exec.Command("ip", "link", "del", l).Run()
		}
	})
}
