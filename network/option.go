package network

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"isula.org/isulad-tools/internal/rtnl"
)

// CheckHost refuses a new interface whose name on the host is in use, or of which
// there is nothing on the host. A link of the host keeps its own MTU and queue
// length where those are not given.
func (n *NIC) CheckHost(mtuGiven, queueGiven bool) error {
	if len(n.HostName) > maxName {
		return nil // that has an error of its own
	}
	host, err := rtnl.Dial()
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer host.Close()
	link, err := linkByNameOrAltName(host, n.HostName)
	switch {
	case err != nil:
		return err
	case n.Type == "eth" && link == nil:
		return hostNICMissing(n.HostName)
	case n.Type != "eth" && link != nil:
		return hostNameTaken(n.HostName)
	case n.Type == "eth" && !mtuGiven:
		n.MTU = link.MTU
	}
	if n.Type == "eth" && !queueGiven {
		n.QueueLen = link.QueueLen
	}
	return nil
}

// NewHostName makes up a name for the host's end of a veth: it begins as the name
// in the container does.
func NewHostName(name string) string {
	random := make([]byte, 3)
	_, _ = rand.Read(random) // never fails
	return name[:min(len(name), 9)] + "_" + hex.EncodeToString(random)[:5]
}
