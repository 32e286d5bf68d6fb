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
		if err := limitsHaveDevices(limits, recorded); err != nil {
			return err
		}
		return s.setLimits(limits, recorded, func(limitRequest) *resource.Task { return nil })
	})
}

// limitsHaveDevices refuses a limit whose device is not in list, and finds the path by
// which the device is recorded, and what is to be known of it.
func limitsHaveDevices(limits []limitRequest, list []devices.Device) error {
	for i := range limits {
		l := &limits[i]
		at := indexOfPath(list, l.Path)
		if at < 0 && l.away != nil {
			return bareError{l.away}
		}
		if at >= 0 {
			if err := l.lookAt(list[at]); err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(list, l.Of) {
			return fmt.Errorf("device %s was not added to container or not in add-device args", cmp.Or(l.partition, l.Path))
		}
		if l.away == nil {
			l.Path = l.recordedPath(list)
		}
		l.Limit = l.BoundAs(list)
		l.Optional = slices.ContainsFunc(list, func(d devices.Device) bool { return d.Optional && l.Of(d) })
	}
	return nil
}

// indexOfPath is where list has what may be limited by this path, -1: nowhere.
func indexOfPath(list []devices.Device, path string) int {
	return slices.IndexFunc(list, func(d devices.Device) bool { return d.MayBeLimited() && d.PathOnHost == filepath.Clean(path) })
}

// lookAt makes l the limit of the device that is recorded by its path, whatever the path
// leads to now.
func (l *limitRequest) lookAt(d devices.Device) error {
	now, err := l.At(d)
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

// Of tells whether l limits d. While l's device is away, its numbers may be another's.
func (l limitRequest) Of(d devices.Device) bool {
	if l.away != nil {
		l.Major, l.Minor = -1, -1
	}
	return l.Limit.Of(d)
}

// recordedPath is as typed, but for a limit by a partition's path that of its disk in
// list. Where list has only a partition, known by what it is or holds, so is the limit:
// the name of its disk may be another's at the next start.
func (l limitRequest) recordedPath(list []devices.Device) string {
	disk := slices.IndexFunc(list, l.OfWhole)
	part := slices.IndexFunc(list, func(d devices.Device) bool { return d.IsLinked() && l.Of(d) })
	switch {
	case disk >= 0 && l.partition != "":
		return list[disk].PathOnHost
	case disk < 0 && part >= 0:
		return list[part].PathOnHost
	}
	return l.Path
}

// setLimits plans I/O limits of devices in list. Each needs the task that adds its disk.
func (s *session) setLimits(limits []limitRequest, list []devices.Device, needs func(limitRequest) *resource.Task) error {
	owners := devices.OwnersOf(list)
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
			task := setLimit(edit, l, list, l.recordedAmong(edit.Records(), list, owners))
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
func (l limitRequest) recordedAmong(limits []devices.Limit, list []devices.Device, owners devices.LimitOwners) int {
	return slices.IndexFunc(limits, func(old devices.Limit) bool {
		return old.Path == l.Path || slices.ContainsFunc(list, func(d devices.Device) bool { return l.Of(d) && owners.Own(old, d) })
	})
}

// setLimit plans to add a limit, to change the i-th recorded one, or to remove it (value 0).
// The limit of a missing device is only recorded: another device may have its number.
func setLimit(edit *resource.Edit[devices.Limit], l limitRequest, devs []devices.Device, i int) *resource.Task {
	list := edit.Records()
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
	return edit.Update(list[i], l.BoundAs(devs))
}
