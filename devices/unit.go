package devices

import (
	"context"
	"slices"
	"strings"
	"time"

	"isula.org/isulad-tools/internal/systemd"
	"isula.org/isulad-tools/resource"
)

// unitWait bounds how long systemd is waited for. A command may wait twice under the
// container's lock, and a start that waits for the lock gives up after 10 s.
const unitWait = 3 * time.Second

// AllowInUnit tells systemd that a unit, the container's, may use devices too and
// others no more, which it would take away and give back at its next
// daemon-reload. Of those to allow it is told of what the host has by these numbers now. A
// start calls it without any lock, as systemd may be slow. Where no systemd runs there is
// nobody to tell.
func AllowInUnit(ctx context.Context, unit string, allow []Device, forget ...Device) error {
	if !systemd.Runs() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, unitWait)
	defer cancel()
	return systemd.AllowDevices(ctx, unit, unitDevices(withCurrentNumbers(allow)), unitDevices(forget))
}

// AllowInUnit tells systemd what the unit of the running container t got and lost by the plan,
// under the container's lock: when that is gone, somebody else may give the container a number
// that it lost.
func (h *Hotplug) AllowInUnit(ctx context.Context, t *resource.Target) error {
	unit := t.Cgroups.Unit()
	if unit == "" {
		return nil
	}
	got, lost := Changed(h.Change, t, h.before, h.devices.Records())
	if len(got)+len(lost) == 0 {
		return nil
	}
	return AllowInUnit(ctx, unit, got, lost...)
}

func unitDevices(list []Device) []systemd.Device {
	var out []systemd.Device
	for _, d := range list {
		out = append(out, systemd.Device{Type: d.Type, Major: d.Major, Minor: d.Minor, Access: d.access()})
	}
	return out
}

// Changed lists the devices that a change gave to the running container t, and
// those that it took from it; before and now are its records.
func Changed(c *resource.Change, t *resource.Target, before, now []Device) (got, lost []Device) {
	now = withCurrentNumbers(now)
	for _, task := range c.Tasks {
		if d, ok := task.Record.(Device); ok && task.Err == nil && (task.Verb == "add" || task.Verb == "update") && !d.IsAway() {
			got = append(got, d)
		}
	}
	for _, d := range before {
		if !slices.ContainsFunc(now, d.Same) && revocable(d, t.DeviceRules, now) == d.access() {
			lost = append(lost, d)
		}
	}
	return got, lost
}

// UnitViews looks at whether systemd knows that a unit may use devices.
func UnitViews(ctx context.Context, unit string, list []Device) ([]resource.View, error) {
	if !systemd.Runs() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, unitWait)
	defer cancel()
	lacks, err := systemd.Lacking(ctx, unit, unitDevices(withCurrentNumbers(list)))
	if err != nil || lacks == nil {
		return nil, err
	}
	v := resource.View{Name: unit}
	if len(lacks) > 0 {
		v.Differ("DeviceAllow missing", "systemd's next daemon-reload would revoke %s", strings.Join(lacks, ", "))
	}
	return []resource.View{v}, nil
}
