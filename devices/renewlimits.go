package devices

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/resource"
)

// renewLimits plans the limits of the disk d, which is now. One that was set by a
// path that may be another disk's by now gets the path by which d is known.
func (h *Hotplug) renewLimits(d, now Device, needs *resource.Task) {
	if now.Type != "b" {
		return
	}
	disk, err := wholeDisk(now.Major, now.Minor)
	if err != nil { // gone meanwhile
		return
	}
	h.eachLimit(d, func(edit *resource.Edit[Limit], l Limit) {
		renewed := l
		renewed.Major, renewed.Minor = disk.Major, disk.Minor
		switch {
		case now.isNamed() && !d.Same(now), filepath.Clean(l.Path) == d.PathOnHost && d.Select == "":
			renewed = renewed.named(now)
		case d.Select != "":
			renewed.Path = now.PathOnHost
		}
		edit.Update(l, renewed).Needs = needs
	})
}

// named is l by the path by which d is known.
func (l Limit) named(d Device) Limit {
	if filepath.Clean(l.Path) != d.PathOnHost {
		l.Path = d.PathOnHost
	}
	l.Identity = d.bound()
	return l
}

// nameLimits plans that the limits of d, which is away, are recorded by the path by which d is
// known: another disk has its other names and its numbers.
func (h *Hotplug) nameLimits(d Device) {
	if !d.isNamed() {
		return
	}
	h.eachLimit(d, func(edit *resource.Edit[Limit], l Limit) {
		if named := l.named(d); named != l {
			edit.RecordOnly(named, l)
		}
	})
}

// eachLimit calls f with each limit that is recorded of d itself.
func (h *Hotplug) eachLimit(d Device, f func(*resource.Edit[Limit], Limit)) {
	for _, edit := range h.limits {
		for _, l := range edit.Records() {
			if h.targets == nil {
				h.targets = h.Host.LimitTargets(h.before)
			}
			is := filepath.Clean(l.Path) == d.PathOnHost
			for _, o := range h.targets.ownersOf(l) {
				is = is || o.Device == d
			}
			if is {
				f(edit, l)
			}
		}
	}
}

// RenewLimits puts into the document d what a start needs to find the limits of
// disks that are known by what they are: the numbers of before are in it only until
// the devices are renewed.
func RenewLimits(d *config.Document) error {
	list, err := config.List[Device](d, config.Devices)
	if err != nil || !slices.ContainsFunc(list, func(d Device) bool { return d.IsLinked() || d.Identity != "" }) {
		return err
	}
	h, err := PlanHotplug(d)
	if err != nil {
		return err
	}
	h.Host = new(Host)
	for _, d := range list {
		switch now, _, err := h.Host.resolve(d); {
		case err == nil && now.isNamed() && !d.Same(now):
			h.renewLimits(d, now, nil)
		case err == nil && d.Identity != "", errors.Is(err, fs.ErrNotExist):
			h.nameLimits(d)
		}
	}
	return h.Change.Record()
}
