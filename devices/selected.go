package devices

import (
	"cmp"
	"fmt"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/resource"
)

// Select plans that the container has what s means, from now on, or why it cannot.
func (h *Hotplug) Select(s Selector) (*resource.Task, error) {
	if i := slices.IndexFunc(h.selectors.Records(), s.Overlaps); i >= 0 {
		return h.selectors.Fail("add", s, fmt.Errorf("device selector %s has been already added into container", h.selectors.Records()[i])), nil
	}
	all, err := usbNodes()
	if err != nil {
		return nil, err
	}
	if _, err := s.named(s.of(all), nil); err != nil {
		return h.selectors.Fail("add", s, err), nil
	}
	h.adding = s
	task := h.selectors.Add(s)
	return task, h.selected(false)
}

// Selectors are the selectors as they will be, should all that is planned succeed.
func (h *Hotplug) Selectors() []Selector { return h.selectors.Records() }

// Unselect plans that a selector is no more; its devices are the caller's.
func (h *Hotplug) Unselect(s Selector) *resource.Task { return h.selectors.Remove(s) }

// selected plans that the container has the nodes of the USB devices that its selectors
// mean now. One that is away keeps its place until its USB device is back, or another
// needs the place. unsure: nobody knows what the container was given.
func (h *Hotplug) selected(unsure bool) error {
	if len(h.selectors.Records()) == 0 {
		return nil
	}
	there, err := h.meant()
	if err != nil {
		return err
	}
	type pair struct{ old, now Device }
	var stay []pair
	var stale []Device
	for _, r := range h.devices.Records() {
		if r.Select == "" {
			continue
		}
		i := slices.IndexFunc(there, func(d Device) bool { return d.Select == r.Select && d.PathInContainer == r.PathInContainer })
		if i < 0 {
			stale = append(stale, r)
			continue
		}
		stay = append(stay, pair{r, r.atPathsOf(there[i])})
		there = slices.Delete(there, i, i+1)
	}
	for _, r := range stale {
		switch {
		case slices.ContainsFunc(there, func(d Device) bool { return d.Select == r.Select || d.PathInContainer == r.PathInContainer }):
			h.devices.Remove(r)
		case h.Has == nil || h.Has(r):
			h.devices.Withdraw(r)
		}
	}
	for _, p := range stay {
		if !slices.Contains(h.before, p.old) {
			continue // it is planned already
		}
		if p.old != p.now || unsure && h.Has == nil || h.Has != nil && !h.Has(p.old) {
			h.replug(p.old, p.now)
		}
	}
	for _, d := range there {
		h.addSelected(d)
	}
	return nil
}

// meant are records of what the selectors mean now.
func (h *Hotplug) meant() (there []Device, err error) {
	all, err := usbNodes()
	if err != nil {
		return nil, err
	}
	for _, s := range h.selectors.Records() {
		list, err := s.named(s.of(all), h.devices.Records())
		if err == nil && len(list) > MaxInFolder {
			list, err = list[:MaxInFolder], fmt.Errorf("%s has %d nodes: the container is given %d of them", s.Host, len(list), MaxInFolder)
		}
		if err != nil && (h.adding == Selector{} || h.adding == s) { // who adds one is not told of others
			h.selectors.Fail("add", s, err)
		}
		there = append(there, list...)
	}
	return there, nil
}

// addSelected plans a node more, unless the container has it by a record of its own.
func (h *Hotplug) addSelected(d Device) {
	for _, r := range h.devices.Records() {
		switch {
		case r.Select == "" && r.PathOnHost == d.PathOnHost:
			return
		case r.PathInContainer == d.PathInContainer:
			h.devices.Fail("add", d, fmt.Errorf("%s in the container is another device's, %s", d.PathInContainer, r.PathOnHost))
			return
		}
	}
	var err error
	if h.Check != nil {
		err = h.Check(d.PathOnHost)
	}
	if err == nil && h.Hides != nil {
		err = h.Hides(d)
	}
	if err != nil {
		h.devices.Fail("add", d, err)
		return
	}
	h.devices.Add(d)
}

// WithSelectors adds to the devices of the document d a record without a node for each
// selector that none of them is there by.
func WithSelectors(d *config.Document, list []Device) ([]Device, error) {
	selectors, err := config.List[Selector](d, config.Selectors)
	for _, s := range selectors {
		if !slices.ContainsFunc(list, func(d Device) bool { return d.Select == s.Host }) {
			list = append(list, Device{PathInContainer: s.Container, CgroupPermissions: cmp.Or(s.Options, "rwm"), Optional: true, Select: s.Host})
		}
	}
	return list, err
}

// isSelector tells whether an event at path is of a selector's devices.
func (h *Hotplug) isSelector(path string) bool {
	return slices.ContainsFunc(h.selectors.Records(), func(s Selector) bool { return s.Host == path })
}
