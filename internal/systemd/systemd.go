// Package systemd tells the host's systemd, over D-Bus, which devices a unit
// may use. It executes nothing, and knows neither containers nor cgroups.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Where systemd listens: to root alone, and on the system bus, which is not
// there early in a boot, and not at all on small hosts.
const (
	privateSocket = "/run/systemd/private"
	busSocket     = "/run/dbus/system_bus_socket"
)

// Names of systemd's interface, see org.freedesktop.systemd1(5).
const (
	service    = "org.freedesktop.systemd1"
	manager    = service + ".Manager"
	noSuchUnit = service + ".NoSuchUnit"
	managerAt  = dbus.ObjectPath("/org/freedesktop/systemd1")
)

// Device is a device that a unit may use.
type Device struct {
	Type         string // "b" or "c"
	Major, Minor int64
	Access       string // a subset of "rwm"
}

// entry is an element of the property DeviceAllow, a(ss).
type entry struct{ Path, Access string }

// path names the device by its numbers: systemd knows such a path without a
// node there.
func (d Device) path() string {
	kind := "char"
	if d.Type == "b" {
		kind = "block"
	}
	return fmt.Sprintf("/dev/%s/%d:%d", kind, d.Major, d.Minor)
}

// property is an element of what SetUnitProperties takes.
type property struct {
	Name  string
	Value dbus.Variant
}

// Runs tells whether systemd runs this machine, as sd_booted(3) does.
func Runs() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// AllowDevices adds devices to the DeviceAllow= of a unit, until it stops, and
// takes those that it shall forget out of it.
//
// systemd sets the device controller of the unit's cgroup anew at a
// daemon-reload. On cgroup v2 that is a program of its own, which counts besides
// any other: what it denies is denied. On v1 nothing else is left.
//
// A unit that systemd does not have, or that has no device policy, is left
// alone: there the first entry would deny everything else. When ctx ends, it
// gives up.
func AllowDevices(ctx context.Context, unit string, allow, forget []Device) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	policy, have, err := readPolicy(ctx, conn, unit)
	if err != nil {
		return fmt.Errorf("systemd: unit %q: %w", unit, err)
	}
	set := policyChanges(policy, have, allow, forget)
	if len(set) == 0 {
		return nil
	}
	const runtime = true // nothing that outlives a boot
	if err := call(ctx, conn, managerAt, manager+".SetUnitProperties", unit, runtime, set).Store(); err != nil {
		return fmt.Errorf("systemd: set %v of unit %q: %w", set, unit, err)
	}
	return nil
}

// readPolicy returns the unit's DevicePolicy and DeviceAllow; "" when there is no
// such unit.
func readPolicy(ctx context.Context, conn *dbus.Conn, unit string) (policy string, allow []entry, err error) {
	var at dbus.ObjectPath
	err = call(ctx, conn, managerAt, manager+".GetUnit", unit).Store(&at)
	var refused dbus.Error
	if errors.As(err, &refused) && refused.Name == noSuchUnit {
		return "", nil, nil // a cgroup that is only called like one
	}
	if err != nil {
		return "", nil, err
	}
	for _, p := range []struct {
		name  string
		value any
	}{{"DevicePolicy", &policy}, {"DeviceAllow", &allow}} {
		var v dbus.Variant
		if err := call(ctx, conn, at, "org.freedesktop.DBus.Properties.Get", unitInterface(unit), p.name).Store(&v); err != nil {
			return "", nil, fmt.Errorf("read %s: %w", p.name, err)
		}
		if err := v.Store(p.value); err != nil {
			return "", nil, fmt.Errorf("read %s: %w", p.name, err)
		}
	}
	return policy, allow, nil
}

// isUnrestricted tells whether there is no such unit, or the unit may use all devices.
func isUnrestricted(policy string, have []entry) bool {
	return policy == "" || policy == "auto" && len(have) == 0
}

