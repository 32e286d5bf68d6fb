package inspection

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// Holder is a container that has, or is to have, something of the host's.
type Holder struct {
	Container string `json:"container"`
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Record    string `json:"record"`
	Recorded  bool   `json:"recorded"`
	Granted   bool   `json:"granted"` // it was, by its present or last start
}

func (h Holder) String() string {
	how := "recorded"
	switch {
	case h.Recorded && h.Granted:
		how = "recorded and granted"
	case h.Granted:
		how = "granted, not recorded"
	}
	return fmt.Sprintf("%s: %s %s (%s)", h.Container, h.Kind, h.Record, how)
}

// HostResource is something of the host's for which holders are looked for.
type HostResource struct {
	word   string
	paths  []string        // it is one: as it was given, and where links lead
	device *devices.Device // it is a node
	wait   *deadline.Waiter
}

// ParseHostResource returns what a word stands for: a path, when it has a slash in it, else a link or a
// bridge.
func ParseHostResource(word string) (*HostResource, error) {
	t := &HostResource{word: word, wait: deadline.NewWaiter(context.Background())}
	if !strings.Contains(word, "/") {
		return t, nil
	}
	path, err := filepath.Abs(word)
	if err != nil {
		return nil, err
	}
	t.paths = t.all(path)
	d, err := deadline.Get(t.wait, "this host", path, func() (devices.Device, error) { return devices.FromNode(path) })
	if err == nil {
		t.device = &d
	}
	return t, nil
}

// all are a path and, where there is one, the one that its links lead to.
func (t *HostResource) all(path string) []string {
	list := []string{filepath.Clean(path)}
	real, err := deadline.Get(t.wait, "this host", path, func() (string, error) { return filepath.EvalSymlinks(path) })
	if err == nil && real != list[0] {
		list = append(list, real)
	}
	return list
}

// isDevice tells whether a record is of the thing, or of one below the folder that it is. The
// number of a device that is gone may be another's.
func (t *HostResource) isDevice(d devices.Device) bool {
	now, gone := d.Current()
	return t.device != nil && !gone && t.device.Same(now) || slices.ContainsFunc(t.paths, func(p string) bool { return place.Within(filepath.Clean(d.PathOnHost), p) })
}

// isPath tells whether a record is of the thing, or of what is above it or below it.
func (t *HostResource) isPath(b mounts.Bind) bool {
	if t.paths == nil {
		return false
	}
	for _, host := range t.all(b.Host) {
		if slices.ContainsFunc(t.paths, func(p string) bool { return place.Within(host, p) || place.Within(p, host) }) {
			return true
		}
	}
	return false
}

func (t *HostResource) isLink(n network.NIC) bool {
	return t.paths == nil && (n.HostName == t.word || n.Bridge == t.word)
}

// Granted are the grants of all containers, by id.
type Granted map[string][]ledger.Grant

// AllGranted reads them; with an error, as far as they can be read.
func AllGranted() (Granted, error) {
	all := Granted{}
	return all, ledger.All(func(id string, _ ledger.Start, grants []ledger.Grant) { all[id] = grants })
}

// HeldBy returns how a container holds the thing. The error is of its records; its grants are
// there all the same.
func (t *HostResource) HeldBy(c container.Container, name string, granted Granted) ([]Holder, error) {
	doc, err := config.Load(c.Dir)
	if err != nil {
		doc = nil
	}
	found := []Holder{}
	found, errs := holders(found, doc, granted[c.ID], &devices.Kind, t.isDevice)
	found, more := holders(found, doc, granted[c.ID], &mounts.Kind, t.isPath)
	found, last := holders(found, doc, granted[c.ID], &network.Interfaces, t.isLink)
	for i := range found {
		found[i].Container, found[i].ID = name, c.ID
	}
	return found, cmp.Or(err, errs, more, last)
}

// holders appends the records, and the grants, of one kind that are of the thing.
func holders[T resource.Record](found []Holder, doc *config.Document, granted []ledger.Grant, k *resource.Kind[T], is func(T) bool) ([]Holder, error) {
	var list []T
	var err error
	if doc != nil {
		list, err = config.List[T](doc, k.Key)
	}
	known := asGranted(k, list)
	has := make([]bool, len(known))
	for _, g := range granted {
		var r T
		if g.Kind != k.Name || json.Unmarshal(g.Record, &r) != nil || !is(r) {
			continue
		}
		if i := slices.Index(known, r); i >= 0 {
			has[i] = true
		} else {
			found = append(found, Holder{Kind: k.Name, Record: r.String(), Granted: true})
		}
	}
	for i, r := range list {
		if is(r) {
			now, _, err := k.Resolve(r)
			renewed := slices.Index(known, now)
			found = append(found, Holder{Kind: k.Name, Record: r.String(), Recorded: true, Granted: has[i] || err == nil && renewed >= 0 && has[renewed]})
		}
	}
	return found, err
}
