package inspection

import (
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

// selectors are wishes for USB devices. The devices that a container has by them are devices
// like others.
type selectors struct{}

func (selectors) name() string { return devices.Selectors.Name }

func (selectors) look(s *Subject) ([]resource.View, error) {
	list, err := s.devices()
	if err != nil {
		return nil, nil // the devices say so
	}
	return devices.SelectorViews(s.Doc, list, s.Target != nil)
}

// plan plans nothing: every command that changes a container has given it what is selected
// before it does anything else.
func (selectors) plan(*Subject, *resource.Change, []resource.View) error { return nil }
