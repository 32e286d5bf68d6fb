package cli

import (
	"context"
	"fmt"
	"slices"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

// syncUnit plans that systemd learns which devices the container's unit may use, before
// being those that were recorded: what systemd does not know it takes away at its next
// daemon-reload, and what it still knows it may give back. So a device that systemd was not
// told of is not given at all. A device that is taken away stays so, with a warning.
func (s *session) syncUnit(edit *resource.Edit[devices.Device], before []devices.Device) {
	told, failed := before, false
	s.change.Finally(func(ctx context.Context) error {
		if s.target == nil || !s.target.Init.Lives() {
			return nil
		}
		unit := s.target.Cgroups.Unit()
		if unit == "" {
			return nil
		}
		now := edit.Records()
		got, lost := devices.Changed(s.change, s.target, told, now)
		for _, d := range now { // also what is back because the change failed
			if !slices.ContainsFunc(told, d.Same) && !d.IsAway() {
				got = append(got, d)
			}
		}
		told = now
		if len(got)+len(lost) == 0 {
			return nil
		}
		err := devices.AllowInUnit(ctx, unit, got, lost...)
		switch {
		case err == nil || failed: // what it did not hear it need not forget
			return nil
		case len(got) > 0:
			failed = true
			return fmt.Errorf("tell systemd that unit %s may use the device: %w; "+
				"nothing is added, because systemd's next daemon-reload would revoke the permission: repeat the command when systemctl works, or give --update-config-only for the next start", unit, err)
		}
		s.app.warn("systemd's next daemon-reload permits the device again: repeat add-device and remove-device when systemctl works", err)
		return nil
	})
}
