package inspection

import (
	"context"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

// rules are those of udev for the container's disks.
type rules struct{}

func (rules) name() string { return "udev rule" }

func (rules) look(s *Subject) ([]resource.View, error) {
	if !s.hooked() {
		return nil, nil
	}
	disks, err := s.disks()
	if err != nil {
		return nil, nil // the devices say so
	}
	return devices.RuleViews(s.ID, disks)
}

// disks are those that the container follows. They are found out from a document of their
// own, which learns of new ones.
func (s *Subject) disks() ([]devices.Disk, error) {
	doc, err := config.Load(s.Bundle)
	if err != nil {
		return nil, err
	}
	list, err := config.List[devices.Device](doc, config.Devices)
	if err != nil {
		return nil, err
	}
	return devices.Follow(doc, list)
}

func (rules) plan(s *Subject, c *resource.Change, views []resource.View) error {
	if len(views) == 0 {
		return nil
	}
	c.Step("repair", "udev rules", text("of the container's disks"), func(ctx context.Context, _ *resource.Target) error {
		disks, err := s.disks()
		if err != nil {
			return err
		}
		changed, err := devices.SyncRules(ctx, s.Generation, s.ID, disks, lockWait)
		s.Reload = s.Reload || changed
		return err
	})
	return nil
}
