package devices

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is what the host has at the paths of devices. Each is looked at once: what is
// recorded, allowed, made and followed is one device. A nil Host looks each time.
type Host struct{ nodes map[string]*node }

// node is what the host has at a path, to which links may lead.
type node struct {
	unix.Stat_t
	link bool // the path itself is one
	err  error
}

func nodeAt(path string) *node {
	var n node
	err := unix.Lstat(path, &n.Stat_t)
	n.link = err == nil && n.Mode&unix.S_IFMT == unix.S_IFLNK
	if err != nil || n.link {
		n.Stat_t, n.err = stat(path)
	}
	return &n
}

func (h *Host) node(path string) *node {
	if h == nil {
		return nodeAt(path)
	}
	n, ok := h.nodes[path]
	if !ok {
		if h.nodes == nil {
			h.nodes = map[string]*node{}
		}
		n = nodeAt(path)
		h.nodes[path] = n
	}
	return n
}

// Look is what the host has at the paths of all records.
func (h *Host) Look(records []Device) []OnHost {
	var in sysfs
	defer in.close()
	all := make([]OnHost, len(records))
	for i, d := range records {
		all[i] = h.look(d, &in)
	}
	return all
}

// resolve renews type and numbers from the host's node, to which links may
// lead: they change when drivers are loaded in another order.
//
// Compat: hook-prestart-device-type-changed, a changed type is used, not saved.
func (h *Host) resolve(old Device) (now Device, renewed bool, err error) {
	if err := old.check(); err != nil {
		return old, false, err
	}
	n := h.node(old.PathOnHost)
	if now, renewed, err = old, false, n.err; err == nil {
		now, renewed, err = resolveTo(old, n.Stat_t)
	}
	// Whoever writes a disk, or makes an adapter, can take the name of another for it.
	var own *node
	switch {
	case err == nil && now.Major == old.Major && now.Minor == old.Minor:
	case err == nil:
		own = h.stillClaims(old, now)
	case isItself(old.Identity):
		own = h.byIdentity(old)
	}
	if own == nil {
		return now, renewed, err
	}
	return resolveTo(old, own.Stat_t)
}

// stillClaims is the node of old as long as it claims its name, too, which leads to now: the name
// of the hardware is that of the one which had it first. A volume takes it from its disks.
func (h *Host) stillClaims(old, now Device) *node {
	link, ok := strings.CutPrefix(old.PathOnHost, "/dev/")
	if ok && strings.Contains(link, "/by-id/") && old.Identity == "" && old.hasLink(link) && !now.isStacked() {
		return h.kernelNode(old)
	}
	return nil
}

// byIdentity is the node of a device that is known by what it is: its name leads nowhere, or
// to another one.
func (h *Host) byIdentity(old Device) *node {
	for _, d := range append([]Device{old}, blockDevices()...) {
		block, err := FindBlock(d.Major, d.Minor)
		if err == nil && block.mayBe(old.Identity) && block.identity() == old.Identity {
			return h.kernelNode(d)
		}
	}
	return nil
}

// kernelNode is the kernel's node of a device, nil where there is none.
func (h *Host) kernelNode(d Device) *node {
	if name := d.nodeName(); name != "" {
		if n := h.node("/dev/" + name); n.err == nil && isDevice(n.Stat_t, d) {
			return n
		}
	}
	return nil
}

// nodeOf is the host's node of a device that was found: never another one's.
func (h *Host) nodeOf(d Device) *node {
	n := h.node(d.PathOnHost)
	has := n.err == nil && n.Rdev == unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	if has || n.err != nil && !isItself(d.Identity) {
		return n
	}
	if own := h.kernelNode(d); own != nil {
		return own
	}
	return &node{err: vanished{fmt.Errorf("%s is another device now", d.PathOnHost)}}
}