// policyChanges returns what to set of a unit that has this policy and these entries.
func policyChanges(policy string, have []entry, allow, forget []Device) []property {
	if isUnrestricted(policy, have) {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(have), func(e entry) bool {
		return slices.ContainsFunc(forget, func(d Device) bool { return d.path() == e.Path })
	})
	add := missingEntries(rest, allow)
	list := func(entries []entry) property { return property{"DeviceAllow", dbus.MakeVariant(entries)} }
	switch {
	case len(rest) == len(have) && len(add) == 0:
		return nil
	case len(rest) == len(have):
		return []property{list(add)}
	case policy == "auto" && len(rest)+len(add) == 0:
		return nil // without an entry it would allow everything
	}
	// The empty list empties it; another is added to what there is.
	return []property{list([]entry{}), list(append(rest, add...))}
}

// missingEntries returns the entries that have must get for allow. An entry replaces
// one of the same path, so it keeps what that allows.
func missingEntries(have []entry, allow []Device) []entry {
	access := map[string]string{}
	for _, e := range have {
		access[e.Path] = e.Access
	}
	var lack []entry
	for _, d := range allow {
		p := d.path()
		both := mergeAccess(access[p], d.Access)
		if both == access[p] {
			continue
		}
		access[p] = both
		lack = append(lack, entry{p, both})
	}
	return lack
}

// mergeAccess appends the letters of b that a has not.
func mergeAccess(a, b string) string {
	for _, c := range b {
		if !strings.ContainsRune(a, c) {
			a += string(c)
		}
	}
	return a
}

// unitInterface is the interface that has the properties of units of this
// type: "a.scope" is a Scope.
func unitInterface(unit string) string {
	kind := strings.TrimPrefix(path.Ext(unit), ".")
	if kind == "" {
		return service + ".Unit"
	}
	return service + "." + strings.ToUpper(kind[:1]) + kind[1:]
}

func call(ctx context.Context, conn *dbus.Conn, at dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return conn.Object(service, at).CallWithContext(ctx, method, 0, args...)
}

// connect returns a connection that ends with ctx's deadline.
func connect(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dialPrivate(ctx, privateSocket)
	if err == nil {
		return conn, nil
	}
	bus, busErr := dial(ctx, busSocket)
	if busErr != nil {
		return nil, fmt.Errorf("systemd: %w", errors.Join(err, busErr))
	}
	if err := bus.Hello(); err != nil { // a bus wants it first, systemd itself never
		bus.Close()
		return nil, fmt.Errorf("systemd: %s: %w", busSocket, err)
	}
	return bus, nil
}

// dialPrivate connects to systemd itself. What is sent first needs no answer, and is longer
// than the 256 bytes that systemd reads at once while it looks who we are: a first message
// that is in these, with our last word of that, would lie there until something else
// comes, which would be never, because we wait for its answer. On the system bus that is
// the daemon's to read.
func dialPrivate(ctx context.Context, socket string) (*dbus.Conn, error) {
	conn, err := dial(ctx, socket)
	if err == nil {
		at := dbus.ObjectPath("/" + strings.Repeat("x", 256))
		conn.Object(service, at).Go("org.freedesktop.DBus.Peer.Ping", dbus.FlagNoReplyExpected, nil)
	}
	return conn, err
}

// dial connects to a socket and says who we are.
func dial(ctx context.Context, socket string) (*dbus.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	// For all that does not look at ctx: the library's first words do not.
	if end, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(end); err != nil {
			raw.Close()
			return nil, err
		}
	}
	conn, err := dbus.NewConn(raw, dbus.WithContext(ctx))
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	return conn, nil
}

// Lacking names those of the devices, with their access, that AllowDevices would add. nil: the
// unit is left alone.
func Lacking(ctx context.Context, unit string, devices []Device) ([]string, error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	policy, have, err := readPolicy(ctx, conn, unit)
	if err != nil {
		return nil, fmt.Errorf("systemd: unit %q: %w", unit, err)
	}
	return missingNames(policy, have, devices), nil
}

// missingNames names the devices that a unit with this policy and these entries lacks; nil: it is
// left alone.
func missingNames(policy string, have []entry, devices []Device) []string {
	if isUnrestricted(policy, have) {
		return nil
	}
	list := []string{}
	for _, e := range missingEntries(have, devices) {
		list = append(list, e.Path+" "+e.Access)
	}
	return list
}
