package devices

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/resource"
)

// Hotplug plans what becomes of a container's disks and their partitions when
// those of the host come and go.
type Hotplug struct {
	Change  *resource.Change
	devices *resource.Edit[Device]
	limits  []*resource.Edit[Limit]
	seen    *resource.Edit[Seen]
}

// Seen is a record of which partitions of a disk were there when somebody last
// looked, added to the container or not: those that come later are.
type Seen struct {
	Path       string `json:"path"`       // of the disk in the container
	Partitions string `json:"partitions"` // what the kernel appends to the disk's name, space separated
}

// String is the record in the form path: partitions.
func (s Seen) String() string { return s.Path + ": " + s.Partitions }

// seenKind has nothing to apply.
var seenKind = resource.Kind[Seen]{Name: "look at partitions", Key: config.Partitions}

// PlanHotplug returns a plan with nothing in it, for the records in d.
func PlanHotplug(d *config.Document) (*Hotplug, error) {
	h := &Hotplug{Change: resource.NewChange(d, resource.Skip)}
	var err error
	if h.devices, err = Kind.Edit(h.Change); err != nil {
		return nil, err
	}
	for _, kind := range LimitKinds() {
		edit, err := kind.Edit(h.Change)
		if err != nil {
			return nil, err
		}
		h.limits = append(h.limits, edit)
	}
	h.seen, err = seenKind.Edit(h.Change)
	return h, err
}

// Disks lists the disks whose partitions the container gets.
func (h *Hotplug) Disks() ([]Disk, error) { return Disks(h.devices.Records()) }

// disk returns the record of the disk at path in the container.
func (h *Hotplug) disk(path string) (Device, bool) {
	list := h.devices.Records()
	i := slices.IndexFunc(list, func(d Device) bool { return d.PathInContainer == path && d.Type == "b" && d.Parent == "" })
	if i < 0 {
		return Device{}, false
	}
	return list[i], true
}

// Partition plans that partition name of the disk at path in the container,
// both by the kernel's names, is what it is now: there or gone. A disk that is
// not recorded, or was another one, is somebody else's.
func (h *Hotplug) Partition(path, disk, name string) error {
	d, ok := h.disk(path)
	if !ok {
		return nil
	}
	if now, _, err := resolve(d); err == nil {
		if block, err := FindBlock(now.Major, now.Minor); err == nil && block.Name != disk {
			return nil
		}
	}
	if err := h.partition(d, disk, name, true); err != nil {
		return err
	}
	return h.look(d, disk)
}

// partition plans one partition of the disk that d records. One that is there as
// it is recorded is made sure of after an event.
func (h *Hotplug) partition(d Device, disk, name string, event bool) error {
	now, err := d.Partition(disk, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil
	path := d.PathInContainer + strings.TrimPrefix(name, disk)
	for _, old := range h.devices.Records() {
		switch ours := old.Parent != "" && old.PathInContainer == path; {
		case ours && !there:
			h.devices.Remove(old)
			return nil
		case ours:
			now.CgroupPermissions = old.CgroupPermissions
			if now != old || event {
				h.devices.Update(old, now)
			}
			return nil
		case old.PathInContainer == path || there && old.PathOnHost == now.PathOnHost:
			return nil // added by hand, elsewhere
		}
	}
	if there {
		h.devices.Add(now)
	}
	return nil
}

// look plans that the disk's present partitions have been seen.
func (h *Hotplug) look(d Device, disk string) error {
	names, err := partitions(disk)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], disk)
	}
	now := Seen{d.PathInContainer, strings.Join(names, " ")}
	list := h.seen.Records()
	switch i := slices.IndexFunc(list, func(s Seen) bool { return s.Path == now.Path }); {
	case i < 0:
		h.seen.Add(now)
	case list[i] != now:
		h.seen.Update(list[i], now)
	}
	return nil
}

// Look plans for these disks what happened since somebody last looked: the
// partitions that came are added, those that went are removed.
func (h *Hotplug) Look(disks []Disk) error {
	for _, s := range h.seen.Records() {
		if !slices.ContainsFunc(disks, func(d Disk) bool { return d.Path == s.Path }) {
			h.seen.Remove(s)
		}
	}
	for _, disk := range disks {
		if d, ok := h.disk(disk.Path); ok {
			if err := h.follow(d, disk.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow plans that the partitions of the disk that d records, by the kernel's
// name, are what they are now: those recorded, and those that nobody has seen.
func (h *Hotplug) follow(d Device, disk string) error {
	var names []string
	for _, p := range h.devices.Records() {
		if suffix, ok := strings.CutPrefix(p.PathInContainer, d.PathInContainer); ok && p.Parent != "" && strings.HasSuffix(p.PathOnHost, suffix) {
			names = append(names, disk+suffix)
		}
	}
	for _, s := range h.seen.Records() {
		if s.Path != d.PathInContainer {
			continue
		}
		there, err := partitions(disk)
		if err != nil {
			return err
		}
		for _, name := range there {
			if !slices.Contains(names, name) && !slices.Contains(strings.Fields(s.Partitions), strings.TrimPrefix(name, disk)) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if err := h.partition(d, disk, name, false); err != nil {
			return err
		}
	}
	return h.look(d, disk)
}

// partitions lists the kernel names of a disk's partitions.
func partitions(disk string) ([]string, error) {
	return Block{sysfs: filepath.Join("/sys/class/block", strings.ReplaceAll(disk, "/", "!"))}.Partitions()
}

// Disk plans that the disk at path in the container is what it is now. One that
// came back, under other numbers or another name, is given to the container as
// before, with its limits; one that is gone is taken from the running container
// t, but stays recorded.
func (h *Hotplug) Disk(ctx context.Context, t *resource.Target, path string) error {
	d, ok := h.disk(path)
	if !ok {
		return nil
	}
	now, _, err := resolve(d)
	if err == nil {
		_, err = FindBlock(now.Major, now.Minor)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return h.unplug(ctx, t, d)
	}
	if err != nil {
		return err
	}
	back := h.devices.Update(d, now)
	for _, edit := range h.limits {
		for _, l := range edit.Records() {
			if l.Major == d.Major && l.Minor == d.Minor {
				renewed := l
				renewed.Major, renewed.Minor = now.Major, now.Minor
				edit.Update(l, renewed).Needs = back
			}
		}
	}
	block, err := FindBlock(now.Major, now.Minor)
	if err != nil {
		return err
	}
	return h.follow(now, block.Name)
}

// unplug takes a disk that is gone from the running container: its numbers may
// become another disk's.
func (h *Hotplug) unplug(ctx context.Context, t *resource.Target, d Device) error {
	if t == nil {
		return nil
	}
	if err := Kind.Remove(ctx, t, d); err != nil {
		return err
	}
	rest := slices.DeleteFunc(h.devices.Records(), func(o Device) bool { return o == d })
	return Kind.Settle(ctx, t, rest, []Device{d})
}
