package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/internal/undo"
)

// bridge is what the host's end of a veth is a port of.
type bridge struct {
	name  string
	index int  // of a Linux bridge
	ovs   bool // it is one of Open vSwitch
	link  *rtnl.Link
}

// errNoBridge says that a bridge does not exist. Compat: add-nic-missing-bridge.
//
//lint:ignore ST1005 the wording of v0.9
var errNoBridge = errors.New("Device does not exist")

// bridge finds the bridge that has this name. Open vSwitch is asked only when it
// is not one of Linux.
func (w *session) bridge(ctx context.Context, name string) (bridge, error) {
	link, err := linkByName(w.host, name)
	if err != nil {
		return bridge{}, err
	}
	if link != nil && link.Kind == "bridge" {
		return bridge{name: name, index: link.Index, link: link}, nil
	}
	there, err := w.isOVSBridge(ctx, name)
	switch {
	case err != nil:
		return bridge{}, err
	case there:
		return bridge{name: name, ovs: true}, nil
	case link != nil:
		return bridge{}, wrapOp(opEnslave, fmt.Errorf("%s is no bridge", name))
	}
	return bridge{}, wrapOp(opEnslave+" "+name, errNoBridge)
}

// attach makes the host's link a port of the bridge.
func (b bridge) attach(ctx context.Context, w *session, port *rtnl.Link, u *undo.Stack) error {
	name, was := port.Name, port.Bridge
	switch {
	case b.ovs:
		u.Push("remove port "+name+" from "+b.name, func() error {
			return w.ovsForgetPort(context.WithoutCancel(ctx), b.name, name)
		})
		return w.ovsAddPort(ctx, b.name, name)
	case was == b.index:
		return nil
	}
	w.fixMAC(b)
	u.Push("return "+name+" to its bridge", func() error { return w.setBridge(port.Index, was) })
	to := rtnl.LinkAttrs{Bridge: &b.index}
	if !isPortMAC(port.MAC) {
		to.MAC = portMAC()
	}
	return wrapOp(opEnslave, w.host.SetLink(port.Index, to))
}

// isPort tells whether the host's link is a port of the bridge that has this name. Of
// Open vSwitch's bridges only the database could tell which, and it is not asked.
func (w *session) isPort(link *rtnl.Link, bridge string) (bool, error) {
	if link.Bridge == 0 {
		return false, nil
	}
	master, err := w.host.LinkAt(link.Bridge)
	if master == nil || err != nil {
		return false, wrapOp("look for the bridge of "+link.Name, err)
	}
	return master.Kind == "openvswitch" || master.Kind == "bridge" && master.Name == bridge, nil
}

// fixMAC fixes the address of a bridge without ports: it would be that of the lowest
// port, another one with every container, and whoever has the bridge as a gateway would
// go on sending to the one before. It is an improvement only.
func (w *session) fixMAC(b bridge) {
	if !b.link.InheritsMAC {
		return
	}
	// The kernel puts an address into the bridge's id only when it is another one.
	_ = w.host.SetLink(b.index, rtnl.LinkAttrs{MAC: portMAC()})
	if mac := b.link.MAC; !bytes.Equal(mac, make([]byte, len(mac))) { // else its last port is gone
		_ = w.host.SetLink(b.index, rtnl.LinkAttrs{MAC: mac})
	}
}

// portMAC makes up an address for a port that is higher than those of the others: a
// Linux bridge takes the lowest for its own. libvirt does the same.
func portMAC() net.HardwareAddr {
	mac := net.HardwareAddr{portPrefix, 5: 0}
	_, _ = rand.Read(mac[1:]) // never fails
	return mac
}

func isPortMAC(mac net.HardwareAddr) bool { return len(mac) > 0 && mac[0] == portPrefix }

const portPrefix = 0xfe // unicast, and administered locally
