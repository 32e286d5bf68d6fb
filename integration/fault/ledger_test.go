//go:build linux && amd64

package fault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
)

// grants are the records that the ledger of the container has open grants for.
type grants struct {
	devices []devices.Device
	paths   []mounts.Bind
	nics    []network.NIC
}

func (w *world) ledger() (g grants) {
	w.t.Helper()
	l, err := ledger.Open(place.Isulad, id, ledger.Start{})
	must(w.t, err)
	defer l.Close()
	for _, kind := range []struct {
		name string
		to   func(record json.RawMessage) error
	}{
		{devices.Kind.Name, func(r json.RawMessage) error { return another(&g.devices, r) }},
		{mounts.Kind.Name, func(r json.RawMessage) error { return another(&g.paths, r) }},
		{network.Interfaces.Name, func(r json.RawMessage) error { return another(&g.nics, r) }},
	} {
		for _, grant := range slices.Concat(l.Grants(kind.name, false), l.Grants(kind.name, true)) {
			must(w.t, kind.to(grant.Record))
		}
	}
	return g
}

func another[T any](list *[]T, record json.RawMessage) error {
	var r T
	err := json.Unmarshal(record, &r)
	*list = append(*list, r)
	return err
}

// has tells whether a fact of the container, or of the host, is of an open grant.
func (g grants) has(fact string) bool {
	what, rest, _ := strings.Cut(fact, " ")
	is := func(name string) bool { return rest == name || strings.HasPrefix(rest, name+" ") }
	switch {
	case what == "rule":
		ofRunc := slices.ContainsFunc(cgroup.RuncRules(nil, nil), func(r cgroup.DeviceRule) bool { // it stays
			return r.Allow && is(fmt.Sprintf("%s %d:%d", r.Type, r.Major, r.Minor))
		})
		return ofRunc || slices.ContainsFunc(g.devices, func(d devices.Device) bool { return is(fmt.Sprintf("%s %d:%d", d.Type, d.Major, d.Minor)) })
	case what == "mount":
		return slices.ContainsFunc(g.paths, func(b mounts.Bind) bool { return is(b.Container) || strings.HasPrefix(rest, b.Container+"/") })
	default:
		return slices.ContainsFunc(g.nics, func(n network.NIC) bool { return is("link "+n.Name) || is("+ link "+n.HostName) })
	}
}

// unnoted lists what the running container was granted of which the ledger knows
// nothing: nobody would take that away. It may know of more, never of less.
func (w *world) unnoted() (lines []string) {
	w.t.Helper()
	open := w.ledger()
	for fact := range w.snapshot() {
		_, before := w.bare[fact]
		granted := strings.HasPrefix(fact, "rule ") || strings.HasPrefix(fact, "inside link ") || strings.HasPrefix(fact, "host + link "+pairs) ||
			strings.HasPrefix(fact, "mount ") && !strings.HasPrefix(fact, "mount /.sharedpath ") && !strings.HasPrefix(fact, "mount /.sharedpath/")
		if granted && !before && !open.has(fact) {
			lines = append(lines, "granted without an entry in the ledger: "+fact)
		}
	}
	slices.Sort(lines)
	return lines
}
