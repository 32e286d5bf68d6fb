package inspection

import (
	"context"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// pin is the name of the container's network namespace.
type pin struct{}

func (pin) name() string { return "netns pin" }

func (pin) look(s *Subject) ([]resource.View, error) {
	if !s.hasOurHook() {
		return nil, nil
	}
	v, right, err := network.PinView(s.Target)
	if err != nil {
		return nil, err
	}
	if !right { // the links are looked for in the namespace that is the container's
		s.Target.Net.Close()
		s.Target.Net = rtnl.OfProcess(s.Target.Init.PID)
	}
	return []resource.View{v}, nil
}

func (pin) plan(s *Subject, c *resource.Change, views []resource.View) error {
	for _, v := range views {
		c.Step("repair", "netns pin", note(v.Name), func(_ context.Context, t *resource.Target) error {
			return network.Pin(s.Generation, t.ID, t.Init.PID)
		})
	}
	return nil
}
