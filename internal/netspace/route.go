package netspace

import (
	"bytes"
	"encoding/binary"
	"errors"
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
func (c *Conn) addressRequest(kind, flags, index int, p netip.Prefix) (request, *nl.IfAddrmsg) {
	header := nl.NewIfAddrmsg(family(p.Addr()))
	header.Index, header.Prefixlen = uint32(index), uint8(p.Bits())
	r := c.request(kind, flags, header)
	r.addBytes(unix.IFA_LOCAL, p.Addr().AsSlice())
	r.addBytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
	return r, header
}

// AddAddress gives a link an address; broadcast may be the zero value. One that
// it has is fine. An IPv6 address is usable at once: a container does not start
// again because its address was tentative when it looked.
func (c *Conn) AddAddress(index int, p netip.Prefix, broadcast netip.Addr) error {
	r, header := c.addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, index, p)
	if p.Addr().Is6() {
		header.Flags = unix.IFA_F_NODAD
	}
	if broadcast.IsValid() {
		r.addBytes(unix.IFA_BROADCAST, broadcast.AsSlice())
	}
	r.addBytes(ifaProto, []byte{ours})
	if err := r.execute(); !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// DeleteAddress takes an address from a link. One that is gone is fine, and so is
// a link that is.
func (c *Conn) DeleteAddress(index int, p netip.Prefix) error {
	r, _ := c.addressRequest(unix.RTM_DELADDR, unix.NLM_F_ACK, index, p)
	err := r.execute()
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Address is an address of a link as the kernel tells it.
type Address struct {
	Prefix netip.Prefix
	Ours   bool // it was given by AddAddress, on a kernel that tells
	answer []byte
}

// Raw is the address as the kernel told it, for RestoreRaw.
func (a Address) Raw() []byte { return a.answer }

// Raw is the route as the kernel told it, for RestoreRaw.
func (t Route) Raw() []byte { return t.answer }

// RestoreRaw gives the link what was listed before, an address or a route, whatever
// the link's index was then. What it has is fine.
func (c *Conn) RestoreRaw(index int, answer []byte, route bool) error {
	kind, data := unix.RTM_NEWADDR, bytes.Clone(answer)
	switch {
	case len(data) < unix.SizeofIfAddrmsg || route && len(data) < unix.SizeofRtMsg:
		return unix.EBADMSG
	case route:
		kind, data = unix.RTM_NEWROUTE, clearReadOnlyFlags(data)
		if err := eachAttr(data, unix.SizeofRtMsg, func(kind uint16, value []byte) { // a view of data
			if kind == unix.RTA_OIF && len(value) == 4 {
				binary.NativeEndian.PutUint32(value, uint32(index))
			}
		}); err != nil {
			return err
		}
	default:
		nl.DeserializeIfAddrmsg(data).Index = uint32(index)
	}
	err := c.request(kind, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, rawMessage(data)).execute()
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// Addresses lists the addresses of a link, but those that the kernel gives every
// link by itself.
func (c *Conn) Addresses(index int) ([]Address, error) {
	answers, err := c.request(unix.RTM_GETADDR, unix.NLM_F_DUMP, nl.NewIfAddrmsg(unix.AF_UNSPEC)).query(unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	var list []Address
	for _, a := range answers {
		if len(a) < unix.SizeofIfAddrmsg {
			return nil, unix.EBADMSG
		}
		header := nl.DeserializeIfAddrmsg(a)
		if int(header.Index) != index || header.Scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		var local, address []byte
		mine := false
		err := eachAttr(a, unix.SizeofIfAddrmsg, func(kind uint16, value []byte) {
			switch kind {
			case unix.IFA_LOCAL:
				local = value
			case unix.IFA_ADDRESS:
				address = value
			case ifaProto:
				mine = len(value) == 1 && value[0] == ours
			}
		})
		if err != nil {
			return nil, err
		}
		if local == nil { // IPv6
			local = address
		}
		if ip, ok := netip.AddrFromSlice(local); ok {
			list = append(list, Address{netip.PrefixFrom(ip, int(header.Prefixlen)), mine, a})
		}
	}
	return list, nil
}

// RestoreAddress gives back what was listed before, as it was.
func (c *Conn) RestoreAddress(a Address) error {
	r := c.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, rawMessage(a.answer))
	return r.execute()
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
	r := c.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, header)
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
	answers, err := c.request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, header).query(unix.RTM_NEWROUTE)
	if err != nil {
		return nil, err
	}
	var list []Route
	for _, a := range answers {
		if len(a) < unix.SizeofRtMsg {
			return nil, unix.EBADMSG
		}
		h := nl.DeserializeRtMsg(a)
		if int(h.Family) != family || h.Table != unix.RT_TABLE_MAIN || h.Type != unix.RTN_UNICAST || h.Flags&unix.RTM_F_CLONED != 0 ||
			h.Protocol == unix.RTPROT_KERNEL || h.Protocol == unix.RTPROT_RA {
			continue
		}
		r, err := parseRoute(a, h)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func parseRoute(answer []byte, h *nl.RtMsg) (r Route, err error) {
	dest := netip.IPv6Unspecified()
	if h.Family == unix.AF_INET {
		dest = netip.IPv4Unspecified()
	}
	r.answer = answer
	r.Scope, r.OnLink = h.Scope, h.Flags&unix.RTNH_F_ONLINK != 0
	r.Ours = h.Protocol == unix.RTPROT_BOOT && h.Tos == 0
	err = eachAttr(answer, unix.SizeofRtMsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			dest, _ = netip.AddrFromSlice(value)
		case unix.RTA_PREFSRC:
			r.Src, _ = netip.AddrFromSlice(value)
		case unix.RTA_GATEWAY:
			r.GW, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			r.Link = uint32Of(value)
		case unix.RTA_PRIORITY:
			r.Metric = uint32(uint32Of(value))
		}
	})
	r.Dest = netip.PrefixFrom(dest, int(h.Dst_len))
	return r, err
}

// RestoreRoute adds a route that was listed before, as it was.
func (c *Conn) RestoreRoute(t Route) error {
	return c.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, rawMessage(clearReadOnlyFlags(t.answer))).execute()
}

// SetScope gives a route of IPv4 that was listed another scope, in one step.
func (c *Conn) SetScope(t Route, scope uint8) error {
	answer := clearReadOnlyFlags(t.answer)
	nl.DeserializeRtMsg(answer).Scope = scope // a view of it
	return c.request(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE|unix.NLM_F_ACK, rawMessage(answer)).execute()
}

// clearReadOnlyFlags clears the flags that the kernel tells and does not take.
func clearReadOnlyFlags(answer []byte) []byte {
	b := bytes.Clone(answer)
	header := nl.DeserializeRtMsg(b) // a view of b
	header.Flags &= unix.RTNH_F_ONLINK
	return b
}

// DeleteRoute removes a route that was listed. One that is gone is fine.
func (c *Conn) DeleteRoute(t Route) error {
	err := c.request(unix.RTM_DELROUTE, unix.NLM_F_ACK, rawMessage(clearReadOnlyFlags(t.answer))).execute()
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
