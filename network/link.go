package network

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/resource"
)

// work is a container whose links change.
type work struct {
	*resource.Target
	space  *netspace.Space
	inside *netspace.Side
	host   *netspace.Side

	// ended: the container has. What cannot have its name on the host any more
	// gets another one, for nobody else will bring it back.
	ended bool
}

// enter opens the container's network namespace.
func enter(t *resource.Target) (*work, error) {
	if err := t.Net.Open(); err != nil {
		return nil, err
	}
	if t.Init.PID > 0 && !t.Init.Lives() { // then what was opened by its pid may be another's
		return nil, fmt.Errorf("process %d: %w", t.Init.PID, process.ErrGone)
	}
	return &work{Target: t, space: t.Net, inside: t.Net.Inside, host: t.Net.Host}, nil
}

// lookUp returns the link that has this name, or this alternative name; nil for
// none.
func lookUp(side *netspace.Side, name string) (netlink.Link, error) {
	link, err := side.LinkByName(name)
	return orNone(link, err)
}

func orNone(link netlink.Link, err error) (netlink.Link, error) {
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, refused("look for link", err)
	}
	return link, nil
}

// find is lookUp for the name proper.
func find(side *netspace.Side, name string) (netlink.Link, error) {
	link, err := lookUp(side, name)
	if link == nil || link.Attrs().Name != name {
		return nil, err
	}
	return link, nil
}

// attributes are a link's part of a request.
type attributes struct {
	name  string
	mtu   int              // 0: not asked for
	queue int              // -1: not asked for
	mac   net.HardwareAddr // nil: not asked for
	ns    int              // the namespace to be in; -1: the same
}

func (a attributes) list() []*nl.RtAttr {
	list := []*nl.RtAttr{nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(a.name))}
	if a.mtu > 0 {
		list = append(list, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(a.mtu))))
	}
	if a.queue >= 0 {
		list = append(list, nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(uint32(a.queue))))
	}
	if a.mac != nil {
		list = append(list, nl.NewRtAttr(unix.IFLA_ADDRESS, a.mac))
	}
	if a.ns >= 0 {
		list = append(list, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(a.ns))))
	}
	return list
}

// pair makes a veth in one request: its peer is born in the container's
// namespace under its own name, and the host's end is up and in its bridge. The
// peer cannot be up yet: its other end is not there when the kernel makes it.
func pair(host *netspace.Side, end, peer attributes, master int) error {
	req := host.Request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	for _, a := range end.list() {
		req.AddData(a)
	}
	if master > 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	of := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(of, unix.AF_UNSPEC)
	for _, a := range peer.list() {
		of.AddChild(a)
	}
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// move gives the link with this index another name in another namespace, in one
// request. The kernel takes the link down for it and drops its addresses; when
// the name is in use there, it has moved the link all the same.
func move(from *netspace.Side, index int, to attributes) error {
	req := from.Request(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	for _, a := range to.list() {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// errGone says that a link went away while we worked on it.
var errGone = errors.New("the link went away")

// refusal is what the kernel said to a request, or would say.
type refusal struct {
	what string
	err  error
}

// What is asked of the kernel, in v0.9's words.
const (
	setMTU   = "failed in prefunc: failed to set mtu"
	join     = "failed in prefunc: failed to add to bridge"
	setMAC   = "failed to set hardware"
	setName  = "failed to rename link"
	setQueue = "failed to set qlen"
	setUp    = "failed to set link up"
	setIP    = "failed to set ip"
	makePair = "failed to create veth"
	moveLink = "failed to move link"
	dropLink = "failed to delete link"
	addRoute = "failed to add route"
	delRoute = "failed to delete route"
)

func (r *refusal) Error() string { return r.what + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refused wraps what the kernel said to a request.
func refused(what string, err error) error {
	if err == nil {
		return nil
	}
	return &refusal{what, err}
}
