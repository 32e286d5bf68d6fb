package devices

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"strings"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/resource"
)

// Hotplug is what becomes of a container's devices when those of the host come and go.
// What is planned depends on what the host has when it is planned, not on what an event
// said: events come late, and overtake each other.
type Hotplug struct {
	Change *resource.Change
	// Has, when there is one, tells what the running container was given.
	Has func(Device) bool
	// Check, when there is one, refuses a host path at which a container chooses what
	// device is there.
	Check func(path string) error
	// Host, when there is one, is the host as it is looked at for all that is done.
	Host *Host
	// Given leaves what the container lacks: it may be recorded for the next start only, and of
	// what comes an event tells.
	Given bool
	// Hides, when there is one, refuses a device that the container could not see.
	Hides func(Device) error

	doc       *config.Document
	devices   *resource.Edit[Device]
	selectors *resource.Edit[Selector]
	adding    Selector
	before    []Device
	limits    []*resource.Edit[Limit]
	targets   LimitTargets // of before
	looks     []diskScan
}

// PlanHotplug returns a plan with nothing in it, for the records in d. The caller
// holds the container's lock.
func PlanHotplug(d *config.Document) (*Hotplug, error) {
	c := resource.NewChange(d, resource.Skip)
	edit, err := Kind.Edit(c)
	if err != nil {
		return nil, err
	}
	return PlanHotplugIn(c, d, edit)
}

// PlanHotplugIn is PlanHotplug as a part of a change of the records in d, by which its
// devices are edited.
func PlanHotplugIn(c *resource.Change, d *config.Document, edit *resource.Edit[Device]) (*Hotplug, error) {
	h := &Hotplug{Change: c, doc: d, devices: edit, before: edit.Records()}
	var err error
	if h.selectors, err = Selectors.Edit(h.Change); err != nil {
		return nil, err
	}
	for _, kind := range LimitKinds() {
		edit, err := kind.Edit(h.Change)
		if err != nil {
			return nil, err
		}
		h.limits = append(h.limits, edit)
	}
	return h, nil
}

// Event plans to refresh the device at path in the container, and a disk's partitions.
// name is the kernel name in the event: that device is applied again even if its record
// has not changed. Events for unrecorded devices are ignored.
// For the devices of a selector, path is the selector.
func (h *Hotplug) Event(path, name string) error {
	if h.isSelector(path) {
		return h.selected(true)
	}
	list := h.devices.Records()
	i := slices.IndexFunc(list, func(d Device) bool { return d.PathInContainer == path && d.Select == "" })
	if i < 0 {
		return nil
	}
	f := h.look(list[i])
	switch {
	case list[i].Parent != "" && isOfDisk(i, new(Host).Look(list)): // it goes by the disk's event
		return nil
	case !f.isDisk:
		h.renew(f)
		return nil
	case f.away:
		h.unplug(list[i])
		return nil
	}
	return h.disk(f, name)
}

// disk plans that a disk, as it was found, and its partitions are what they are now.
func (h *Hotplug) disk(f found, name string) error {
	if f.err != nil {
		return f.err
	}
	back := name == f.block.Name
	if !back && h.cameBack(f) {
		return nil // ours has gone, and its own event is on its way
	}
	there, err := f.now.partitions(f.block)
	if err != nil {
		return err
	}
	back = back && !h.isOnlyWritten(f)
	var task *resource.Task
	if back || !f.isSame() {
		task = h.replug(f.Device, f.now)
	}
	h.syncManualPartitions(f.now, f.block, func(p Block) bool { return back || p.Name == name })
	h.syncPartitions(f.now, f.block, name, there, task != nil || !h.lacks(f.Device))
	if task != nil {
		h.looks[len(h.looks)-1].disk = task
	}
	return nil
}

// isOnlyWritten tells whether the container has the disk as it is: the event is a change, one
// of which follows each closing of a disk that was written. Nothing is lost when d was given another
// file meanwhile: it keeps its number, and partitions are looked at.
func (h *Hotplug) isOnlyWritten(f found) bool {
	return f.IsLinked() && f.isExchanged() && f.isSame() && h.Has != nil && !h.lacks(f.Device) && !h.cameBack(f)
}

// Followed returns the devices that are to be followed afterwards; see Follow.
func (h *Hotplug) Followed() ([]Followed, error) {
	return followAll(h.doc, h.devices.Records(), nil, h.selectors.Records())
}

