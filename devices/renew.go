package devices

import (
	"errors"
	"io/fs"
	"slices"

	"isula.org/isulad-tools/internal/ledger"
)

// Granted returns what tells which devices a start was given, by its ledger.
func Granted(l *ledger.Ledger) func(Device) bool {
	if l == nil {
		return nil
	}
	return func(d Device) bool { return l.Has(kindName, d) }
}

// resolve is resolve of a path that no container chooses.
func (h *Hotplug) resolve(d Device) (Device, error) {
	now, _, err := h.Host.resolve(d)
	if err == nil && now != d && h.Check != nil {
		err = h.Check(d.PathOnHost)
	}
	return now, err
}

// renew plans that the device d, which is no disk, is what it is now: while it is away,
// or another one has its name, the container loses it, and it stays recorded.
func (h *Hotplug) renew(d Device) {
	now, err := h.resolve(d)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoDevice):
		if h.Has == nil || h.Has(d) {
			h.devices.Withdraw(d)
			h.nameLimits(d)
		}
	case err != nil: // a start says what is wrong with the record
	case now != d, h.Has == nil, !h.Has(d):
		h.replug(d, now)
	}
}

// Renew plans that the container has its devices by the numbers that they have now, and
// none whose number is another's. No event is behind it: one may have been lost.
func (h *Hotplug) Renew() error {
	if err := h.selected(true); err != nil {
		return err
	}
	list := h.devices.Records()
	var disks []Device // each looked at once, for itself and its partitions
	for _, d := range list {
		if d.Select != "" || !h.isStale(d) {
			continue
		}
		disk, isDisk := h.diskOf(d, list)
		switch {
		case !isDisk:
			h.renew(d)
		case !slices.Contains(disks, disk):
			disks = append(disks, disk)
		}
	}
	for _, d := range disks {
		if err := h.renewDisk(d); err != nil {
			return err
		}
	}
	return nil
}

// isStale tells whether the container may have something else than what d is now, or not all
// that it should have.
func (h *Hotplug) isStale(d Device) bool {
	now, err := h.resolve(d)
	switch {
	case err == nil && now == d && h.Has != nil && h.Has(d):
		return h.cameBack(d)
	case (err != nil || now == d) && d.hasFixedNumber():
		return false
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoDevice):
		return h.Has == nil || h.Has(d)
	case err != nil: // a start says what is wrong with the record
		return false
	case now != d || h.Has != nil || h.cameBack(d):
		return true
	}
	// Nobody knows what it was given. Of a disk that would be all its partitions, each time.
	_, isDisk := h.diskOf(d, h.devices.Records())
	return !isDisk
}

// lacks tells whether the running container was not given d, as far as anybody knows.
func (h *Hotplug) lacks(d Device) bool { return h.Has != nil && !h.Has(d) }

// diskOf returns the disk with which d is renewed: d, or the one of which it is a partition.
func (h *Hotplug) diskOf(d Device, list []Device) (Device, bool) {
	isDisk := func(disk Device) bool {
		_, known := h.snapshotOf(disk)
		_, is := disk.disk(known)
		return is
	}
	if isDisk(d) {
		return d, true
	}
	i := slices.IndexFunc(list, func(disk Device) bool { return isOfDisk(d, []Device{disk}) && isDisk(disk) })
	if i < 0 {
		return d, false
	}
	return list[i], true
}

// renewDisk plans what the event would of which nobody told.
func (h *Hotplug) renewDisk(d Device) error {
	_, known := h.snapshotOf(d)
	block, _ := d.disk(known)
	_, err := h.resolve(d)
	switch {
	case block.Name == "":
		h.unplug(d)
		return nil
	case err != nil: // a start says what is wrong with the record
		return nil
	case h.cameBack(d), h.lacks(d):
		return h.disk(d, block, block.Name)
	}
	return h.disk(d, block, "")
}

// cameBack tells whether the disk d went and came back since somebody looked last.
func (h *Hotplug) cameBack(d Device) bool {
	if !d.IsLinked() {
		return false
	}
	s, known := h.snapshotOf(d)
	if !known || s.Plugged == 0 {
		return false
	}
	block, err := d.block()
	return err == nil && s.Plugged != d.pluggingOf(block)
}

// ScanPartitions plans that the container gets the partitions of its disks, and the devices of its
// selectors, that came since somebody looked last, and loses those that went.
func (h *Hotplug) ScanPartitions() error {
	if err := h.selected(false); err != nil {
		return err
	}
	for _, d := range h.devices.Records() {
		if !d.mayBeDisk() {
			continue
		}
		switch block, err := d.block(); {
		case errors.Is(err, fs.ErrNotExist):
			h.unfollow(d)
		case err != nil: // a start says what is wrong with the record
		case h.cameBack(d):
			if err := h.disk(d, block, block.Name); err != nil {
				return err
			}
		default:
			if err := h.follow(d, block, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// Renewed lists the devices that the container got, as they are now.
func (h *Hotplug) Renewed() (list []Device) {
	for _, t := range h.Change.Tasks {
		if d, ok := t.Record.(Device); ok && t.Err == nil && t.Verb == "update" {
			list = append(list, d)
		}
	}
	return list
}

// IsStale tells whether the host has the device d under other numbers now.
func (d Device) IsStale() bool {
	now, _, err := resolve(d)
	return err == nil && now != d
}
