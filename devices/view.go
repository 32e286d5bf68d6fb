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
	list, err := allowed(t)
	if err != nil {
		return nil, err
	}
	return Kind.Views(t, records, func(d Device) string { return d.PathInContainer }, func(d Device, v *resource.View) error {
		return d.view(t, list, v)
	})
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

// view looks at one device. list is what its container may use on cgroup v1.
func (d Device) view(t *resource.Target, list []byte, v *resource.View) error {
	now, renewed, err := resolve(d)
	if errors.Is(err, errVanished) {
		if !d.Optional && d.Parent == "" {
			v.DifferForGood("device missing on the host", "the host has no %s", d.PathOnHost)
		}
		return nil
	}
	if err != nil {
		v.DifferForGood("record refused", "%v", err)
		return nil
	}
	if v.Granted == nil {
		v.Granted = Kind.Grant(t, now)
	}
	if renewed {
		v.Differ("other number", "the host's %s is %d:%d now, recorded is %d:%d", d.PathOnHost, now.Major, now.Minor, d.Major, d.Minor)
	}
	real, err := now.viewNode(t, v)
	if err != nil {
		return err
	}
	if list != nil {
		lacks := missingAccess(string(list), now, accessByLine)
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

// viewNode looks at the device's node.
func (d Device) viewNode(t *resource.Target, v *resource.View) (*InContainer, error) {
	p, err := placeOf(t, d)
	var dir, f *os.File
	if err == nil {
		dir, err = t.Root.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	}
	if err == nil {
		defer dir.Close()
		f, err = rootfs.Get(t.Root, p, func() (*os.File, error) { return open.At(dir, path.Base(p), unix.O_PATH|unix.O_NOFOLLOW, 0) }, dir)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, d.missing(t, dir, v)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := rootfs.Get(t.Root, p, func() (st unix.Stat_t, err error) {
		err = unix.Fstat(int(f.Fd()), &st)
		return st, os.NewSyscallError("fstat", err)
	}, f)
	if err != nil {
		return nil, err
	}
	kind := typeOf(st.Mode)
	switch {
	case kind == "":
		v.Differ("node is another file", "%s in the container is no device", d.PathInContainer)
		return nil, nil
	case !isDevice(st, d):
		v.Differ("node has another number", "%s in the container is %s %d:%d", d.PathInContainer, kind, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	default:
		if err := d.compareOwnerAndMode(t, dir, f, st, v); err != nil {
			return nil, err
		}
	}
	return &InContainer{
		Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		Mode: fmt.Sprintf("%04o", st.Mode&0o7777), UID: st.Uid, GID: st.Gid,
	}, nil
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
	host, err := stat(d.PathOnHost)
	if err != nil {
		return err
	}
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
