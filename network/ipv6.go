package network

import (
	"fmt"
	"net/netip"
	"strings"
)

// CheckIPv6 tells which kernel parameter of a specification (linux.sysctl) takes the
// interface's IPv6 address away again: the runtime sets them after the prestart hook.
// That of "default" takes nothing from a link that is there.
func (n NIC) CheckIPv6(parameters map[string]string) error {
	ip, err := netip.ParsePrefix(n.IP)
	if err != nil || ip.Addr().Is4() {
		return nil
	}
	for key, value := range parameters {
		link, ok := strings.CutPrefix(strings.ReplaceAll(key, "/", "."), "net.ipv6.conf.")
		link, off := strings.CutSuffix(link, ".disable_ipv6")
		if ok && off && (link == "all" || link == n.Name) && strings.TrimSpace(value) != "0" {
			return fmt.Errorf("the container's specification switches IPv6 off afterwards (linux.sysctl %s=%s), and %s loses %s: "+
				"set net.ipv6.conf.default.disable_ipv6 alone, which spares this link", key, value, n.Name, n.IP)
		}
	}
	return nil
}
