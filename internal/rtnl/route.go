package rtnl

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// An address says since Linux 5.18 who gave it (IFA_PROTO); older kernels ignore
// the attribute. Ours is a number that nobody else has in <linux/if_addr.h> and
// rt_addrprotos.
const (
	ifaProto = 11
	ours     = 0x69
)

// addressRequest is about an address of a link, without its broadcast address.
func (c *Conn) addressRequest(op string, kind, flags, index int, p netip.Prefix) (request, *nl.IfAddrmsg) {
	header := nl.NewIfAddrmsg(family(p.Addr()))
	header.Index, header.Prefixlen = uint32(index), uint8(p.Bits())
	r := c.request(op, p, kind, flags, header)
	r.addBytes(unix.IFA_LOCAL, p.Addr().AsSlice())
	r.addBytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
	return r, header
}

// AddAddress gives a link an address; broadcast may be the zero value. One that
// it has is fine. An IPv6 address is usable at once: a container does not start
// again because its address was tentative when it looked.
func (c *Conn) AddAddress(index int, p netip.Prefix, broadcast netip.Addr) error {
	r, header := c.addressRequest("add address", unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, index, p)
	if p.Addr().Is6() {
		header.Flags = unix.IFA_F_NODAD
	}
	if broadcast.IsValid() {
		r.addBytes(unix.IFA_BROADCAST, broadcast.AsSlice())
	}
	r.addBytes(ifaProto, []byte{ours})
	return r.execute(unix.EEXIST)
}

// DeleteAddress takes an address from a link. It is no error if the address or the link
// does not exist.
func (c *Conn) DeleteAddress(index int, p netip.Prefix) error {
	r, _ := c.addressRequest("delete address", unix.RTM_DELADDR, unix.NLM_F_ACK, index, p)
	return r.execute(unix.EADDRNOTAVAIL, unix.ENODEV)
}

// Address is an address of a link as the kernel tells it.
type Address struct {
	Prefix netip.Prefix
	Ours   bool // it was given by AddAddress, on a kernel that tells
	answer []byte
}

// Raw is the address as the kernel told it, for RestoreAddress.
func (a Address) Raw() []byte { return a.answer }

// Raw is the route as the kernel told it, for RestoreRoute.
func (t Route) Raw() []byte { return t.answer }

// RestoreAddress gives the link an address that was listed before, by its Raw form,
// whatever the link's index was then. One that it has is fine.
func (c *Conn) RestoreAddress(index int, raw []byte) error {
	const op = "restore an address of link with index"
	if len(raw) < unix.SizeofIfAddrmsg {
		return &OpError{op, index, unix.EBADMSG}
	}
	message := bytes.Clone(raw)
	nl.DeserializeIfAddrmsg(message).Index = uint32(index) // a view of it
	return c.restore(op, index, unix.RTM_NEWADDR, message)
}

// RestoreRoute is RestoreAddress for a route through the link.
func (c *Conn) RestoreRoute(index int, raw []byte) error {
	const op = "restore a route of link with index"
	if len(raw) < unix.SizeofRtMsg {
		return &OpError{op, index, unix.EBADMSG}
	}
	message := clearReadOnlyFlags(raw)
	err := eachAttr(message, unix.SizeofRtMsg, func(a attr) error {
		if a.kind == unix.RTA_OIF && len(a.value) == 4 {
			binary.NativeEndian.PutUint32(a.value, uint32(index)) // a view of the message
		}
		return nil
	})
	if err != nil {
		return &OpError{op, index, err}
	}
	return c.restore(op, index, unix.RTM_NEWROUTE, message)
}

func (c *Conn) restore(op string, index, kind int, message rawMessage) error {
	return c.request(op, index, kind, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, message).execute(unix.EEXIST)
}

