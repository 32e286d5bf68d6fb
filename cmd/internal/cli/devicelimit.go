package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/resource"
)

func (a App) updateDevices(c *cli.Context) error {
	if err := atLeastArgs(c, 1); err != nil {
		return err
	}
	if err := atMostArgs(c, 1); err != nil {
		return err
	}
	limits, err := parseLimits(c)
	if err != nil {
		return err
	}
	if len(limits) == 0 {
		return errors.New("update device should specify at least one device QOS configuration")
	}
	return a.transact(c, "Failed to update device: ", resource.Stop, func(s *session) error {
		recorded, err := config.List[devices.Device](s.doc, config.Devices)
		if err != nil {
			return err
		}
		targets := s.host.LimitTargets(recorded)
		if err := limitsHaveDevices(limits, targets); err != nil {
			return err
		}
		return s.setLimits(limits, targets, func(limitRequest) *resource.Task { return nil })
	})
}

// limitsHaveDevices refuses a limit whose device is not among the targets, and finds the path by
// which the device is recorded, and what is to be known of it.
func limitsHaveDevices(limits []limitRequest, targets devices.LimitTargets) error {
	for i := range limits {
		l := &limits[i]
		at := slices.IndexFunc(targets, func(t devices.LimitTarget) bool { return t.PathOnHost == filepath.Clean(l.Path) })
		if at < 0 && l.away != nil {
			return bareError{l.away}
		}
		if at >= 0 {
			if err := l.lookAt(targets[at]); err != nil {
				return err
			}
		}
		var has bool
		for _, t := range targets {
			if l.isOf(t) {
				has, l.Optional = true, l.Optional || t.Optional
			}
		}
		if !has {
			return fmt.Errorf("device %s was not added to container or not in add-device args", cmp.Or(l.partition, l.Path))
		}
		if l.away == nil {
			l.Path = l.recordedPath(targets)
		}
		l.Limit = targets.Bind(l.Limit)
	}
	return nil
}

// lookAt makes l the limit of the target that is recorded by its path, whatever the path
// leads to now.
func (l *limitRequest) lookAt(t devices.LimitTarget) error {
	now, err := t.Number(l.Limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.away, l.partition = cmp.Or(l.away, err), ""
	case err != nil:
		return fmt.Errorf("%s: %w", l.Path, err)
	default:
		l.away = nil
	}
	l.Limit = now
	return nil
}

// isOf tells whether l limits the target. While l's device is away, its numbers may be another's.
func (l limitRequest) isOf(t devices.LimitTarget) bool {
	if l.away != nil {
		l.Major, l.Minor = -1, -1
	}
	return t.Has(l.Limit)
}

// recordedPath is as typed, but for a limit by a partition's path that of its disk among the
// targets. Where they have only a partition, known by what it is or holds, so is the limit:
// the name of its disk may be another's at the next start.
func (l limitRequest) recordedPath(targets devices.LimitTargets) string {
	disk := slices.IndexFunc(targets, func(t devices.LimitTarget) bool { return t.IsDiskOf(l.Limit) })
	part := slices.IndexFunc(targets, func(t devices.LimitTarget) bool { return t.IsLinked() && l.isOf(t) })
	switch {
	case disk >= 0 && l.partition != "":
		return targets[disk].PathOnHost
	case disk < 0 && part >= 0:
		return targets[part].PathOnHost
	}
	return l.Path
}

// setLimits plans I/O limits of targets. Each needs the task that adds its disk.
func (s *session) setLimits(limits []limitRequest, targets devices.LimitTargets, needs func(limitRequest) *resource.Task) error {
	for _, kind := range devices.LimitKinds() {
		edit, err := kind.Edit(s.change)
		if err != nil {
			return err
		}
		for _, l := range limits {
			if l.kind != kind.Name {
				continue
			}
			none := fmt.Sprintf("device not support cfq:%s", l.Path)
			if weights, _ := devices.LimitValues(l.kind); weights && l.Value != "0" && l.away == nil && !l.CanHaveWeights() {
				s.printLater(func() string { return none })
				continue
			}
			task := setLimit(edit, l, targets)
			task.Needs = needs(l)
			s.printOnSuccess(task, "Update %s for device (%s,%s) done.", kind.Name, l.Path, l.Value)
			if l.away != nil {
				s.printOnSuccess(task, "device %s is not on the host now: its limit is set when it appears", l.Path)
			}
			if l.partition != "" {
				s.printOnSuccess(task, "%s is a partition: the limit is that of its whole disk, %s", l.partition, l.disk)
			}
			s.printLater(func() string {
				if errors.Is(task.Err, devices.ErrNoWeights) {
					return none
				}
				return ""
			})
		}
	}
	return nil
}

// recordedAmong is where limits has one of the same device, -1: nowhere.
func (l limitRequest) recordedAmong(limits []devices.Limit, targets devices.LimitTargets) int {
	return slices.IndexFunc(limits, func(old devices.Limit) bool {
		return old.Path == l.Path || slices.ContainsFunc(targets.LimitedBy(old), l.isOf)
	})
}

// setLimit plans to add a limit, to change a recorded one, or to remove it (value 0).
// The limit of a missing device is only recorded: another device may have its number.
func setLimit(edit *resource.Edit[devices.Limit], l limitRequest, targets devices.LimitTargets) *resource.Task {
	list := edit.Records()
	i := l.recordedAmong(list, targets)
	switch {
	case l.away != nil && l.Value == "0":
		if i >= 0 {
			l.Limit = list[i]
		}
		return edit.RemoveRecord(l.Limit)
	case l.away != nil && i < 0:
		return edit.RecordOnly(l.Limit)
	case l.away != nil:
		return edit.RecordOnly(l.Limit, list[i])
	case i < 0 && l.Value == "0":
		return edit.Remove(l.Limit) // one that the runtime has set, perhaps
	case i < 0:
		return edit.Add(l.Limit)
	case l.Value == "0":
		return edit.Remove(list[i])
	}
	l.Path = list[i].Path
	return edit.Update(list[i], targets.Bind(l.Limit))
}
