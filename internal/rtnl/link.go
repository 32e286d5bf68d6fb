package rtnl

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Link is what we need to know of a link.
type Link struct {
	Index       int
	Name        string
	AltNames    []string `json:",omitempty"` // which it is found by, too; since Linux 5.5
	Alias       string   // a text that goes with it from one namespace to another
	Kind        string   // "veth", "bridge", …; "" for hardware
	Up          bool
	MTU         int
	QueueLen    int
	MAC         net.HardwareAddr
	PermMAC     net.HardwareAddr // that of the hardware, which nobody can set; since Linux 5.6
	Bridge      int              // index of what it is a port of; 0 for nothing
	Peer        int              // a veth's other end, in its namespace
	PeerNS      int              // this namespace's number of that; -1: this one
	InheritsMAC bool             `json:"-"` // a bridge that takes the address of its first port
}

// Link returns the link that has this name, or this alternative name; nil for
// none.
func (c *Conn) Link(name string) (*Link, error) {
	r := c.request("look for link", name, unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.addString(unix.IFLA_IFNAME, name)
	return r.link()
}

// LinkAt returns the link with this index; nil for none.
func (c *Conn) LinkAt(index int) (*Link, error) {
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	return c.request("look for link with index", index, unix.RTM_GETLINK, 0, header).link()
}

// Links lists all links.
func (c *Conn) Links() (list []*Link, err error) {
	r := c.request("list links", nil, unix.RTM_GETLINK, unix.NLM_F_DUMP, nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.addUint32(unix.IFLA_EXT_MASK, skipStats)
	answers, err := r.query(unix.RTM_NEWLINK)
	for _, a := range answers {
		l, err := parseLink(a)
		if err != nil {
			return nil, r.wrap(err)
		}
		list = append(list, l)
	}
	return list, err
}

const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS: most of the answer

func (r request) link() (*Link, error) {
	r.addUint32(unix.IFLA_EXT_MASK, skipStats)
	answers, err := r.query(unix.RTM_NEWLINK)
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil || len(answers) == 0 {
		return nil, err
	}
	l, err := parseLink(answers[0])
	return l, r.wrap(err)
}

func parseLink(answer []byte) (*Link, error) {
	if len(answer) < unix.SizeofIfInfomsg {
		return nil, unix.EBADMSG
	}
	header := nl.DeserializeIfInfomsg(answer)
	l := &Link{Index: int(header.Index), Up: header.Flags&unix.IFF_UP != 0, PeerNS: -1}
	var data attr
	err := eachAttr(answer, unix.SizeofIfInfomsg, func(a attr) error {
		switch a.kind {
		case unix.IFLA_IFNAME:
			l.Name = a.string()
		case unix.IFLA_PROP_LIST:
			return a.nested(func(a attr) error {
				if a.kind == unix.IFLA_ALT_IFNAME {
					l.AltNames = append(l.AltNames, a.string())
				}
				return nil
			})
		case unix.IFLA_IFALIAS:
			l.Alias = a.string()
		case unix.IFLA_MTU:
			return a.int32(&l.MTU)
		case unix.IFLA_TXQLEN:
			return a.int32(&l.QueueLen)
		case unix.IFLA_ADDRESS:
			l.MAC = a.value
		case unix.IFLA_PERM_ADDRESS:
			l.PermMAC = a.value
		case unix.IFLA_MASTER:
			return a.int32(&l.Bridge)
		case unix.IFLA_LINK:
			return a.int32(&l.Peer)
		case unix.IFLA_LINK_NETNSID:
			return a.int32(&l.PeerNS)
		case unix.IFLA_LINKINFO:
			return a.nested(func(a attr) error {
				switch a.kind {
				case nl.IFLA_INFO_KIND:
					l.Kind = a.string()
				case nl.IFLA_INFO_DATA:
					data = a
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && l.Kind == "bridge" {
		l.InheritsMAC, err = inheritsMAC(data)
	}
	return l, err
}

// inheritsMAC tells whether a bridge has no address in its id (struct ifla_bridge_id): it has
// no ports, and nobody has chosen the address of its link.
func inheritsMAC(bridge attr) (bool, error) {
	id := []byte{}
	err := bridge.nested(func(a attr) error {
		if a.kind == nl.IFLA_BR_BRIDGE_ID {
			id = a.value
		}
		return nil
	})
	return len(id) == 8 && bytes.Equal(id[2:], make([]byte, 6)), err
}

// LinkAttrs are what a link is given. Its zero values are not asked for.
type LinkAttrs struct {
	Name     string
	Alias    *string
	MTU      int
	QueueLen *int
	MAC      net.HardwareAddr
	Bridge   *int // index; 0: none
	NS       int  // a namespace to be in, by file descriptor
	Up       *bool
}

// header is the part of a request about a link that names it, 0 for a new one.
func (a LinkAttrs) header(index int) *nl.IfInfomsg {
	h := nl.NewIfInfomsg(unix.AF_UNSPEC)
	h.Index = int32(index)
	if a.Up != nil {
		h.Change = unix.IFF_UP
		if *a.Up {
			h.Flags = unix.IFF_UP
		}
	}
	return h
}

// attrs is the other part. The kernel needs all that a peer is at once.
func (a LinkAttrs) attrs() (list []nl.NetlinkRequestData) {
	add := func(kind int, value []byte) { list = append(list, nl.NewRtAttr(kind, value)) }
	addNumber := func(kind, value int) { add(kind, nl.Uint32Attr(uint32(value))) }
	if a.Name != "" {
		add(unix.IFLA_IFNAME, nl.ZeroTerminated(a.Name))
	}
	if a.Alias != nil {
		add(unix.IFLA_IFALIAS, []byte(*a.Alias))
	}
	if a.MTU > 0 {
		addNumber(unix.IFLA_MTU, a.MTU)
	}
	if a.QueueLen != nil {
		addNumber(unix.IFLA_TXQLEN, *a.QueueLen)
	}
	if a.MAC != nil {
		add(unix.IFLA_ADDRESS, a.MAC)
	}
	if a.Bridge != nil {
		addNumber(unix.IFLA_MASTER, *a.Bridge)
	}
	if a.NS > 0 {
		addNumber(unix.IFLA_NET_NS_FD, a.NS)
	}
	return list
}

// AddVeth makes a veth, both ends in one request.
func (c *Conn) AddVeth(end, peer LinkAttrs) error {
	r := c.request("add veth", end.Name, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, end.header(0))
	for _, a := range end.attrs() {
		r.AddData(a)
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	of := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	of.AddChild(peer.header(0))
	for _, a := range peer.attrs() {
		of.AddChild(a)
	}
	r.AddData(info)
	return r.execute()
}

// SetLink gives a link what is asked for, in one request: another namespace and a
// name in it, too. The kernel takes a link that it moves down, and drops its
// addresses. When it fails, part of it may be done.
func (c *Conn) SetLink(index int, a LinkAttrs) error {
	r := c.request("set link with index", index, unix.RTM_NEWLINK, unix.NLM_F_ACK, a.header(index))
	for _, a := range a.attrs() {
		r.AddData(a)
	}
	return r.execute()
}

// AddAltName gives a link another name by which it is found, too.
func (c *Conn) AddAltName(index int, name string) error {
	return c.changeAltName("add alternative name", unix.RTM_NEWLINKPROP, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, name)
}

// DeleteAltName takes one away.
func (c *Conn) DeleteAltName(index int, name string) error {
	return c.changeAltName("delete alternative name", unix.RTM_DELLINKPROP, 0, index, name)
}

func (c *Conn) changeAltName(op string, kind, flags, index int, name string) error {
	r := c.request(op, name, kind, flags|unix.NLM_F_ACK, LinkAttrs{}.header(index))
	list := nl.NewRtAttr(unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, nil)
	list.AddRtAttr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated(name))
	r.AddData(list)
	return r.execute()
}

// DeleteLink deletes a link. It is no error if the link does not exist.
func (c *Conn) DeleteLink(index int) error {
	return c.request("delete link with index", index, unix.RTM_DELLINK, unix.NLM_F_ACK, LinkAttrs{}.header(index)).execute(unix.ENODEV)
}

// DeleteLinks deletes links as one group, whose number nobody else has: the kernel waits
// for their last users once, some 20 ms, and not for each. What fails leaves those that
// are there to Delete.
func (c *Conn) DeleteLinks(links []int) error {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	group := int(binary.NativeEndian.Uint32(random[:])>>1 | 1<<30)
	for _, index := range links {
		r := c.request("set group of link with index", index, unix.RTM_NEWLINK, unix.NLM_F_ACK, LinkAttrs{}.header(index))
		r.addUint32(unix.IFLA_GROUP, group)
		if err := r.execute(unix.ENODEV); err != nil {
			return err
		}
	}
	r := c.request("delete links of group", group, unix.RTM_DELLINK, unix.NLM_F_ACK, LinkAttrs{}.header(0))
	r.addUint32(unix.IFLA_GROUP, group)
	return r.execute()
}
