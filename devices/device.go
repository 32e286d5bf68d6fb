// Package devices gives containers device nodes of the host and the
// permission to use them. It knows records, nodes and the device cgroup; it
// does not know which container is meant or why.
package devices

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/resource"
)

// Device is a record of device_hook.json's deviceToAdd.
type Device struct {
	Type              string // "c" or "b"
	Minor             int64
	Major             int64
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string // a subset of "rwm"; "" is all
	Parent            string // host path of the disk that a partition belongs to
	// Optional is not known to v0.9: a start goes on without the device when the
	// host has it no more.
	Optional bool `json:",omitempty"`
	// Own is not known to v0.9: the container had the node before the device was
	// added. It is not ours to remove.
	Own bool `json:",omitempty"`
	// Identity is not known to v0.9: which device it is, where its path is a name that
	// is written on a disk. Another device with that name is not given.
	Identity string `json:",omitempty"`
	// Select is the Selector by which the container has the device, while the host has it.
	Select string `json:",omitempty"`
}

// Apart tells whether v0.9 must not find the record: it would not start without the device.
func (d Device) Apart() bool { return d.Select != "" }

const kindName = "device"

// Kind is the kind of resource that devices are.
var Kind = resource.Kind[Device]{
	Name:    kindName,
	Key:     config.Devices,
	Policy:  resource.Stop,
	Resolve: resolve,
	Apply:   func(_ context.Context, t *resource.Target, d Device) error { return (&Adder{Force: true}).add(t, d) },
	Remove:  func(_ context.Context, t *resource.Target, d Device) error { return removeNode(t, d) },
	Update:  update,

	Withdraw: withdraw,

	Reconcile: reconcile,
	Verify:    verify,
	// What is plugged in, where a selector means it, keeps nobody from starting.
	Tolerate: func(d Device, err error) bool { return d.Select != "" || d.Optional && errors.Is(err, errVanished) },

	PermissionFirst: true,
	Granted:         true,
}

// update makes old what now is, in its place. A node that is bound there would be
// in the way of another one.
func update(_ context.Context, t *resource.Target, old, now Device) error {
	var told error
	if old.PathInContainer != now.PathInContainer || !old.Same(now) {
		told = removeNode(t, old)
	}
	if err := (&Adder{Force: true}).add(t, now); err != nil {
		return err
	}
	return told
}

// HadBefore tells whether the container has the node that d asks for, which it does
// not get from its specification or its runtime: nobody else will remember that.
func (d Device) HadBefore(t *resource.Target) bool {
	return !d.isContainers(t) && verifyNode(t, d) == nil
}

// Same tells whether both are one device of the kernel.
func (d Device) Same(o Device) bool {
	return d.Type == o.Type && d.Major == o.Major && d.Minor == o.Minor
}

// is tells whether a file is a node of d.
func (d Device) is(i rootfs.Identity) bool {
	return typeOf(i.Type) == d.Type && i.Rdev == unix.Mkdev(uint32(d.Major), uint32(d.Minor))
}

// Below returns which of these paths in the container has d on it or below it, the
// innermost; -1: none. Links are not looked at.
func (d Device) Below(paths []string) int {
	found, at := -1, filepath.Clean(d.PathInContainer)
	for i, p := range paths {
		p = filepath.Clean(p)
		if place.Within(at, p) && (found < 0 || len(p) > len(filepath.Clean(paths[found]))) {
			found = i
		}
	}
	return found
}

// Hidden returns why the container does not see d's node, which was made before its
// paths were mounted: nil, it does.
func Hidden(t *resource.Target, d Device) error { return verifyNode(t, d) }

// errVanished says that the host has a device no more, errNoDevice that it has something
// else there.
var (
	errVanished = errors.New("the host no longer has it")
	errNoDevice = errors.New("not a device")
)

// FromNode returns the device that the host has at path, to which links may lead.
// It is given a container by that path unless the caller says otherwise.
func FromNode(path string) (Device, error) {
	st, err := stat(path)
	if err != nil {
		return Device{}, lstatError(path, err)
	}
	d := Device{
		Type: typeOf(st.Mode), Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		PathOnHost: path, PathInContainer: path, CgroupPermissions: "rwm",
	}
	if d.Type == "" {
		return Device{}, errNoDevice
	}
	return d, nil
}

// lstatError words err as v0.9 does, which follows the links itself and names
// where they end.
func lstatError(path string, err error) error {
	var number unix.Errno
	if !errors.As(err, &number) {
		return err
	}
	for range maxLinks {
		to, e := linkTarget(path)
		if e != nil {
			break
		}
		path = to
	}
	return &os.PathError{Op: "lstat", Path: command.Printable(path), Err: number}
}

// typeOf is the type of a node as records have it, "" for other files.
func typeOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return "c"
	case unix.S_IFBLK:
		return "b"
	}
	return ""
}

// String is the record in the form host:container:permissions, with the
// numbers.
func (d Device) String() string {
	return fmt.Sprintf("%s:%s:%s (%d:%d)", d.PathOnHost, d.PathInContainer, d.CgroupPermissions, d.Major, d.Minor)
}

func resolve(old Device) (now Device, renewed bool, err error) { return (*Host)(nil).resolve(old) }

// check tells what is wrong with a record, whatever the host has.
func (d Device) check() error {
	if err := checkPermissions(d.CgroupPermissions); err != nil {
		return err
	}
	for _, p := range []string{d.PathOnHost, d.PathInContainer} {
		if !filepath.IsAbs(p) {
			return fmt.Errorf("path %q: not absolute", p)
		}
	}
	return nil
}

// resolveTo is resolve where st is the host's node.
func resolveTo(old Device, st unix.Stat_t) (now Device, renewed bool, err error) {
	now = old
	now.Major, now.Minor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	renewed = now != old
	if now.Type = typeOf(st.Mode); now.Type == "" {
		return old, false, fmt.Errorf("%s: %w", old.PathOnHost, errNoDevice)
	}
	if err := now.checkIdentity(); err != nil {
		return old, false, err
	}
	if now.Identity == onArrival {
		return now.Bind(), true, nil
	}
	return now, renewed, nil
}

// stat looks at the host's node p.
func stat(p string) (st unix.Stat_t, err error) {
	if err := unix.Stat(p, &st); err != nil {
		err := &os.PathError{Op: "stat", Path: p, Err: err}
		if errors.Is(err, unix.ENOENT) {
			return st, vanished{err}
		}
		return st, err
	}
	return st, nil
}

// vanished makes an error errVanished and fs.ErrNotExist, too.
type vanished struct{ error }

func (v vanished) Unwrap() []error { return []error{v.error, errVanished} }

func (vanished) Is(target error) bool { return target == fs.ErrNotExist }

func checkPermissions(p string) error {
	for i, c := range p {
		if !strings.ContainsRune("rwm", c) || strings.ContainsRune(p[:i], c) {
			return fmt.Errorf("invalid permission: %s", p)
		}
	}
	return nil
}

func verify(_ context.Context, t *resource.Target, d Device) error {
	if err := verifyNode(t, d); err != nil {
		return err
	}
	return verifyAllowed(t, d)
}
