package rtnl

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// answerOf is an answer of the kernel: a header and attributes.
func answerOf(header nl.NetlinkRequestData, attributes ...*nl.RtAttr) []byte {
	answer := header.Serialize()
	for _, a := range attributes {
		answer = append(answer, a.Serialize()...)
	}
	return answer
}

func parseLinkOf(answer []byte) error {
	_, err := parseLink(answer)
	return err
}

func parseRouteOf(answer []byte) error {
	_, err := parseRoute(answer, nl.DeserializeRtMsg(answer))
	return err
}

func parseNSIDOf(answer []byte) error {
	_, err := parseNSID(answer)
	return err
}

func TestShortAttributesAreRefused(t *testing.T) {
	t.Parallel()
	link, route := nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtMsg()
	route.Family = unix.AF_INET
	nested := nl.NewRtAttr(unix.IFLA_PROP_LIST, []byte{0xff, 0xff, 1, 0})
	for _, c := range []struct {
		name  string
		parse func([]byte) error
		with  nl.NetlinkRequestData
		attr  *nl.RtAttr
	}{
		{"the MTU of a link", parseLinkOf, link, nl.NewRtAttr(unix.IFLA_MTU, []byte{1, 2})},
		{"the queue length of a link", parseLinkOf, link, nl.NewRtAttr(unix.IFLA_TXQLEN, nil)},
		{"the bridge of a link", parseLinkOf, link, nl.NewRtAttr(unix.IFLA_MASTER, []byte{1})},
		{"the peer of a link", parseLinkOf, link, nl.NewRtAttr(unix.IFLA_LINK, []byte{1, 2, 3})},
		{"the peer's namespace of a link", parseLinkOf, link, nl.NewRtAttr(unix.IFLA_LINK_NETNSID, []byte{1, 2, 3})},
		{"the alternative names of a link", parseLinkOf, link, nested},
		{"the link of a route", parseRouteOf, route, nl.NewRtAttr(unix.RTA_OIF, []byte{7})},
		{"the metric of a route", parseRouteOf, route, nl.NewRtAttr(unix.RTA_PRIORITY, []byte{7, 0})},
		{"the destination of a route", parseRouteOf, route, nl.NewRtAttr(unix.RTA_DST, []byte{10, 0})},
		{"the gateway of a route", parseRouteOf, route, nl.NewRtAttr(unix.RTA_GATEWAY, []byte{10})},
		{"the number of a namespace", parseNSIDOf, nl.NewRtGenMsg(), nl.NewRtAttr(netnsaNSID, []byte{1})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.parse(answerOf(c.with, c.attr)); err == nil {
				t.Errorf("an attribute of %d bytes: no error, want one", c.attr.Len()-unix.SizeofRtAttr)
			}
		})
	}
}

func TestAnswersAreRead(t *testing.T) {
	t.Parallel()
	header := nl.NewRtMsg()
	header.Family, header.Dst_len = unix.AF_INET, 24
	answer := answerOf(header,
		nl.NewRtAttr(unix.RTA_DST, []byte{10, 0, 0, 0}), nl.NewRtAttr(unix.RTA_GATEWAY, []byte{10, 0, 0, 1}),
		nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(7)), nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(1<<31)))
	got, err := parseRoute(answer, nl.DeserializeRtMsg(answer))
	want := Route{Dest: netip.MustParsePrefix("10.0.0.0/24"), GW: netip.MustParseAddr("10.0.0.1"), Link: 7, Metric: 1 << 31}
	if err != nil || got.Dest != want.Dest || got.GW != want.GW || got.Link != want.Link || got.Metric != want.Metric {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestErrorsSayWhatWasAskedOfTheKernel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  *OpError
		want string
	}{
		{"of one link", &OpError{"set link with index", 3, unix.EBUSY}, "set link with index 3: device or resource busy"},
		{"of all", &OpError{"list links", nil, unix.EPERM}, "list links: operation not permitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.err.Error(); got != c.want || !errors.Is(c.err, c.err.Err) {
				t.Errorf("got %q, which is %v; want %q and %v", got, errors.Unwrap(c.err), c.want, c.err.Err)
			}
		})
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(answerOf(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(1500))))
	f.Add(answerOf(nl.NewRtMsg(), nl.NewRtAttr(unix.RTA_DST, []byte{10, 0, 0, 0})))
	f.Add(answerOf(nl.NewIfAddrmsg(unix.AF_INET), nl.NewRtAttr(unix.IFA_LOCAL, []byte{10, 0, 0, 1})))
	f.Fuzz(func(_ *testing.T, answer []byte) { // no panic
		_, _ = parseLink(answer)
		_, _, _ = parseAddress(answer, 1)
		_, _, _ = parseMainRoute(answer, unix.AF_INET)
		_, _ = parseNSID(answer)
	})
}
