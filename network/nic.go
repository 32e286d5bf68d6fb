package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// NIC is a record of device_hook.json's networkInterfaces.
type NIC struct {
	IP       string `json:"Ip"`   // the address with its prefix length; "": none, as for DHCP in the container
	MAC      string `json:"Mac"`  // "": as it comes
	MTU      int    `json:"Mtu"`  // of both ends
	QueueLen int    `json:"Qlen"` // transmit queue length, of both ends
	Type     string // "veth" or "eth"; "" is veth
	Bridge   string // what a veth's host end is a port of
	HostName string `json:"HostNicName"` // of the host end, or of an eth while the host has it
	Name     string `json:"CtrNicName"`  // in the container
}

// MaxNICs is how many interfaces a container can have.
const MaxNICs = 128

// Interfaces is the kind of resource that network interfaces are.
var Interfaces = resource.Kind[NIC]{
	Name:    nicName,
	Key:     config.NetInterfaces,
	Policy:  resource.Stop,
	Resolve: func(n NIC) (NIC, bool, error) { _, err := n.parse(); return n, false, err },
	Apply:   applyNIC,
	Remove:  removeNIC,
	Update:  updateNIC,
	Verify:  verifyNIC,
	// The record is saved after Update: a repeated Update must know the old address to remove it.
	UpdatedLate: true,
	// Compat: update-nic-order-changes.
	UpdatedLast: true,
	Granted:     true,
}

const nicName = "network interface"

// String is the record in short.
func (n NIC) String() string {
	return strings.TrimSpace(n.Type + " " + n.HostName + ":" + n.Name + " " + n.IP)
}

// linkType is one way to give a container an interface.
type linkType struct {
	name string
	// check refuses what this type cannot have. It does not look at the host.
	check func(NIC) error
	// apply brings the interface into the container, but not up, or finds it
	// there, and returns what it is. What it did it pushes to the stack.
	apply func(context.Context, *session, parsedNIC, *undo.Stack) (made, error)
	// find returns the ends that are there.
	find func(*session, parsedNIC) (linkEnds, error)
	// remove takes it away. It is no error if it does not exist.
	remove func(context.Context, *session, parsedNIC) error
}

// linkEnds are a link in the container and what it is on the host, if anything.
type linkEnds struct{ host, inside *rtnl.Link }

var linkTypes = []linkType{
	{"veth", checkVeth, applyVeth, findVeth, removeVeth},
	{"eth", checkEth, applyEth, findEth, removeEth},
}

func typeOf(name string) *linkType {
	if name == "" {
		name = "veth"
	}
	i := slices.IndexFunc(linkTypes[:], func(t linkType) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return &linkTypes[i]
}

// parsedNIC is a record that is understood.
type parsedNIC struct {
	NIC
	*linkType
	ip  netip.Prefix     // the zero value: none
	mac net.HardwareAddr // nil: as it comes
	is  made             // what the ledger knows of it
}

// CheckOptions refuses a type, names, an address or a combination of them.
func (n NIC) CheckOptions() error {
	_, err := n.parseOptions()
	return err
}

// CheckMAC refuses a hardware address that is not one of Ethernet: recorded by v0.9, of
// a longer one its beginning is used.
func CheckMAC(s string) error {
	if mac, err := net.ParseMAC(s); err == nil && len(mac) != 6 {
		return fmt.Errorf("address %s: a hardware address has 6 bytes, this one has %d", s, len(mac))
	}
	return nil
}

// CheckNumbers refuses sizes and names that the kernel would. The wording is
// v0.9's, which let the kernel find out.
func (n NIC) CheckNumbers() error {
	switch {
	case n.MTU < minMTU:
		//lint:ignore ST1005 the wording of v0.9
		return fmt.Errorf("Mtu must not be less than %d", minMTU)
	case n.QueueLen < 0:
		//lint:ignore ST1005 the wording of v0.9
		return errors.New("Qlen must not be less than 0")
	case n.MTU > maxMTU: // Compat: add-nic-mtu-70000
		return &opError{opSetMTU, unix.EINVAL}
	case int64(n.QueueLen) > maxQueueLen:
		//lint:ignore ST1005 as the one above
		return fmt.Errorf("Qlen %d must not be greater than %d", n.QueueLen, int64(maxQueueLen))
	case len(n.Name) > maxName, len(n.HostName) > maxName: // Compat: add-nic-veth-too-long-name
		return &opError{opRename, unix.ERANGE}
	}
	mac, err := parseMAC(n.MAC)
	if err == nil && mac != nil && (mac[0]&1 != 0 || bytes.Equal(mac, make([]byte, len(mac)))) {
		return &opError{opSetMAC, unix.EADDRNOTAVAIL} // Compat: add-nic-mac-multicast
	}
	return err
}

const (
	minMTU      = 68 // of IPv4, and the kernel's for Ethernet
	maxMTU      = 65535
	maxQueueLen = 1<<31 - 1
	maxName     = unix.IFNAMSIZ - 1
)

// parse is for what is recorded. There 0 is an MTU as it comes.
func (n NIC) parse() (parsedNIC, error) {
	p, err := n.parseOptions()
	if err == nil && n.Name == "" {
		err = checkName("")
	}
	if n.MTU == 0 {
		n.MTU = minMTU
	}
	if err == nil {
		err = n.CheckNumbers()
	}
	return p, err
}

func (n NIC) parseOptions() (p parsedNIC, err error) {
	p = parsedNIC{NIC: n, linkType: typeOf(n.Type)}
	if p.linkType == nil {
		return p, fmt.Errorf("unsupported type %s", n.Type)
	}
	if err := p.check(n); err != nil {
		return p, err
	}
	for _, name := range []string{n.Name, n.HostName, n.Bridge} {
		if err := checkName(name); name != "" && err != nil {
			return p, err
		}
	}
	if p.ip, err = parseAddress(n.IP); err != nil {
		return p, err
	}
	p.mac, err = parseMAC(n.MAC)
	return p, err
}

// checkName refuses what is no link's name, as the kernel does. A name that is
// too long has its own error, elsewhere.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r%\x00") {
		return fmt.Errorf("invalid nic name %q", name)
	}
	return nil
}

