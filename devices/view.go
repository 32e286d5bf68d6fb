package devices

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/resource"
)

// InContainer is what the kernel has of a device in a container.
type InContainer struct {
	Type  string `json:"type"`
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
	Mode  string `json:"mode"`
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	// Access is what the controller of cgroup v1 lets the container do; nil: a program of
	// v2 does not say.
	Access *string `json:"access,omitempty"`
}

func (n InContainer) String() string {
	s := fmt.Sprintf("%s %d:%d %s %d:%d", n.Type, n.Major, n.Minor, n.Mode, n.UID, n.GID)
	if n.Access != nil {
		s += " " + *n.Access
	}
	return s
}

// Views looks at the recorded devices of a running container.
func Views(t *resource.Target, records []Device) ([]resource.View, error) {
	l, err := newLooker(t, records)
	if err != nil {
		return nil, err
	}
	return Kind.Views(t, records, func(d Device) string { return d.PathInContainer }, l.look)
}

// allowed is the list of the controller of cgroup v1; nil: there is none.
func allowed(t *resource.Target) ([]byte, error) {
	dir, err := t.Cgroups.V1("devices")
	if errors.Is(err, cgroup.ErrNoV1) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return open.Read(path.Join(dir, "devices.list"), maxList)
}

// look looks at one device.
func (l looker) look(d Device, v *resource.View) error {
	now, renewed, err := resolve(d)
	if errorIsGone(err) {
		return l.gone(d, err, v)
	}
	if err != nil {
		v.DifferForGood("record refused", "%v", err)
		return nil
	}
	if v.Granted == nil {
		v.Granted = Kind.Grant(l.t, now)
	}
	if renewed {
		v.Differ("other number", "the host's %s is %d:%d now, recorded is %d:%d", d.PathOnHost, now.Major, now.Minor, d.Major, d.Minor)
	}
	real, err := now.viewNode(l.t, v)
	if err != nil {
		return err
	}
	if l.list != nil {
		lacks := missingAccess(string(l.list), now, accessByLine)
		if real != nil {
			have := cgroup.Without(now.access(), lacks)
			real.Access = &have
		}
		if lacks != "" {
			v.Differ("permission missing", "the container's cgroup does not allow %s", v1RuleFor(now, lacks))
		}
	}
	if real != nil {
		v.Real = *real
	}
	return nil
}

// inPlace is where a device's node is, and what the container has there.
type inPlace struct {
	dir, file *os.File // nil: there is none
	st        unix.Stat_t
}

func (p inPlace) close() {
	p.file.Close()
	p.dir.Close()
}

// node is what is there.
func (p inPlace) node() *InContainer {
	return &InContainer{
		Type: typeOf(p.st.Mode), Major: int64(unix.Major(p.st.Rdev)), Minor: int64(unix.Minor(p.st.Rdev)),
		Mode: fmt.Sprintf("%04o", p.st.Mode&0o7777), UID: p.st.Uid, GID: p.st.Gid,
	}
}

// inContainer opens the device's place.
func (d Device) inContainer(t *resource.Target) (at inPlace, err error) {
	p, err := placeOf(t, d)
	if err == nil {
		at.dir, err = t.Root.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	}
	if err == nil {
		at.file, err = rootfs.Get(t.Root, p, func() (*os.File, error) { return open.At(at.dir, path.Base(p), unix.O_PATH|unix.O_NOFOLLOW, 0) }, at.dir)
	}
	if err == nil {
		at.st, err = rootfs.Get(t.Root, p, func() (st unix.Stat_t, err error) {
			err = unix.Fstat(int(at.file.Fd()), &st)
			return st, os.NewSyscallError("fstat", err)
		}, at.file)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return at, nil
	}
	if err != nil {
		at.close()
	}
	return at, err
}

// viewNode looks at the device's node.
func (d Device) viewNode(t *resource.Target, v *resource.View) (*InContainer, error) {
	at, err := d.inContainer(t)
	if err != nil {
		return nil, err
	}
	defer at.close()
	if at.file == nil {
		return nil, d.missing(t, at.dir, v)
	}
	is := at.node()
	switch {
	case is.Type == "":
		v.Differ("node is another file", "%s in the container is no device", d.PathInContainer)
		return nil, nil
	case !isDevice(at.st, d):
		v.Differ("node has another number", "%s in the container is %s %d:%d", d.PathInContainer, is.Type, is.Major, is.Minor)
	default:
		err = d.compareOwnerAndMode(t, at.dir, at.file, at.st, v)
	}
	return is, err
}

// missing says that the container has no node. In a tree of the host none is made.
func (d Device) missing(t *resource.Target, dir *os.File, v *resource.View) error {
	if dir != nil {
		on, err := t.Root.Where(dir)
		if err != nil {
			return err
		}
		if on.OfHost {
			v.DifferForGood("node hidden", "%s in the container is in a host directory, mounted on %s: remove-device or remove-path one of them", d.PathInContainer, on.Point)
			return nil
		}
	}
	v.Differ("node missing", "%s is not there in the container", d.PathInContainer)
	return nil
}

// compareOwnerAndMode looks at the owner and the mode of a node that this program made: what somebody
// else has bound there, or the host's own node, keeps what it has.
func (d Device) compareOwnerAndMode(t *resource.Target, dir, f *os.File, st unix.Stat_t, v *resource.View) error {
	n := new(Host).nodeOf(d)
	if n.err != nil {
		return n.err
	}
	host := n.Stat_t
	var is made
	bound, err := mounted(dir, f)
	ours := t.Ledger.Made(kindName, d, &is) && is.Bound
	if err != nil || bound && !ours || madeOf(st) == madeOf(host) {
		return err
	}
	own := t.Owner.Or(rootfs.Owner{UID: int(host.Uid), GID: int(host.Gid)})
	if int(st.Uid) != own.UID || int(st.Gid) != own.GID {
		v.Differ("node has another owner", "%s in the container belongs to %d:%d, should belong to %d:%d", d.PathInContainer, st.Uid, st.Gid, own.UID, own.GID)
	}
	if st.Mode != host.Mode {
		v.Differ("node has another mode", "%s in the container has mode %04o, should have %04o", d.PathInContainer, st.Mode&0o7777, host.Mode&0o7777)
	}
	return nil
}
