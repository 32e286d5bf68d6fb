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

// found is what the host has of a recorded device.
type found struct {
	now    Device
	err    error // why the container cannot have it: another may choose its path, too
	block  Block // that it is; without a name: none, or nobody knows
	away   bool  // it is no block device now
	isDisk bool  // whose partitions are followed
}

// look looks at the host once for all that is to be known of d.
func (h *Hotplug) look(d Device) (f found) {
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

// renew plans that the device d, which is no disk, is what was found: while it is away,
// or another one has its name, the container loses it, and it stays recorded.
func (h *Hotplug) renew(d Device, f found) {
	switch {
	case errorIsGone(f.err):
		if !h.lacks(d) {
			h.devices.Withdraw(d)
			h.nameLimits(d)
		}
	case f.err != nil: // a start says what is wrong with the record
	case f.now != d, h.Has == nil, h.lacks(d):
		h.replug(d, f.now)
	}
}

// Renew plans that the container has its devices by the numbers that they have now, and
// none whose number is another's. No event is behind it: one may have been lost.
func (h *Hotplug) Renew() error {
	if err := h.selected(true); err != nil {
		return err
	}
	list := h.devices.Records()
	all := make([]found, len(list))
	for i, d := range list {
		if d.Select == "" {
			all[i] = h.look(d)
		}
	}
	stale := make([]bool, len(list)) // the disks: each is renewed once, for itself and its partitions
	for i, d := range list {
		if d.Select != "" {
			continue
		}
		disk := diskOf(i, list, all)
		switch {
		case !h.isStale(d, all[i], disk >= 0):
		case disk >= 0:
			stale[disk] = true
		default:
			h.renew(d, all[i])
		}
	}
	for i, d := range list {
		if stale[i] {
			h.renewDisk(d, all[i])
		}
	}
	return nil
}

// isStale tells whether the container may have something else than what d is now, or not all
// that it should have. ofDisk: d is a disk, or a partition of one that is recorded.
func (h *Hotplug) isStale(d Device, f found, ofDisk bool) bool {
	same := f.err == nil && f.now == d
	switch {
	case same && h.Has != nil && h.Has(d):
		return h.cameBack(d, f)
	case (f.err != nil || same) && d.hasFixedNumber():
		return false
	case errorIsGone(f.err):
		return !h.lacks(d)
	case f.err != nil: // a start says what is wrong with the record
		return false
	case !same, !ofDisk, h.cameBack(d, f):
		return true
	}
	// Where nobody knows what it was given, all partitions would be given each time.
	return h.lacks(d) && (!f.isDisk || h.wasAway(d))
}

// lacks tells whether the running container was not given d, as far as anybody knows.
func (h *Hotplug) lacks(d Device) bool { return h.Has != nil && !h.Has(d) }

// diskOf is where list has the disk with which the i-th device is renewed: itself, or the one
// of which it is a partition. -1: nowhere.
func diskOf(i int, list []Device, all []found) int {
	if all[i].isDisk {
		return i
	}
	for j := range list {
		if all[j].isDisk && isOfDisk(list[i], list[j:j+1]) {
			return j
		}
	}
	return -1
}

// renewDisk plans what the event would of which nobody told. A disk that goes at this moment,
// or cannot be looked at, is left to its event, or the next command: this one is about another.
func (h *Hotplug) renewDisk(d Device, f found) {
	name := ""
	switch {
	case f.away:
		h.unplug(d)
		return
	case h.cameBack(d, f), h.lacks(d) && h.wasAway(d):
		name = f.block.Name
	}
	_ = h.disk(d, f, name)
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
		if err := h.scan(d, h.look(d)); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hotplug) scan(d Device, f found) error {
	switch {
	case f.away:
		h.unfollow(d)
		return nil
	case f.block.Name == "": // a start says what is wrong with the record
		return nil
	case h.cameBack(d, f):
		return h.disk(d, f, f.block.Name)
	}
	there, err := d.partitions(f.block)
	if err == nil {
		h.follow(d, f.block, "", there, !h.lacks(d))
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
