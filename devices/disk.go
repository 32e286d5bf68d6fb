package devices

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
)

// Followed is a device of a container about which udevd shall tell us.
type Followed struct {
	Path string // in the container
	// Of a disk, whose partitions are followed, too:
	Name string // of the kernel; "" while it is away and known by its link
	Link string // below /dev, when the operator gave the disk by such: disk/by-id/NAME
	// Exchanged: it keeps its number when it is given another file, and its link goes.
	Exchanged bool
	// Bound: it is the container's also when its link is no more, or another's.
	Bound bool
	// Of any other device, and of a disk that is away and known by a link of the operator's: the
	// beginnings of its rules. Of the former, whether it is away and was there before: what the
	// kernel calls it then, the rules of before know.
	Matches []string
	Away    bool
}

// PartitionSnapshot records the partitions that a disk had when somebody looked
// last, whether the container has them or not: those that come later it gets.
type PartitionSnapshot struct {
	Path       string `json:"path"`       // of the disk in the container
	Partitions string `json:"partitions"` // what the kernel appends to the disk's name, space separated
	// Plugged is, of a disk that is known by its link, which plugging in of a disk
	// that was; 0: none, it was away. Of any other disk 1: it was away.
	Plugged uint64 `json:"plugged,omitempty"`
}

// String is the record in the form path: partitions.
func (s PartitionSnapshot) String() string { return s.Path + ": " + s.Partitions }

// has tells whether the partition with this suffix was seen.
func (s PartitionSnapshot) has(suffix string) bool {
	return slices.Contains(strings.Fields(s.Partitions), suffix)
}

// Follow returns which of the recorded devices are to be followed, and puts into d
// what is to be seen of disks that are new; what is recorded of others goes. A device
// that is away is still followed.
func Follow(d *config.Document, records []Device) ([]Followed, error) {
	return FollowFound(d, records, new(Host).Look(records))
}

// FollowFound is Follow where the host has been looked at for these records.
func FollowFound(d *config.Document, records []Device, found []OnHost) ([]Followed, error) {
	selectors, err := config.List[Selector](d, config.Selectors)
	if err != nil {
		return nil, err
	}
	return followAll(d, records, found, selectors)
}

func followAll(d *config.Document, records []Device, found []OnHost, selectors []Selector) ([]Followed, error) {
	if len(found) != len(records) {
		found = new(Host).Look(records)
	}
	seen, err := config.List[PartitionSnapshot](d, config.Partitions)
	if err != nil {
		return nil, err
	}
	var list []Followed
	for _, s := range selectors {
		list = append(list, s.followed())
	}
	var now []PartitionSnapshot
	for i, r := range records {
		// A path that cannot stand in a rule is an older version's, or no disk's.
		if CheckDiskPath(r.PathInContainer) != nil || r.Select != "" { // its selector is followed
			continue
		}
		known := slices.IndexFunc(seen, func(s PartitionSnapshot) bool { return s.Path == r.PathInContainer })
		block, isDisk := r.disk(known >= 0)
		if !isDisk {
			if matches := found[i].matches(); matches != nil && !isOfDisk(i, found) {
				list = append(list, Followed{Path: r.PathInContainer, Matches: matches, Away: found[i].IsAway() && !r.neverCame()})
			}
			continue
		}
		disk := r.followed(block)
		if block.Name == "" && disk.Link == "" && !looksLikeBlock(r.PathOnHost) { // a link of the operator's
			disk.Matches = found[i].byAny(cmp.Or(found[i].danglesTo(), disk.Name))
		}
		if disk.Name == "" && disk.Link == "" {
			continue
		}
		list = append(list, disk)
		if known >= 0 {
			now = append(now, seen[known])
			continue
		}
		names, err := block.Partitions()
		if err != nil {
			return nil, err
		}
		for i := range names {
			names[i] = strings.TrimPrefix(names[i], block.Name)
		}
		now = append(now, PartitionSnapshot{r.PathInContainer, strings.Join(names, " "), r.pluggingOf(block)})
	}
	return list, config.Put(d, config.Partitions, now)
}

// disk tells whether d is a disk whose partitions are followed, as it was before when
// it is known. While it is away block is empty.
func (d Device) disk(known bool) (block Block, is bool) {
	if !d.mayBeDisk() {
		return block, false
	}
	block, err := d.block()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return block, known
	case err != nil: // a start says what is wrong with the record
		return block, false
	}
	return block, known || block.Partitionable()
}

// mayBeDisk tells whether the record is of a block device that is no part of
// another one. The partitions of a selected disk are selected, too.
func (d Device) mayBeDisk() bool { return d.Type == "b" && d.Parent == "" && d.Select == "" }

// block returns what the kernel has now of the device that d records, whatever
// numbers it had then. fs.ErrNotExist: it is away.
func (d Device) block() (Block, error) {
	now, _, err := resolve(d)
	if err != nil {
		return Block{}, err
	}
	if now.Type != "b" {
		return Block{}, fs.ErrNotExist
	}
	return FindBlock(now.Major, now.Minor)
}

// linked is where udev makes links by what a device is or holds, not by the
// name that the kernel happens to give it.
const linked = "/dev/disk/"

// IsLinked tells whether d is recorded by such a link.
func (d Device) IsLinked() bool { return strings.HasPrefix(d.PathOnHost, linked) }

// isNamed tells whether d's path says which device it is. That has any name and number of the
// kernel, and another one has those that it had.
func (d Device) isNamed() bool { return d.IsLinked() || d.bound() != "" }

// bound is the identity of the device that d is bound to.
func (d Device) bound() string {
	if d.Identity == onArrival {
		return ""
	}
	return d.Identity
}

// followed says how udevd knows the disk that d records and block is. While it is
// away block is empty; then the kernel's name is that of its path.
func (d Device) followed(block Block) Followed {
	disk := Followed{Path: d.PathInContainer, Name: block.Name}
	switch link, ok := strings.CutPrefix(d.PathOnHost, "/dev/"); {
	case !ok || !isPlain(link):
	case d.IsLinked():
		if block.Name != "" {
			d.Major = block.Major
		}
		disk.Link, disk.Exchanged, disk.Bound = link, d.isExchanged(), d.bound() != ""
	case block.Name == "":
		disk.Name = link
	}
	return disk
}

// pluggingOf tells one plugging in of a disk from the next, where d is known by a
// link: for a moment that may still lead to the name which another disk has now.
// The kernel numbers what it has in sysfs.
func (d Device) pluggingOf(block Block) uint64 {
	var st unix.Stat_t
	if !d.IsLinked() || unix.Stat(block.sysfs, &st) != nil {
		return 0
	}
	return st.Ino
}

// isPlain tells whether a name means only itself where udev expects a pattern.
func isPlain(name string) bool {
	return CheckDiskPath(name) == nil && !strings.ContainsAny(name, "*?[]|{}")
}
