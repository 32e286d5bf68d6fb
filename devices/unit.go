package devices

import (
	"context"
	"time"

	"isula.org/isulad-tools/internal/systemd"
)

// unitWait bounds how long systemd is waited for: a container can do without.
const unitWait = 3 * time.Second

// AllowInUnit tells systemd that a unit, the container's, may use devices too:
// it would take them away at its next daemon-reload. What is removed later need
// not be told, our own program denies it. It is called without any lock, as
// systemd may be slow.
func AllowInUnit(ctx context.Context, unit string, all []Device) error {
	ctx, cancel := context.WithTimeout(ctx, unitWait)
	defer cancel()
	var allow []systemd.Device
	for _, d := range all {
		allow = append(allow, systemd.Device{Type: d.Type, Major: d.Major, Minor: d.Minor, Access: d.access()})
	}
	return systemd.AllowDevices(ctx, unit, allow)
}
