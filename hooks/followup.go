package hooks

import (
	"context"

	"isula.org/isulad-tools/devices"
)

// followUp is what a stage leaves to be done after all locks: udevd may wait for a helper
// that waits for one.
type followUp struct {
	reload bool // udevd must be told that rules changed
	// rescan looks again what became of the devices, now that udevd knows the rules, and tells
	// whether they changed again; nil: the container follows none.
	rescan func() (reload bool, err error)

	unit    string           // of systemd, "" for none
	allowed []devices.Device // that it may use
}

// do does it; nil leaves nothing. A start that failed has no devices to look at. What fails here ends no
// start: it is given to warn.
func (f *followUp) do(ctx context.Context, started bool, warn func(what string, err error)) {
	if f == nil {
		return
	}
	if started && f.unit != "" && len(f.allowed) > 0 {
		if err := devices.AllowInUnit(ctx, f.unit, f.allowed); err != nil {
			warn("systemd's next daemon-reload revokes the permissions of the devices", err)
		}
	}
	tell := func() {
		if err := devices.ReloadRules(ctx); err != nil {
			warn("udev rules changed, but udevd was not told", err)
		}
	}
	look := func() bool {
		if !started || f.rescan == nil {
			return false
		}
		changed, err := f.rescan()
		if err != nil {
			warn("devices that came or went meanwhile are not looked up", err)
		}
		return changed
	}
	devices.Settle(f.reload, tell, look)
}
