// Package devices gives containers device nodes of the host and the
// permission to use them. It knows records, nodes and the device cgroup; it
// does not know which container is meant or why.
package devices

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
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
}

// Kind is the kind of resource that devices are.
var Kind = resource.Kind[Device]{
	Name:    "device",
	Key:     config.Devices,
	Policy:  resource.Stop,
	Resolve: resolve,
	Apply:   apply,
	Settle:  settle,
	Verify:  verify,
}

// String is the record in the form host:container:permissions, with the
// numbers.
func (d Device) String() string {
	return fmt.Sprintf("%s:%s:%s (%d:%d)", d.PathOnHost, d.PathInContainer, d.CgroupPermissions, d.Major, d.Minor)
}

// resolve renews type and numbers from the host's node, to which links may
// lead: they change when drivers are loaded in another order.
//
// Compat: hook-prestart-device-type-changed, a changed type is used, not saved.
func resolve(old Device) (now Device, renewed bool, err error) {
	if err := checkPermissions(old.CgroupPermissions); err != nil {
		return old, false, err
	}
	for _, p := range []string{old.PathOnHost, old.PathInContainer} {
		if !filepath.IsAbs(p) {
			return old, false, fmt.Errorf("path %q: not absolute", p)
		}
	}
	st, err := stat(old.PathOnHost)
	if err != nil {
		return old, false, err
	}
	now = old
	now.Major, now.Minor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	renewed = now != old
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		now.Type = "c"
	case unix.S_IFBLK:
		now.Type = "b"
	default:
		return old, false, fmt.Errorf("%s: not a device", old.PathOnHost)
	}
	return now, renewed, nil
}

func stat(p string) (st unix.Stat_t, err error) {
	if err := unix.Stat(p, &st); err != nil {
		return st, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	return st, nil
}

func checkPermissions(p string) error {
	for i, c := range p {
		if !strings.ContainsRune("rwm", c) || strings.ContainsRune(p[:i], c) {
			return fmt.Errorf("invalid permission: %s", p)
		}
	}
	return nil
}

func apply(_ context.Context, t *resource.Target, d Device) error {
	// The permission comes last: what fails before it leaves no rule behind. Its
	// file is opened first: without one nothing is changed at all.
	grant, err := permission(t, d)
	if err != nil {
		return err
	}
	return makeNode(t, d, grant)
}

func verify(_ context.Context, t *resource.Target, d Device) error {
	if err := verifyNode(t, d); err != nil {
		return err
	}
	return verifyAllowed(t, d)
}
