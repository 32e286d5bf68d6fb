package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

var selectFlag = cli.StringFlag{Name: "select", Usage: "all nodes of the USB device `usb:VID:PID[:SERIAL]`, whenever it is plugged in"}

// hasSelector tells whether --select is given. IsSet looks at every flag of the command and at
// files for them, which is for nothing where none is given.
func hasSelector(c *cli.Context) bool { return c.NumFlags() > 0 && c.IsSet(selectFlag.Name) }

// parseSelector reads the selector, and the container path that may come with it.
func parseSelector(c *cli.Context, most int) (s devices.Selector, err error) {
	if err := atLeastArgs(c, 1); err != nil {
		return s, err
	}
	if c.NArg() > most {
		return s, fmt.Errorf("unexpected argument %q: with --select the devices are those of the selector", c.Args().Get(most))
	}
	for _, f := range limitFlags {
		if c.IsSet(f.flag) {
			return s, fmt.Errorf("--%s and --select exclude each other: update-device limits a disk that is there", f.flag)
		}
	}
	if s, err = devices.ParseSelector(c.String(selectFlag.Name)); err != nil {
		return s, err
	}
	if arg := c.Args().Get(1); arg != "" {
		m, err := parseMapping(arg)
		if err != nil {
			return s, err
		}
		s.Container, s.Options = m.host, strings.TrimSuffix(m.permissions, "rwm")
		if m.container != "" || m.host == "/" {
			return s, fmt.Errorf("containerpath should be PATH or PATH:PERMISSIONS, and not /: %s", arg)
		}
	}
	return s, devices.CheckDiskPath(s.Container)
}

// addSelector gives the container what a selector means, from now on.
func (a App) addSelector(c *cli.Context) error {
	selector, err := parseSelector(c, 2)
	if err != nil {
		return err
	}
	return a.transact(c, "Failed to add device: ", resource.Skip, func(s *session) error {
		adder := devices.Adder{Force: c.Bool("force")}
		edit, err := adder.Kind().Edit(s.change)
		if err != nil {
			return err
		}
		recorded := edit.Records()
		plan, err := s.hotplug(edit)
		if err != nil {
			return err
		}
		paths, err := config.List[mounts.Bind](s.doc, config.Binds)
		if err != nil {
			return err
		}
		plan.Hides = func(d devices.Device) error { return s.checkVisible(paths, d) }
		task, err := plan.Select(selector)
		if err != nil {
			return err
		}
		var given []*resource.Task
		for _, t := range s.change.Tasks {
			if d, ok := t.Record.(devices.Device); ok && t.Verb == "add" && t.Err == nil {
				given = append(given, t)
				s.printOnSuccess(t, "Add device (%s) to container(%s,%s) done.", d.PathOnHost, s.name, d.PathInContainer)
			}
		}
		if given == nil {
			s.printOnSuccess(task, "no device %s is there now: the container gets it when it comes", selector.Host)
		}
		s.printOnSuccess(task, "Add device selector (%s) to container(%s) done.", selector, s.name)
		s.change.Finally(allOf(given, selector))
		s.syncUnit(edit, recorded)
		s.follow(plan.Followed, !c.Bool(configOnlyFlag.Name))
		return nil
	})
}

// allOf fails when the container cannot have all nodes that a selector means now: then it
// gets none, and the selector is not recorded. When all is taken back it has nothing to say.
func allOf(given []*resource.Task, selector devices.Selector) func(context.Context) error {
	told := false
	return func(context.Context) error {
		if told || !slices.ContainsFunc(given, func(t *resource.Task) bool { return t.Err != nil }) {
			return nil
		}
		told = true
		return fmt.Errorf("device selector %s is not added: not all of its nodes can be given", selector.Host)
	}
}

// removeSelector takes a selector away, with all that the container has by it.
func (a App) removeSelector(c *cli.Context) error {
	selector, err := parseSelector(c, 1)
	if err != nil {
		return err
	}
	return a.transact(c, "Failed to remove device: ", resource.Skip, func(s *session) error {
		edit, err := devices.Kind.Edit(s.change)
		if err != nil {
			return err
		}
		plan, err := s.hotplug(edit)
		if err != nil {
			return err
		}
		recorded := edit.Records()
		i := slices.IndexFunc(plan.Selectors(), func(r devices.Selector) bool { return r.Host == selector.Host })
		if i < 0 {
			return fmt.Errorf("device selector %s is not added by %s, can not remove it: list-device shows those that are", selector, a.Name)
		}
		gone := slices.DeleteFunc(slices.Clone(recorded), func(d devices.Device) bool { return d.Select != selector.Host })
		if err := s.revokeDevices(edit, gone); err != nil {
			return err
		}
		s.printOnSuccess(plan.Unselect(plan.Selectors()[i]), "Remove device selector (%s) from container(%s) done.", selector, s.name)
		s.syncUnit(edit, recorded)
		s.follow(plan.Followed, true)
		return nil
	})
}

// hotplug plans, as a part of the session's change, what follows the host's devices.
func (s *session) hotplug(edit *resource.Edit[devices.Device]) (*devices.Hotplug, error) {
	plan, err := devices.PlanHotplugIn(s.change, s.doc, edit)
	if err != nil {
		return nil, err
	}
	s.askContainer(plan)
	return plan, nil
}
