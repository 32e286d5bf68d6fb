package devices

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// LimitTarget is a device that may be limited, as it was found. Recorded numbers may be another
// device's by now: those of a device that is away are only what it had in common with its limit
// when both were recorded.
type LimitTarget struct {
	Device
	disk  Block // that it is now, or is a partition of
	whole bool  // it is that disk itself
	err   error // why nobody knows; fs.ErrNotExist: it is away
}

// LimitTargets are those of a container.
type LimitTargets []LimitTarget

// LimitTargets looks once at each record.
func (h *Host) LimitTargets(records []Device) (all LimitTargets) {
	for _, d := range records {
		if d.Type != "b" && !d.neverCame() { // what never came may be a block device
			continue
		}
		now, _, err := h.resolve(d)
		if err == nil && now.Type != "b" {
			err = fs.ErrNotExist
		}
		t := LimitTarget{Device: d}
		if t.err = err; err == nil {
			t.disk, t.err = wholeDisk(now.Major, now.Minor)
		}
		t.whole = t.isNumbered(now.Major, now.Minor)
		all = append(all, t)
	}
	return all
}

// wholeDisk is what the kernel limits of the device of these numbers: nothing but disks.
func wholeDisk(major, minor int64) (Block, error) {
	block, err := FindBlock(major, minor)
	if errors.Is(err, fs.ErrNotExist) {
		return Block{Major: major, Minor: minor}, nil // which sysfs does not know
	}
	if err != nil {
		return block, err
	}
	return block.Whole()
}

// isNumbered tells whether the target's disk has these numbers now.
func (t LimitTarget) isNumbered(major, minor int64) bool {
	return t.err == nil && t.disk.Major == major && t.disk.Minor == minor
}

// isPartOf tells whether the target was recorded as a partition of the disk at path, and is away.
func (t LimitTarget) isPartOf(path string) bool {
	return t.err != nil && t.Parent != "" && t.Parent == path && !t.isStacked()
}

// Has tells whether l, whose numbers are those of now, limits the target: as the device that it
// is, or as a partition of one. While that is away, its disk is where it is known by the
// kernel's name.
func (t LimitTarget) Has(l Limit) bool {
	path := filepath.Clean(l.Path)
	return t.PathOnHost == path || t.isNumbered(l.Major, l.Minor) || t.isPartOf(path) && IsPartition(t.PathOnHost, path)
}

// IsDiskOf tells whether l, whose numbers are those of now, is of the target, which is no partition.
func (t LimitTarget) IsDiskOf(l Limit) bool { return t.whole && t.isNumbered(l.Major, l.Minor) }

// Number returns l, which is given by the target's path, with the numbers of the disk that it is
// now, or, while it is away, which fs.ErrNotExist tells, with those that are recorded.
func (t LimitTarget) Number(l Limit) (Limit, error) {
	l.Major, l.Minor = t.Major, t.Minor
	if t.err == nil {
		l.Major, l.Minor = t.disk.Major, t.disk.Minor
	}
	return l, t.err
}

// LimitedBy are the targets which the recorded l limits, whatever its numbers are by now.
func (all LimitTargets) LimitedBy(l Limit) (limited LimitTargets) {
	path := filepath.Clean(l.Path)
	owners := all.ownersOf(l)
	for _, t := range all {
		unowned := len(owners) == 0 && (t.isNumbered(l.Major, l.Minor) || t.err == nil && "/dev/"+t.disk.Name == path)
		if t.PathOnHost == path || unowned || t.isPartOf(path) || t.isOneOf(owners) {
			limited = append(limited, t)
		}
	}
	return limited
}

// isOneOf tells whether the target is, or is a partition of, what one of the owners is.
func (t LimitTarget) isOneOf(owners LimitTargets) bool {
	for _, o := range owners {
		if o.isNumbered(t.disk.Major, t.disk.Minor) && t.err == nil || o.Device == t.Device || t.err != nil && o.err != nil && o.Same(t.Device) {
			return true
		}
	}
	return false
}

// ownersOf are the targets of which l is recorded: those of its path, else those of its numbers.
// Of the latter it is rather one's that is there than one's that is away.
func (all LimitTargets) ownersOf(l Limit) LimitTargets {
	var named, numbered, recorded LimitTargets
	for _, t := range all {
		switch {
		case t.PathOnHost == filepath.Clean(l.Path):
			named = append(named, t)
		case t.neverCame() || t.Major != l.Major || t.Minor != l.Minor:
		case t.isNumbered(l.Major, l.Minor):
			numbered = append(numbered, t)
		default:
			recorded = append(recorded, t)
		}
	}
	switch {
	case named != nil:
		return named
	case numbered != nil:
		return numbered
	}
	return recorded
}

// AreThere tells whether the numbers of l are its device's, and not another's by now.
func (all LimitTargets) AreThere(l Limit) bool {
	owners := all.ownersOf(l)
	for _, o := range owners {
		if o.isNumbered(l.Major, l.Minor) {
			return true
		}
	}
	if len(owners) > 0 {
		return false
	}
	_, renewed, err := resolveLimit(l)
	return err == nil && !renewed
}

// Bind returns l with the identity of the target that has its path.
func (all LimitTargets) Bind(l Limit) Limit {
	l.Identity = ""
	for _, t := range all {
		if t.PathOnHost == filepath.Clean(l.Path) {
			l.Identity = t.bound()
		}
	}
	return l
}
