package devices

import (
	"errors"
	"io/fs"

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
		}
	case err != nil: // a start says what is wrong with the record
	case now != d, h.Has == nil, !h.Has(d):
		h.replug(d, now)
	}
}

// Renew plans that the container has its devices by the numbers that they have now, and
// none whose number is another's.
func (h *Hotplug) Renew() error {
	if err := h.selected(true); err != nil {
		return err
	}
	list := h.devices.Records()
	for _, d := range list {
		if d.Select != "" {
			continue
		}
		now, err := h.resolve(d)
		if err == nil && now == d && h.Has != nil && h.Has(d) || d.hasFixedNumber() {
			continue
		}
		_, known := h.snapshotOf(d)
		block, isDisk := d.disk(known)
		switch {
		case isDisk && (block.Name == "" && (h.Has == nil || h.Has(d)) || err == nil && now != d):
			if err := h.Event(d.PathInContainer, ""); err != nil {
				return err
			}
		case !isDisk && !isOfDisk(d, list):
			h.renew(d)
		}
	}
	return nil
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
