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

// found is what the host has of a recorded device.
type found struct {
	Device // as it is recorded
	now    Device
	err    error // why the container cannot have it: another may choose its path, too
	block  Block // that it is; without a name: none, or nobody knows
	away   bool  // it is no block device now
	isDisk bool  // whose partitions are followed
}

// look looks at the host once for all that is to be known of d.
func (h *Hotplug) look(d Device) (f found) {
	f.Device = d
	f.now, _, f.err = h.Host.resolve(d)
	err := f.err
	if err == nil && f.now.Type != "b" {
		err = fs.ErrNotExist
	}
	if err == nil {
		if f.block, err = FindBlock(f.now.Major, f.now.Minor); err != nil {
			f.block = Block{}
		}
	}
	f.away = errors.Is(err, fs.ErrNotExist)
	if d.mayBeDisk() {
		_, known := h.snapshotOf(d)
		f.isDisk = known && (err == nil || f.away) || f.block.Partitionable()
	}
	if f.err == nil && f.now != d && h.Check != nil {
		f.err = h.Check(d.PathOnHost)
	}
	return f
}

// isSame tells whether the host has the device, as it is recorded.
func (f found) isSame() bool { return f.err == nil && f.now == f.Device }

// renew plans that a device, which is no disk, is what was found: while it is away,
// or another one has its name, the container loses it, and it stays recorded.
func (h *Hotplug) renew(f found) {
	switch {
	case errorIsGone(f.err):
		if !h.lacks(f.Device) {
			h.devices.Withdraw(f.Device)
			h.nameLimits(f.Device)
		}
	case f.err != nil: // a start says what is wrong with the record
	case !f.isSame(), h.Has == nil, h.lacks(f.Device):
		h.replug(f.Device, f.now)
	}
}

// Renew plans that the container has its devices by the numbers that they have now, and
// none whose number is another's. No event is behind it: one may have been lost.
func (h *Hotplug) Renew() error { return h.renewAll(false) }

// Rescan is Renew that plans what comes and goes with the partitions of disks, too: what the
// events would have, of which nobody told because udevd did not know the rules yet.
func (h *Hotplug) Rescan() error { return h.renewAll(true) }

func (h *Hotplug) renewAll(partitions bool) error {
	if err := h.selected(true); err != nil {
		return err
	}
	var all []found // but what needs nothing, and no other for which it is looked at
	for _, d := range h.devices.Records() {
		if d.Select != "" {
			continue
		}
		f := h.look(d)
		if h.Given && !f.isDisk && (h.lacks(d) || h.Has == nil && f.isSame()) {
			continue
		}
		if f.isDisk || !f.isSame() || h.Has == nil || h.lacks(d) {
			all = append(all, f)
		}
	}
	stale := make([]bool, len(all)) // the disks: each is renewed once, for itself and its partitions
	for i, f := range all {
		disk := diskOf(i, all)
		switch {
		case !h.isStale(f, disk >= 0):
		case disk >= 0:
			stale[disk] = true
		default:
			h.renew(f)
		}
	}
	for i, f := range all {
		switch {
		case stale[i]:
			h.renewDisk(f)
		case partitions && f.isDisk:
			if err := h.scan(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// isStale tells whether the container may have something else than what the device is now, or
// not all that it should have. ofDisk: it is a disk, or a partition of one that is recorded.
func (h *Hotplug) isStale(f found, ofDisk bool) bool {
	switch {
	case f.isSame() && h.Has != nil && !h.lacks(f.Device):
		return h.cameBack(f)
	case (f.err != nil || f.isSame()) && f.hasFixedNumber():
		return false
	case errorIsGone(f.err):
		return !h.lacks(f.Device)
	case f.err != nil: // a start says what is wrong with the record
		return false
	case !f.isSame(), !ofDisk, h.cameBack(f):
		return true
	}
	// Where nobody knows what it was given, all partitions would be given each time.
	return h.lacks(f.Device) && (!f.isDisk || h.wasAway(f.Device))
}

// lacks tells whether the running container was not given d, as far as anybody knows.
func (h *Hotplug) lacks(d Device) bool { return h.Has != nil && !h.Has(d) }

// diskOf is where the disk is with which the i-th device is renewed: itself, or the one
// of which it is a partition. -1: nowhere.
func diskOf(i int, all []found) int {
	if all[i].isDisk {
		return i
	}
	return slices.IndexFunc(all, func(disk found) bool { return disk.isDisk && all[i].goesWith(disk.Device, disk.block.Name) })
}

// renewDisk plans what the event would of which nobody told. A disk that goes at this moment,
// or cannot be looked at, is left to its event, or the next command: this one is about another.
func (h *Hotplug) renewDisk(f found) {
	name := ""
	switch {
	case f.away:
		h.unplug(f.Device)
		return
	case h.cameBack(f), h.lacks(f.Device) && h.wasAway(f.Device):
		name = f.block.Name
	}
	_ = h.disk(f, name)
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
		if err := h.scan(h.look(d)); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hotplug) scan(f found) error {
	switch {
	case f.away:
		h.removePartitions(f.Device)
		return nil
	case f.block.Name == "" || f.err != nil: // a start says what is wrong with the record
		return nil
	case h.cameBack(f):
		return h.disk(f, f.block.Name)
	}
	there, err := f.partitions(f.block)
	if err == nil {
		h.syncManualPartitions(f.Device, f.block, func(Block) bool { return false })
		h.syncPartitions(f.Device, f.block, "", there, !h.lacks(f.Device))
	}
	return err
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
