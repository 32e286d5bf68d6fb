package network

import "github.com/safchain/ethtool"

// offloads are the features that v0.9 switched on: TSO, scatter-gather and the
// checksums of what is sent. A veth is made with them.
var offloads = []string{
	"tx-scatter-gather",
	"tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6",
	"tx-tcp-segmentation", "tx-tcp6-segmentation",
}

// enableOffloads switches on what the host's link can and does not do. It is an
// improvement only: a driver that refuses is left as it is.
func enableOffloads(link string) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return
	}
	defer tool.Close()
	has, err := tool.FeaturesWithState(link)
	if err != nil {
		return
	}
	on := map[string]bool{}
	for _, name := range offloads {
		if f, ok := has[name]; ok && f.Available && !f.Active {
			on[name] = true
		}
	}
	if len(on) > 0 {
		_ = tool.Change(link, on)
	}
}
