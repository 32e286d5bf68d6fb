package network

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"isula.org/isulad-tools/internal/netspace"
)

// CheckHost refuses a new interface whose name on the host is in use, or of which
// there is nothing on the host.
func (n NIC) CheckHost() error {
	if len(n.HostName) > maxName {
		return nil // that has an error of its own
	}
	host, err := netspace.Here()
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer host.Close()
	link, err := lookUp(host, n.HostName)
	switch {
	case err != nil:
		return err
	case n.Type == "eth" && link == nil:
		return hostNICMissing(n.HostName)
	case n.Type != "eth" && link != nil:
		return hostNameTaken(n.HostName)
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
