package hooks

import (
	"context"

	"isula.org/isulad-tools/devices"
)

// followUp is what a stage leaves to be done after all locks: udevd may wait for a helper
// that waits for one.
type followUp struct {
	reload bool // udevd must be told that rules changed
	// rescan looks again what became of the devices, now that udevd knows the rules; nil:
	// the container follows none.
	rescan func() (rescanned, error)

	unit    string           // of systemd, "" for none
	allowed []devices.Device // that it may use
	removed []devices.Device // and that it may use no more
}

// rescanned is what a second look changed.
type rescanned struct {
	added, removed []devices.Device
	reload         bool // and udevd must be told again
}

// do does it; nil leaves nothing. A start that failed has no devices to look at. What fails here ends no
// start: it is given to warn.
func (f *followUp) do(ctx context.Context, started bool, warn func(what string, err error)) {
	if f == nil {
		return
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
		found, err := f.rescan()
		if err != nil {
			warn("devices that came or went meanwhile", err)
		}
		f.allowed, f.removed = append(f.allowed, found.added...), append(f.removed, found.removed...)
		return found.reload
	}
	devices.Settle(f.reload, tell, look)
	if !started {
		return
	}
	if f.unit != "" && len(f.allowed) > 0 {
		if err := devices.AllowInUnit(ctx, f.unit, f.allowed, f.removed...); err != nil {
			warn("systemd's next daemon-reload revokes the permissions of the devices", err)
		}
	}
}
