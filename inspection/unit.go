package inspection

import (
	"context"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

// unit is the container's unit of systemd, which takes away at a daemon-reload what it does
// not know of.
type unit struct{}

func (unit) name() string { return "systemd unit" }

func (unit) look(s *Subject) ([]resource.View, error) {
	if s.Target == nil {
		return nil, nil
	}
	list, err := s.devices()
	name := s.Target.Cgroups.Unit()
	if err != nil || len(list) == 0 || name == "" {
		return nil, nil
	}
	return devices.UnitViews(context.Background(), name, list)
}

func (unit) plan(s *Subject, c *resource.Change, views []resource.View) error {
	list, err := s.devices()
	if err != nil {
		return err
	}
	for _, v := range views {
		c.Step("repair", "systemd unit", note(v.Name), func(ctx context.Context, _ *resource.Target) error {
			return devices.AllowInUnit(ctx, v.Name, list)
		})
	}
	return nil
}
