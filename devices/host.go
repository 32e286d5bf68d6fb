package devices

import (
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
		all[i] = d.onHost(h.node(d.PathOnHost), &in)
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
	if n.err != nil {
		return old, false, n.err
	}
	return resolveTo(old, n.Stat_t)
}
