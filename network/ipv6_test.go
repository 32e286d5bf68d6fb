package network

import (
	"strings"
	"testing"
)

func TestASpecificationThatTakesAnIPv6AddressAwayIsNamed(t *testing.T) {
	t.Parallel()
	six := good
	six.IP = "fd00::2/64"
	for _, c := range []struct {
		name       string
		n          NIC
		key, value string
		told       bool
	}{
		{"off everywhere", six, "net.ipv6.conf.all.disable_ipv6", "1", true},
		{"spelled with slashes", six, "net/ipv6/conf/all/disable_ipv6", "1", true},
		{"off on the link", six, "net.ipv6.conf.eth1.disable_ipv6", "1", true},
		{"off on links that come", six, "net.ipv6.conf.default.disable_ipv6", "1", false},
		{"off on another link", six, "net.ipv6.conf.eth2.disable_ipv6", "1", false},
		{"on", six, "net.ipv6.conf.all.disable_ipv6", "0", false},
		{"another parameter", six, "net.ipv6.conf.all.forwarding", "1", false},
		{"an IPv4 address", good, "net.ipv6.conf.all.disable_ipv6", "1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.n.CheckIPv6(map[string]string{c.key: c.value})
			if (err != nil) != c.told || c.told && !strings.Contains(err.Error(), c.key+"="+c.value) {
				t.Errorf("%v, want one: %v", err, c.told)
			}
		})
	}
}
