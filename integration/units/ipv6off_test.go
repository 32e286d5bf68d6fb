package units

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/network"
)

// ipv6Off tells of which links of the container IPv6 is switched off.
func (h *fakeContainer) ipv6Off(t testing.TB) (links []string) {
	t.Helper()
	const script = "mount -t proc proc /proc && cd /proc/sys/net/ipv6/conf && grep -l 1 */disable_ipv6"
	out, err := exec.Command("unshare", "--mount", "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.pid), "sh", "-c", script).Output()
	must(t, err)
	for line := range strings.Lines(string(out)) {
		links = append(links, strings.TrimSuffix(line, "/disable_ipv6\n"))
	}
	slices.Sort(links)
	return links
}

func TestAnIPv6AddressSwitchesIPv6OnForItsLinkAlone(t *testing.T) {
	for _, options := range [][]option{nil, {userns}} {
		t.Run(fmt.Sprint(options), func(t *testing.T) {
			bridges(t, "br0")
			physical(t, "phy0")
			h := hold(t, nil, options...)
			to := h.target(t, hostOwner)
			h.withoutIPv6(t)
			n4, n6, lent := veth("h1", "eth1", "172.17.28.2/24"), veth("h2", "eth2", "fd00::2/64"), eth("phy0", "eth5", "fd00:1::2/64")
			for _, n := range []network.NIC{n4, n6, lent} {
				apply(t, to, n)
			}
			same(t, "container", h.links(t),
				"eth1 veth up=true mtu=1500 qlen=1000 172.17.28.2/24 brd 172.17.28.255",
				"eth2 veth up=true mtu=1500 qlen=1000 fd00::2/64",
				"eth5 veth up=true mtu=1500 qlen=1000 fd00:1::2/64")
			same(t, "IPv6 is off", h.ipv6Off(t), "all", "default", "eth1", "lo")
			must(t, network.Routes.Apply(t.Context(), to, network.Route{GW: "fd00::1"}))

			now := n4
			now.IP = "fd00:2::2/64"
			update(t, to, n4, now)
			same(t, "IPv6 is off after an update", h.ipv6Off(t), "all", "default", "lo")
			must(t, network.Interfaces.Remove(t.Context(), to, lent))
		})
	}
}