// Addresses lists the addresses of a link, but those that the kernel gives every
// link by itself.
func (c *Conn) Addresses(index int) ([]Address, error) {
	r := c.request("list addresses", nil, unix.RTM_GETADDR, unix.NLM_F_DUMP, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	answers, err := r.query(unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	var list []Address
	for _, answer := range answers {
		a, ok, err := parseAddress(answer, index)
		if err != nil {
			return nil, r.wrap(err)
		}
		if ok {
			list = append(list, a)
		}
	}
	return list, nil
}

// parseAddress reads an address of the link with this index. ok is false for another
// link's, and for one that the kernel gives by itself.
func parseAddress(answer []byte, index int) (address Address, ok bool, err error) {
	if len(answer) < unix.SizeofIfAddrmsg {
		return address, false, unix.EBADMSG
	}
	header := nl.DeserializeIfAddrmsg(answer)
	if int(header.Index) != index || header.Scope != unix.RT_SCOPE_UNIVERSE || header.Family != unix.AF_INET && header.Family != unix.AF_INET6 {
		return address, false, nil
	}
	var local, peer netip.Addr
	address.answer = answer
	err = eachAttr(answer, unix.SizeofIfAddrmsg, func(a attr) error {
		switch a.kind {
		case unix.IFA_LOCAL:
			return a.addr(&local)
		case unix.IFA_ADDRESS:
			return a.addr(&peer)
		case ifaProto:
			address.Ours = len(a.value) == 1 && a.value[0] == ours
		}
		return nil
	})
	if !local.IsValid() { // IPv6
		local = peer
	}
	address.Prefix = netip.PrefixFrom(local, int(header.Prefixlen))
	return address, local.IsValid(), err
}

// rawMessage is a message that came from the kernel.
type rawMessage []byte

func (r rawMessage) Len() int          { return len(r) }
func (r rawMessage) Serialize() []byte { return r }

// Route is a route of the main table. Zero values are not there.
type Route struct {
	Dest    netip.Prefix
	Src, GW netip.Addr
	Link    int // index
	Metric  uint32
	Scope   uint8 // RT_SCOPE_UNIVERSE; of IPv4 RT_SCOPE_LINK, too
	OnLink  bool  // the gateway is on the link, whatever network the link has
	Ours    bool  // it looks as AddRoute makes them

	answer []byte // the kernel's, of a route that it told
}

// AddRoute adds a route as a person's "ip route add" does.
func (c *Conn) AddRoute(t Route) error {
	header := nl.NewRtMsg() // main table, protocol boot, unicast
	header.Scope = t.Scope
	if t.OnLink {
		header.Flags = unix.RTNH_F_ONLINK
	}
	header.Family, header.Dst_len = uint8(family(t.Dest.Addr())), uint8(t.Dest.Bits())
	r := c.request("add route to", t.Dest, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, header)
	if t.Dest.Bits() > 0 {
		r.addBytes(unix.RTA_DST, t.Dest.Addr().AsSlice())
	}
	if t.Src.IsValid() {
		r.addBytes(unix.RTA_PREFSRC, t.Src.AsSlice())
	}
	if t.GW.IsValid() {
		r.addBytes(unix.RTA_GATEWAY, t.GW.AsSlice())
	}
	if t.Link > 0 {
		r.addUint32(unix.RTA_OIF, t.Link)
	}
	if t.Metric > 0 {
		r.addUint32(unix.RTA_PRIORITY, int(t.Metric))
	}
	return r.execute()
}

// Routes lists the unicast routes of a family, without those that the kernel
// makes and drops by itself.
func (c *Conn) Routes(family int) ([]Route, error) {
	header := &nl.RtMsg{}
	header.Family = uint8(family)
	request := c.request("list routes", nil, unix.RTM_GETROUTE, unix.NLM_F_DUMP, header)
	answers, err := request.query(unix.RTM_NEWROUTE)
	if err != nil {
		return nil, err
	}
	var list []Route
	for _, a := range answers {
		r, ok, err := parseMainRoute(a, family)
		if err != nil {
			return nil, request.wrap(err)
		}
		if ok {
			list = append(list, r)
		}
	}
	return list, nil
}

// parseMainRoute reads a unicast route of the main table. ok is false for another one,
// and for one that the kernel makes by itself.
func parseMainRoute(answer []byte, family int) (r Route, ok bool, err error) {
	if len(answer) < unix.SizeofRtMsg {
		return r, false, unix.EBADMSG
	}
	h := nl.DeserializeRtMsg(answer)
	if int(h.Family) != family || h.Table != unix.RT_TABLE_MAIN || h.Type != unix.RTN_UNICAST || h.Flags&unix.RTM_F_CLONED != 0 ||
		h.Protocol == unix.RTPROT_KERNEL || h.Protocol == unix.RTPROT_RA {
		return r, false, nil
	}
	r, err = parseRoute(answer, h)
	return r, true, err
}

func parseRoute(answer []byte, h *nl.RtMsg) (r Route, err error) {
	dest := netip.IPv6Unspecified()
	if h.Family == unix.AF_INET {
		dest = netip.IPv4Unspecified()
	}
	r.answer = answer
	r.Scope, r.OnLink = h.Scope, h.Flags&unix.RTNH_F_ONLINK != 0
	r.Ours = h.Protocol == unix.RTPROT_BOOT && h.Tos == 0
	err = eachAttr(answer, unix.SizeofRtMsg, func(a attr) error {
		switch a.kind {
		case unix.RTA_DST:
			return a.addr(&dest)
		case unix.RTA_PREFSRC:
			return a.addr(&r.Src)
		case unix.RTA_GATEWAY:
			return a.addr(&r.GW)
		case unix.RTA_OIF:
			return a.int32(&r.Link)
		case unix.RTA_PRIORITY:
			return a.uint32(&r.Metric)
		}
		return nil
	})
	r.Dest = netip.PrefixFrom(dest, int(h.Dst_len))
	return r, err
}

// SetScope gives a route of IPv4 that was listed another scope, in one step.
func (c *Conn) SetScope(t Route, scope uint8) error {
	answer := clearReadOnlyFlags(t.answer)
	nl.DeserializeRtMsg(answer).Scope = scope // a view of it
	return c.request("set the scope of the route to", t.Dest, unix.RTM_NEWROUTE, unix.NLM_F_REPLACE|unix.NLM_F_ACK, rawMessage(answer)).execute()
}

// clearReadOnlyFlags clears the flags that the kernel tells and does not take.
func clearReadOnlyFlags(answer []byte) []byte {
	b := bytes.Clone(answer)
	header := nl.DeserializeRtMsg(b) // a view of b
	header.Flags &= unix.RTNH_F_ONLINK
	return b
}

// DeleteRoute removes a route that was listed. It is no error if it does not exist.
func (c *Conn) DeleteRoute(t Route) error {
	return c.request("delete route to", t.Dest, unix.RTM_DELROUTE, unix.NLM_F_ACK, rawMessage(clearReadOnlyFlags(t.answer))).execute(unix.ESRCH)
}
