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

// AllowDevices adds devices to the DeviceAllow= of a unit, until it stops.
// systemd attaches a device program of its own to the unit's cgroup, which
// counts besides any other, and attaches it anew at a daemon-reload: what that
// denies is denied. A unit that systemd does not have, or that has no device
// policy, is left alone: there the first entry would deny everything else.
// When ctx ends, it gives up.
func AllowDevices(ctx context.Context, unit string, allow []Device) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	missing, err := missing(ctx, conn, unit, allow)
	if err != nil {
		return fmt.Errorf("systemd: unit %q: %w", unit, err)
	}
	if len(missing) == 0 {
		return nil
	}
	type property struct {
		Name  string
		Value dbus.Variant
	}
	set := []property{{"DeviceAllow", dbus.MakeVariant(missing)}}
	const runtime = true // nothing that outlives a boot
	if err := call(ctx, conn, managerAt, manager+".SetUnitProperties", unit, runtime, set).Store(); err != nil {
		return fmt.Errorf("systemd: allow unit %q %v: %w", unit, missing, err)
	}
	return nil
}

// missing returns what the unit's DeviceAllow lacks of allow.
func missing(ctx context.Context, conn *dbus.Conn, unit string, allow []Device) ([]entry, error) {
	var at dbus.ObjectPath
	err := call(ctx, conn, managerAt, manager+".GetUnit", unit).Store(&at)
	var refused dbus.Error
	if errors.As(err, &refused) && refused.Name == noSuchUnit {
		return nil, nil // a cgroup that is only called like one
	}
	if err != nil {
		return nil, err
	}
	var policy string
	var have []entry
	for name, value := range map[string]any{"DevicePolicy": &policy, "DeviceAllow": &have} {
		var v dbus.Variant
		if err := call(ctx, conn, at, "org.freedesktop.DBus.Properties.Get", unitInterface(unit), name).Store(&v); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if err := v.Store(value); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	if policy == "auto" && len(have) == 0 {
		return nil, nil
	}
	return lacking(have, allow), nil
}

// lacking returns the entries that have must get for allow. An entry replaces
// one of the same path, so it keeps what that allows.
func lacking(have []entry, allow []Device) []entry {
	access := map[string]string{}
	for _, e := range have {
		access[e.Path] = e.Access
	}
	var lack []entry
	for _, d := range allow {
		p := d.path()
		both := union(access[p], d.Access)
		if both == access[p] {
			continue
		}
		access[p] = both
		lack = append(lack, entry{p, both})
	}
	return lack
}

// union appends the letters of b that a has not.
func union(a, b string) string {
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
	conn, err := dial(ctx, privateSocket)
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
