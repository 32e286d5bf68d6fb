package inspection

import (
	"context"

	"isula.org/isulad-tools/resource"
	"isula.org/isulad-tools/sysctl"
)

// parameters are the kernel's that a container with a user namespace asks for in its
// specification: its runtime cannot set them.
type parameters struct{}

func (parameters) name() string { return "sysctl" }

func (parameters) look(s *Subject) (views []resource.View, err error) {
	if !s.hasOurHook() || !s.Spec.Mapped() {
		return nil, nil
	}
	list, err := sysctl.Read(s.Target.Init.PID, s.Spec.Linux.Sysctl)
	for _, p := range list {
		v := resource.View{Name: p.Key, Recorded: note(p.Want)}
		if p.Have != "" {
			v.Real = note(p.Have)
		}
		if p.Have != p.Want {
			v.Differ("other value", "the container's namespace has %q, its specification asks for %q", p.Have, p.Want)
		}
		views = append(views, v)
	}
	return views, err
}

func (parameters) plan(s *Subject, c *resource.Change, views []resource.View) error {
	for _, v := range views {
		c.Step("repair", "sysctl", note(v.Name), func(_ context.Context, t *resource.Target) error {
			return sysctl.Set(t.Init.PID, t.Owner.UID, map[string]string{v.Name: s.Spec.Linux.Sysctl[v.Name]})
		})
	}
	return nil
}