// Record puts what is planned into the document: a start makes it real.
func (h *Hotplug) Record() error {
	if err := h.Change.Record(); err != nil {
		return err
	}
	return h.saveSnapshots()
}

// Do does what is planned, in the running container t or, where that is nil, to
// the file only, and saves it.
func (h *Hotplug) Do(ctx context.Context, t *resource.Target) error {
	if err := h.Change.Do(ctx, t); err != nil {
		return err
	}
	if err := h.saveSnapshots(); err != nil {
		return err
	}
	return h.doc.Save()
}

// Failed says what could not be done. Limits that the disk's scheduler does not
// have are no failure.
func (h *Hotplug) Failed() error {
	var errs []error
	for _, t := range h.Change.Tasks {
		if t.Err != nil && !errors.Is(t.Err, resource.ErrNotTried) && !errors.Is(t.Err, ErrNoWeights) {
			errs = append(errs, fmt.Errorf("%s %s %s: %w", t.Verb, t.Kind, t.Record, t.Err))
		}
	}
	return errors.Join(errs...)
}

// unplug plans what the container loses with a disk: its numbers, and those of
// its partitions, may become another's. The disk stays recorded.
func (h *Hotplug) unplug(d Device) {
	h.devices.Withdraw(d)
	h.nameLimits(d)
	for _, r := range h.devices.Records() {
		if _, ours := partitionOf(d, r); r.Parent != "" && r.Select == "" && !ours && r.Type == "b" && !r.isStacked() {
			if h.look(r).away {
				h.devices.Withdraw(r)
			}
		}
	}
	h.removePartitions(d)
	// Forget which partitions were seen: when the disk returns, all its partitions are added.
	h.looks = append(h.looks, diskScan{seen: PartitionSnapshot{d.PathInContainer, "", d.withdrawn()}})
}

// removePartitions plans that the partitions of a disk go, which is away: by their
// names, which are the kernel's, they would be those of another one.
func (h *Hotplug) removePartitions(d Device) {
	for _, r := range h.devices.Records() {
		if _, ours := partitionOf(d, r); ours {
			h.devices.Remove(r)
		}
	}
}

// replug plans that the disk d, which is there, is what now says, with its
// limits: those went with it.
func (h *Hotplug) replug(d, now Device) *resource.Task {
	task := h.devices.Update(d, now)
	h.renewLimits(d, now, task)
	return task
}

// partitions are those that the disk d, which block is, has now, by suffix.
func (d Device) partitions(block Block) (map[string]Device, error) {
	names, err := block.Partitions()
	if err != nil {
		return nil, err
	}
	there := map[string]Device{}
	for _, n := range names {
		switch p, err := d.partition(block, n); {
		case err == nil:
			there[strings.TrimPrefix(n, block.Name)] = p
		case !errors.Is(err, fs.ErrNotExist): // gone meanwhile
			return nil, err
		}
	}
	return there, nil
}

// syncPartitions plans to refresh the partitions of the disk d, which are there now: those that the
// container has, those that are new, and the one of this name. has: the container has d, or gets
// it. Without, it gets no partition but what an event tells of.
func (h *Hotplug) syncPartitions(d Device, block Block, name string, there map[string]Device, has bool) {
	recorded := map[string]bool{}
	for _, old := range h.devices.Records() {
		suffix, ours := partitionOf(d, old)
		if !ours {
			continue
		}
		recorded[suffix] = true
		now, ok := there[suffix]
		if !ok {
			h.devices.Remove(old)
			continue
		}
		now = old.atPathsOf(now)
		if old.Parent == "/dev/"+block.Name { // as v0.9 calls it
			now.Parent = old.Parent
		}
		if now != old || block.Name+suffix == name || has && h.lacks(old) {
			h.devices.Update(old, now)
		}
	}
	if has || name != "" {
		h.addNew(d, block, name, there, recorded, has)
	}
}

// addNew plans the partitions that the container does not have yet.
func (h *Hotplug) addNew(d Device, block Block, name string, there map[string]Device, recorded map[string]bool, has bool) {
	seen, known := h.snapshotOf(d)
	l := diskScan{adds: map[string]*resource.Task{}}
	suffixes := slices.Sorted(maps.Keys(there))
	sort.SliceStable(suffixes, func(a, b int) bool { return len(suffixes[a]) < len(suffixes[b]) })
	for _, suffix := range suffixes {
		if recorded[suffix] || block.Name+suffix != name && (!known || seen.has(suffix)) || h.isRecordedOtherwise(there[suffix]) {
			continue
		}
		l.adds[suffix] = h.devices.Add(there[suffix])
	}
	if known || block.Partitionable() {
		l.seen = PartitionSnapshot{d.PathInContainer, strings.Join(suffixes, " "), d.pluggingOf(block)}
		switch {
		case has:
		case known: // nobody has told of d itself yet
			l.seen.Plugged = seen.Plugged
		default:
			l.seen.Plugged = d.withdrawn()
		}
		h.looks = append(h.looks, l)
	}
}

