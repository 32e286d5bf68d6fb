package devices

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
)

// LimitOwners are the devices of a container, which tell of each recorded limit whose it
// is. Recorded numbers may be another device's by now: those of a device that is away are only
// what it had in common with its limit when both were recorded.
type LimitOwners []limitOwner

type limitOwner struct {
	Device
	disk  Block // that it is now, or is a partition of
	there bool
}

// OwnersOf looks at all records.
func OwnersOf(records []Device) (all LimitOwners) {
	for _, d := range records {
		if d.MayBeLimited() {
			disk, err := d.wholeDisk()
			all = append(all, limitOwner{d, disk, err == nil})
		}
	}
	return all
}

// Own tells whether l limits d: as the device that it is, or as a partition of one.
func (all LimitOwners) Own(l Limit, d Device) bool {
	path := filepath.Clean(l.Path)
	if !d.MayBeLimited() || d.PathOnHost == path {
		return d.MayBeLimited()
	}
	disk, err := d.wholeDisk()
	there := err == nil
	owners := all.of(l)
	switch {
	case len(owners) == 0 && there:
		return disk.Major == l.Major && disk.Minor == l.Minor || "/dev/"+disk.Name == path
	case !there && d.isPartOf(path):
		return true
	}
	return slices.ContainsFunc(owners, func(o limitOwner) bool {
		if there && o.there {
			return disk.Major == o.disk.Major && disk.Minor == o.disk.Minor
		}
		return o.Device == d || !there && !o.there && o.Same(d)
	})
}

// of are the devices of which l is recorded: those of its path, else those of its numbers. Of
// the latter it is rather one's that is there than one's that is away.
func (all LimitOwners) of(l Limit) LimitOwners {
	path := filepath.Clean(l.Path)
	those := func(from LimitOwners, is func(limitOwner) bool) LimitOwners {
		return slices.DeleteFunc(slices.Clone(from), func(o limitOwner) bool { return !is(o) })
	}
	if list := those(all, func(o limitOwner) bool { return o.PathOnHost == path }); len(list) > 0 {
		return list
	}
	paired := those(all, func(o limitOwner) bool { return !o.neverCame() && o.Major == l.Major && o.Minor == l.Minor })
	if list := those(paired, func(o limitOwner) bool { return o.has(l) }); len(list) > 0 {
		return list
	}
	return paired
}

// has tells whether the limit's numbers are those of now.
func (o limitOwner) has(l Limit) bool {
	return o.there && o.disk.Major == l.Major && o.disk.Minor == l.Minor
}

// AreThere tells whether the numbers of l are its device's, and not another's by now.
func (all LimitOwners) AreThere(l Limit) bool {
	owners := all.of(l)
	if len(owners) == 0 {
		_, renewed, err := resolveLimit(l)
		return err == nil && !renewed
	}
	return slices.ContainsFunc(owners, func(o limitOwner) bool { return o.has(l) })
}

// MayBeLimited tells whether d is a block device, or may be one when it comes.
func (d Device) MayBeLimited() bool { return d.Type == "b" || d.neverCame() }

// isPartOf tells whether d was recorded as a partition of the disk at path.
func (d Device) isPartOf(path string) bool {
	return d.Parent != "" && d.Parent == path && !d.isStacked()
}

// wholeDisk is the disk that the host has now as d, or of which that is a partition.
// fs.ErrNotExist: it is away.
func (d Device) wholeDisk() (Block, error) {
	now, _, err := resolve(d)
	switch {
	case err != nil:
		return Block{}, err
	case now.Type != "b":
		return Block{}, fs.ErrNotExist
	}
	return wholeDisk(now.Major, now.Minor)
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

// Of tells whether l, whose numbers are those of now, limits d: as the device that it is, or
// as a partition of one.
func (l Limit) Of(d Device) bool {
	path := filepath.Clean(l.Path)
	if !d.MayBeLimited() || d.PathOnHost == path {
		return d.MayBeLimited()
	}
	disk, err := d.wholeDisk()
	if err != nil { // where it is known by the kernel's name, its disk is
		return d.isPartOf(path) && IsPartition(d.PathOnHost, path)
	}
	return disk.Major == l.Major && disk.Minor == l.Minor
}

// OfWhole tells whether l, whose numbers are those of now, limits d, which is no partition.
func (l Limit) OfWhole(d Device) bool {
	now, _, err := resolve(d)
	return err == nil && now.Type == "b" && now.Major == l.Major && now.Minor == l.Minor
}

// At returns l as the limit of d, by whose path it is given: of the disk that d is now, or,
// while d is away, which fs.ErrNotExist tells, of none.
func (l Limit) At(d Device) (Limit, error) {
	l.Identity, l.Major, l.Minor = d.bound(), d.Major, d.Minor
	disk, err := d.wholeDisk()
	if err == nil {
		l.Major, l.Minor = disk.Major, disk.Minor
	}
	return l, err
}

// BoundAs returns l with the identity of the device in list that has its path.
func (l Limit) BoundAs(list []Device) Limit {
	l.Identity = ""
	for _, d := range list {
		if d.PathOnHost == filepath.Clean(l.Path) {
			l.Identity = d.bound()
		}
	}
	return l
}
