package inspection

import (
	"context"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

// permissions are what the container may use besides its devices.
type permissions struct{}

func (permissions) name() string { return "permission" }

func (permissions) look(s *Subject) ([]resource.View, error) {
	if s.Target == nil {
		return nil, nil
	}
	list, err := s.devices()
	if err != nil {
		return nil, nil // the devices say so
	}
	return devices.Permissions(s.Target, slices.Concat(list, orphanGrants(&devices.Kind, s.Target, list)))
}

func (permissions) plan(s *Subject, c *resource.Change, views []resource.View) error {
	list, err := s.devices()
	if err != nil {
		return err
	}
	for _, v := range views {
		c.Step("repair", "permission", note(v.Name), func(ctx context.Context, t *resource.Target) error {
			return devices.RepairPermission(ctx, t, v, list)
		})
	}
	return nil
}

// devices are the recorded ones.
func (s *Subject) devices() ([]devices.Device, error) {
	return config.List[devices.Device](s.Doc, config.Devices)
}

// note is a word that is what it says.
type note string

func (t note) String() string { return string(t) }