// isRecordedOtherwise tells whether a record that was added by hand has the partition or its path.
func (h *Hotplug) isRecordedOtherwise(p Device) bool {
	return slices.ContainsFunc(h.devices.Records(), func(r Device) bool {
		now, _, err := h.Host.resolve(r)
		return r.PathInContainer == p.PathInContainer || err == nil && now.Type == "b" && now.Major == p.Major && now.Minor == p.Minor
	})
}

// syncManualPartitions plans to refresh the partitions of the disk d that were added under names
// of their own. Their records are never removed. force reports which partitions are
// applied again even if their record has not changed. One that the container lacks it is given
// if it was away at the last look: else nobody has applied its record yet.
func (h *Hotplug) syncManualPartitions(d Device, block Block, force func(Block) bool) {
	seen, _ := h.snapshotOf(d)
	for _, r := range h.devices.Records() {
		if _, ours := partitionOf(d, r); ours || r.Type != "b" || r.Select != "" || !r.goesWith(d, block.Name) {
			continue
		}
		switch f := h.look(r); {
		case f.away || f.block.Name != "" && f.block.Parent() != block.Name:
			h.devices.Withdraw(r)
		case f.block.Name == "" || f.err != nil: // a start says what is wrong with the record
		case f.now != r, force(f.block), h.lacks(r) && !seen.has(strings.TrimPrefix(f.block.Name, block.Name)):
			h.devices.Update(r, f.now)
		}
	}
}

// partitionOf tells whether r records a partition of the disk d, under the
// names that it gets by itself, and returns what the kernel appended to them.
func partitionOf(d, r Device) (suffix string, ours bool) {
	suffix, ok := strings.CutPrefix(r.PathInContainer, d.PathInContainer)
	if !ok || r.Parent == "" || r.Select != "" || r.Type != "b" || !isSuffix(suffix) || !appended(r.PathOnHost, suffix) ||
		!strings.HasPrefix(r.PathOnHost, "/dev/") || r.IsLinked() {
		return suffix, false
	}
	if IsPartition(r.PathOnHost, d.PathOnHost) {
		return suffix, true
	}
	// Of a disk that is given by a link v0.9 recorded the kernel's name of that day as the parent.
	return suffix, (r.Parent == d.PathOnHost || IsPartition(r.PathOnHost, r.Parent)) && !d.isByKernelsName()
}

// TakesForPartition tells whether r, which is no partition of the disk d, would be taken for one
// because of its path in the container: d is given by a link.
func (d Device) TakesForPartition(r Device) bool {
	if _, ours := partitionOf(d, r); !ours || !d.mayBeDisk() || r.Parent == d.PathOnHost {
		return false
	}
	block, err := d.block()
	return errors.Is(err, fs.ErrNotExist) || err == nil && r.Parent != "/dev/"+block.Name
}

// goesWith tells whether the events of a disk, which the kernel calls name while it is there, are
// about d, too, a partition of it. One that is given by a link has events of its own.
func (d Device) goesWith(disk Device, name string) bool {
	if d.Parent == "" || d.isStacked() || !disk.mayBeDisk() {
		return false
	}
	_, ours := partitionOf(disk, d)
	return ours || IsPartition(d.PathOnHost, d.Parent) && (d.Parent == disk.PathOnHost || name != "" && d.Parent == "/dev/"+name)
}

// appended tells whether the kernel made a partition's name of a disk's by
// appending suffix: it puts a p before the number where the disk's name ends with
// a digit. v0.9 took the last character only: its loop4p1 is 1, and so is its sda11.
func appended(name, suffix string) bool {
	disk, ok := strings.CutSuffix(name, suffix)
	digit := func(at int) bool { return at >= 0 && '0' <= disk[at] && disk[at] <= '9' }
	last := len(disk) - 1
	return ok && last >= 0 && digit(last) == strings.HasPrefix(suffix, "p") && !(disk[last] == 'p' && digit(last-1))
}