// parseAddress parses an address with prefix length; "" is none.
func parseAddress(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	_, _, err := net.ParseCIDR(s) // Compat: add-nic-ip-*, whose errors are this function's
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid CIDR address: %s", s)
	}
	a := p.Addr()
	switch {
	case a.IsUnspecified(), a.IsMulticast(), a.Is4In6():
		return p, fmt.Errorf("invalid CIDR address: %s: not an address that an interface can have", s)
	case a.Is4() && p.Bits() < 31 && a == broadcast(p):
		return p, fmt.Errorf("invalid CIDR address: %s: the broadcast address of its network", s)
	}
	return p, nil
}

// broadcast is the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// parseMAC parses an Ethernet address; "" is none. Compat: add-nic-mac-eui64,
// of a longer one the kernel took the beginning.
func parseMAC(s string) (net.HardwareAddr, error) {
	if s == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(s)
	if err != nil {
		return nil, err
	}
	return mac[:6], nil
}

// Conflict returns why old and n cannot both be a container's; nil when they
// can. It compares values, not their spelling.
func (n NIC) Conflict(old NIC) error {
	mac, _ := parseMAC(n.MAC)
	oldMAC, _ := parseMAC(old.MAC)
	ip, _ := netip.ParsePrefix(n.IP)
	oldIP, _ := netip.ParsePrefix(old.IP)
	switch {
	case n.Name == old.Name:
		return fmt.Errorf("interface name conflict: %s", n.Name)
	case n.HostName == old.HostName:
		return fmt.Errorf("interface name conflict: %s", n.HostName)
	case mac != nil && bytes.Equal(mac, oldMAC):
		return fmt.Errorf("interface mac conflict: %s", n.MAC)
	case ip.IsValid() && ip.Addr() == oldIP.Addr():
		return fmt.Errorf("interface ip conflict: %s", n.IP)
	}
	return nil
}

// Matches tells whether the record has every value that filter has.
func (n NIC) Matches(filter NIC) bool {
	if filter.MTU != 0 && n.MTU != filter.MTU || filter.QueueLen != 0 && n.QueueLen != filter.QueueLen {
		return false
	}
	for _, f := range [][2]string{
		{n.IP, filter.IP},
		{n.MAC, filter.MAC},
		{n.Type, filter.Type},
		{n.Bridge, filter.Bridge},
		{n.HostName, filter.HostName},
		{n.Name, filter.Name},
	} {
		if f[1] != "" && f[0] != f[1] {
			return false
		}
	}
	return true
}
