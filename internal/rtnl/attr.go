package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// attr is an attribute of an answer.
type attr struct {
	kind  uint16
	value []byte
}

// eachAttr visits the attributes of an answer, behind its header, until one is refused.
func eachAttr(answer []byte, header int, visit func(attr) error) error {
	if len(answer) < header {
		return unix.EBADMSG
	}
	list, err := nl.ParseRouteAttr(answer[header:])
	for _, a := range list {
		if err == nil {
			err = visit(attr{a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), a.Value})
		}
	}
	return err
}

// nested visits the attributes within this one.
func (a attr) nested(visit func(attr) error) error { return eachAttr(a.value, 0, visit) }

// short is the error of a value with too few bytes: read as 0, it would be another link
// or namespace.
//
//go:noinline
func (a attr) short() error {
	return fmt.Errorf("attribute %d has %d bytes: %w", a.kind, len(a.value), unix.EBADMSG)
}

func (a attr) uint32(to *uint32) error {
	if len(a.value) < 4 {
		return a.short()
	}
	*to = binary.NativeEndian.Uint32(a.value)
	return nil
}

func (a attr) int32(to *int) error {
	var n uint32
	err := a.uint32(&n)
	if err == nil {
		*to = int(int32(n))
	}
	return err
}

func (a attr) addr(to *netip.Addr) error {
	var ok bool
	if *to, ok = netip.AddrFromSlice(a.value); !ok {
		return a.short()
	}
	return nil
}

func (a attr) string() string {
	s, _, _ := strings.Cut(string(a.value), "\x00")
	return s
}
