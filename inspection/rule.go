package inspection

import (
	"context"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

// rules are those of udev for the container's devices.
type rules struct{}

func (rules) name() string { return "udev rule" }

func (rules) look(s *Subject) ([]resource.View, error) {
	if !s.hasOurHook() {
		return nil, nil
	}
	list, err := followed(s.Doc.Clone())
	if err != nil {
		return nil, nil // the devices say so
	}
	return devices.RuleViews(s.ID, list)
}

// followed are the devices that the container follows. doc learns of new ones.
func followed(doc *config.Document) ([]devices.Followed, error) {
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
	c.Step("repair", "udev rules", note("of the container's devices"), func(ctx context.Context, _ *resource.Target) error {
		doc, err := config.Load(s.Bundle)
		if err != nil {
			return err
		}
		list, err := followed(doc)
		if err != nil {
			return err
		}
		changed, err := devices.SyncRules(ctx, s.Generation, s.ID, list, repairLockWait)
		s.Reload = s.Reload || changed
		return err
	})
	return nil
}
