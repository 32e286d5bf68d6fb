package devices

import (
	"slices"
	"strings"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/resource"
)

// diskScan is one disk that was looked at.
type diskScan struct {
	seen PartitionSnapshot
	adds map[string]*resource.Task // by suffix
	disk *resource.Task            // by which the container gets it itself, if it does
}

// withdrawn is, as PartitionSnapshot.Plugged, that the disk d was withdrawn because it is away.
// Of one that is known by its link no plugging in is that; of others none is recorded else.
func (d Device) withdrawn() uint64 {
	if d.IsLinked() {
		return 0
	}
	return 1
}

// wasAway tells whether the disk d, which the container lacks, was away when somebody looked
// last. Else its record is only to be applied by the next start.
func (h *Hotplug) wasAway(d Device) bool {
	s, known := h.snapshotOf(d)
	return !known || s.Plugged == d.withdrawn()
}

// cameBack tells whether a disk went and came back since somebody looked last.
func (h *Hotplug) cameBack(f found) bool {
	if !f.IsLinked() || f.block.Name == "" {
		return false
	}
	s, known := h.snapshotOf(f.Device)
	return known && s.Plugged != 0 && s.Plugged != f.pluggingOf(f.block)
}

// snapshotOf is what was recorded of the disk d at the last look.
func (h *Hotplug) snapshotOf(d Device) (PartitionSnapshot, bool) {
	for _, l := range slices.Backward(h.looks) {
		if l.seen.Path == d.PathInContainer {
			return l.seen, true
		}
	}
	list, err := config.List[PartitionSnapshot](h.doc, config.Partitions)
	i := slices.IndexFunc(list, func(s PartitionSnapshot) bool { return s.Path == d.PathInContainer })
	if err != nil || i < 0 {
		return PartitionSnapshot{}, false
	}
	return list[i], true
}

// saveSnapshots puts into the document what was seen. What the container could not be
// given is left for the next look.
func (h *Hotplug) saveSnapshots() error {
	list, err := config.List[PartitionSnapshot](h.doc, config.Partitions)
	if err != nil || len(h.looks) == 0 {
		return err
	}
	list = slices.Clone(list)
	for _, l := range h.looks {
		suffixes := slices.DeleteFunc(strings.Fields(l.seen.Partitions), func(s string) bool {
			task := l.adds[s]
			return task != nil && task.Err != nil
		})
		now := PartitionSnapshot{l.seen.Path, strings.Join(suffixes, " "), l.seen.Plugged}
		if l.disk != nil && l.disk.Err != nil {
			now.Plugged = l.disk.Record.(Device).withdrawn()
		}
		if i := slices.IndexFunc(list, func(s PartitionSnapshot) bool { return s.Path == now.Path }); i >= 0 {
			list[i] = now
		} else {
			list = append(list, now)
		}
	}
	return config.Put(h.doc, config.Partitions, list)
}
