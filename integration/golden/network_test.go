package golden

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/integration/sandbox"
)

// link is a network interface as the recordings describe it.
type link struct {
	Kind   string   `json:"kind"`
	MTU    int      `json:"mtu"`
	Qlen   *int     `json:"qlen"` // null: 0
	Up     bool     `json:"up"`
	Master *string  `json:"master"`
	Inet   []string `json:"inet"` // IPv4 addresses
	MAC    string   `json:"mac"`
}

// anyMAC stands in a recording for an address that the kernel chose.
const anyMAC = "<MAC>"

// bridges are those of the recorder's host.
var bridges = []string{"br0g", "br1g"}

// network tells whether the case can have to do with bridges or links.
func (c *testCase) network() bool {
	words := slices.Concat(append(c.Setup.PreCommands, c.Argv)...)
	text := strings.Join(append(words, string(c.Setup.DeviceHook)), " ")
	return strings.Contains(text, "nic") || strings.Contains(text, "networkInterfaces")
}

func makeBridges(t *testing.T) {
	t.Helper()
	var lines []string
	for i, b := range bridges {
		// With an address of its own, as the recorder's had: a bridge without one
		// takes on that of its ports.
		lines = append(lines, fmt.Sprintf("link add %s address 02:00:00:00:00:%02x type bridge", b, i+1), "link set "+b+" up")
	}
	check(t, ip(lines))
}

// ip runs commands of ip(8), all of them.
func ip(lines []string) error {
	cmd := exec.Command("ip", "-force", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %q: %w: %s", lines, err, out)
	}
	return nil
}

// clearLinks deletes every link but lo, all at once: the kernel waits for its
// readers with every request.
func clearLinks(t *testing.T) {
	t.Helper()
	const group = "4711"
	var failed error
	gone := sandbox.Await(func() bool {
		links, err := net.Interfaces()
		check(t, err)
		var lines []string
		for _, l := range links {
			if l.Name != "lo" {
				lines = append(lines, "link set dev "+l.Name+" group "+group)
			}
		}
		if lines != nil {
			// Ends of pairs go by themselves when the container's end goes.
			failed = ip(append(lines, "link delete group "+group))
		}
		return lines == nil
	})
	if !gone {
		t.Errorf("links do not go: %v", failed)
	}
}

// networkOf is what links and routes the network namespace of a process has.
// lo is left out, and nothing is executed where there is nothing else.
func networkOf(t *testing.T, pid int) (map[string]*link, []string) {
	t.Helper()
	devices, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	check(t, err)
	if strings.Count(string(devices), ":") < 2 {
		return nil, nil
	}
	// One object after the other.
	script := "ip -j -d addr; ip -j route; ip -j -6 route"
	out, err := exec.Command("nsenter", "--net", "--target", fmt.Sprint(pid), "sh", "-c", script).Output()
	check(t, err)
	answers := json.NewDecoder(strings.NewReader(string(out)))
	var addrs []addrAnswer
	check(t, answers.Decode(&addrs))
	links := map[string]*link{}
	for _, a := range addrs {
		if a.Name != "lo" {
			links[a.Name] = a.link()
		}
	}
	var routes []string
	for answers.More() {
		var list []map[string]any
		check(t, answers.Decode(&list))
		for _, r := range list {
			if line := routeLine(r); line != "" {
				routes = append(routes, line)
			}
		}
	}
	return links, routes
}

// addrAnswer is what ip(8) says of a link.
type addrAnswer struct {
	Name     string   `json:"ifname"`
	Flags    []string `json:"flags"`
	MTU      int      `json:"mtu"`
	Qlen     *int     `json:"txqlen"`
	Master   *string  `json:"master"`
	MAC      string   `json:"address"`
	LinkInfo struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
	Addrs []struct {
		Family    string `json:"family"`
		Local     string `json:"local"`
		Length    int    `json:"prefixlen"`
		Broadcast string `json:"broadcast"`
		Scope     string `json:"scope"`
		Label     string `json:"label"`
	} `json:"addr_info"`
}

func (a addrAnswer) link() *link {
	l := &link{
		Kind: a.LinkInfo.Kind, MTU: a.MTU, Qlen: a.Qlen, Up: slices.Contains(a.Flags, "UP"),
		Master: a.Master, MAC: a.MAC,
	}
	for _, i := range a.Addrs {
		if i.Family == "inet" {
			l.Inet = append(l.Inet, fmt.Sprintf("%s/%d brd %s scope %s label %s", i.Local, i.Length, i.Broadcast, i.Scope, i.Label))
		}
	}
	return l
}

// routeLine is a route as recorded; "" for the kernel's own link-local one,
// which comes when the kernel has time for it.
func routeLine(r map[string]any) string {
	if r["dst"] == "fe80::/64" && r["protocol"] == "kernel" {
		return ""
	}
	var words []string
	for _, key := range []string{"dst", "gateway", "dev", "protocol", "scope", "prefsrc"} {
		if v, ok := r[key]; ok {
			words = append(words, fmt.Sprintf("%s=%v", key, v))
		}
	}
	return strings.Join(words, " ")
}

// withoutLinkLocal drops the routes that routeLine leaves out.
func (c change) withoutLinkLocal() change {
	own := func(l string) bool {
		return strings.HasPrefix(l, "dst=fe80::/64 ") && strings.HasSuffix(l, "protocol=kernel")
	}
	return change{slices.DeleteFunc(slices.Clone(c.Added), own), slices.DeleteFunc(slices.Clone(c.Removed), own)}
}

// changedLinks are the links that came or differ now; nil is for what is gone.
func changedLinks(before, after map[string]*link) map[string]*link {
	diff := map[string]*link{}
	for name, l := range after {
		if !cmp.Equal(before[name], l) {
			diff[name] = l
		}
	}
	for name := range before {
		if after[name] == nil {
			diff[name] = nil
		}
	}
	return diff
}

// compareLinks compares with recorded links, which may leave the hardware
// address open.
func compareLinks(d *diffs, what string, want, got map[string]*link) {
	got = maps.Clone(got)
	for name, w := range want {
		if g := got[name]; g != nil && w != nil && w.MAC == anyMAC {
			open := *g
			open.MAC = anyMAC
			got[name] = &open
		}
	}
	d.compare(what, want, got)
}

// randomPart is of the name that a host's end gets when none is given.
var randomPart = regexp.MustCompile(`_[0-9a-f]{5}\b`)

const recordedRandomPart = "_<RND5>"

// hideRandomNames puts the recording's placeholder in place of what was chosen.
func (o *observed) hideRandomNames() {
	hide := func(s string) string { return randomPart.ReplaceAllString(s, recordedRandomPart) }
	o.stdout, o.deviceHook = hide(o.stdout), hide(o.deviceHook)
	links := map[string]*link{}
	for name, l := range o.effects.HostLinks {
		links[hide(name)] = l
	}
	o.effects.HostLinks = links
}

// compareOvs compares what ovs-vsctl was asked, whatever options it got and
// however often.
func compareOvs(d *diffs, recorded string, calls []string) {
	normal := func(lines []string) []string {
		var list []string
		for _, l := range lines {
			words := slices.DeleteFunc(strings.Fields(l), func(w string) bool { return strings.HasPrefix(w, "-") })
			list = append(list, strings.Join(words, " "))
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	d.compare("ovs_calls", normal(slices.Collect(strings.Lines(recorded))), normal(calls))
}
