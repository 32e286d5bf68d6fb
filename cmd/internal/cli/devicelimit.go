package cli

import (
	"cmp"
	"errors"
	"fmt"
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
		if err := limitsHaveDevices(limits, recorded); err != nil {
			return err
		}
		for i := range limits {
			limits[i].Optional = slices.ContainsFunc(recorded, func(d devices.Device) bool { return d.Optional && limits[i].Of(d) })
		}
		return s.setLimits(limits, func(limitRequest) *resource.Task { return nil })
	})
}

// limitsHaveDevices refuses a limit whose device is not in list, and finds the path by
// which the device is recorded.
func limitsHaveDevices(limits []limitRequest, list []devices.Device) error {
	for i, l := range limits {
		if at := slices.IndexFunc(list, func(d devices.Device) bool { return d.Type == "b" && d.PathOnHost == l.Path }); l.away != nil && at < 0 {
			return bareError{l.away}
		} else if l.away != nil {
			limits[i].Major, limits[i].Minor = list[at].Major, list[at].Minor
			continue
		}
		if !slices.ContainsFunc(list, l.Of) {
			return fmt.Errorf("device %s was not added to container or not in add-device args", cmp.Or(l.partition, l.Path))
		}
		limits[i].Path = l.recordedPath(list)
	}
	return nil
}

// recordedPath is as typed, but for a limit by a partition's path that of its disk in
// list. Where list has only a partition, known by what it is or holds, so is the limit:
// the name of its disk may be another's at the next start.
func (l limitRequest) recordedPath(list []devices.Device) string {
	disk := slices.IndexFunc(list, func(d devices.Device) bool { return d.Type == "b" && d.Major == l.Major && d.Minor == l.Minor })
	part := slices.IndexFunc(list, func(d devices.Device) bool { return d.IsLinked() && l.Of(d) })
	switch {
	case disk >= 0 && l.partition != "":
		return list[disk].PathOnHost
	case disk < 0 && part >= 0:
		return list[part].PathOnHost
	}
	return l.Path
}

// setLimits plans I/O limits. Each needs the task that adds its disk.
func (s *session) setLimits(limits []limitRequest, needs func(limitRequest) *resource.Task) error {
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
			task := setLimit(edit, l)
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

// setLimit plans to add a limit, to change a recorded one, or to remove it (value 0).
// The limit of a missing device is only recorded: another device may have its number.
func setLimit(edit *resource.Edit[devices.Limit], l limitRequest) *resource.Task {
	list := edit.Records()
	// While the container does not run, the recorded numbers may be older.
	i := slices.IndexFunc(list, func(old devices.Limit) bool {
		return l.away == nil && old.Major == l.Major && old.Minor == l.Minor || old.Path == l.Path
	})
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
	return edit.Update(list[i], l.Limit)
}
