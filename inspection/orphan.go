package inspection

import (
	"encoding/json"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/network"
)

// Orphan is what the host has of a container that is gone.
type Orphan struct {
	ID     string   `json:"id"`
	Bundle string   `json:"bundle,omitempty"`
	Left   []string `json:"left"` // of what: "netns pin", ...
}

// startTimeout is more than a start may take: what is younger may be of one that goes on.
const startTimeout = 30 * time.Second

// Orphans are the containers of which something is left, which none of the known ones is and
// of which no process lives. The error says what could not be read: nobody knows then.
func Orphans(known []container.Container) (list []Orphan, err error) {
	found := map[string]*Orphan{}
	alive := map[string]bool{}
	for _, c := range known {
		alive[c.ID], alive[place.Short(c.ID)] = true, true
	}
	note := func(id, what string) {
		if found[id] == nil {
			found[id] = &Orphan{ID: id}
		}
		if !slices.Contains(found[id].Left, what) {
			found[id].Left = append(found[id].Left, what)
		}
	}
	err = ledger.All(func(id string, s ledger.Start, _ []ledger.Grant) {
		note(id, "ledger")
		found[id].Bundle = s.Bundle
		alive[id] = alive[id] || s.Init.Lives()
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range []struct{ path, what string }{
		{place.Isulad.Starts(), "start record"},
		{place.Syscontainer.Starts(), "start record"},
		{place.Isulad.NetNS(), "netns pin"},
		{place.Syscontainer.NetNS(), "netns pin"},
		{place.Master, "shared path"},
		{place.Midpath, "staging mounts"},
	} {
		entries, _ := os.ReadDir(dir.path) // none is there, mostly
		for _, e := range entries {
			id := e.Name()
			if strings.HasPrefix(id, ".") || !container.ValidID(id) { // a ledger, or what is being written
				continue
			}
			// A start makes the shared path before it notes anything.
			if info, err := e.Info(); found[id] == nil && err == nil && time.Since(info.ModTime()) < startTimeout {
				alive[id] = true
			}
			note(id, dir.what)
		}
	}
	for _, g := range place.Generations {
		words, _ := devices.RuleOwners(g)
		for _, w := range words {
			if id := fullID(found, w); id != "" {
				note(id, "udev rules")
			} else if !alive[w] {
				note(w, "udev rules")
			}
		}
	}
	for id, o := range found {
		s, err := container.ReadStart(id)
		if alive[id] || alive[place.Short(id)] || err == nil && s.Init.Lives() {
			continue
		}
		if o.Bundle == "" {
			o.Bundle = s.Bundle
		}
		list = append(list, *o)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, nil
}

// OrphanLinks are the host's links that are marked as lent to a container, and are back. A
// container may give the one that it has such a mark, too: what another one is said to have
// been called by its grant is left alone.
func OrphanLinks() ([]network.Marked, error) {
	links, err := network.MarkedLinks()
	if len(links) == 0 || err != nil {
		return nil, err
	}
	lent := map[string]bool{}
	err = ledger.All(func(_ string, _ ledger.Start, grants []ledger.Grant) {
		for _, g := range grants {
			var n network.NIC
			if g.Kind == network.Interfaces.Name && json.Unmarshal(g.Record, &n) == nil {
				lent[n.HostName] = true
			}
		}
	})
	return slices.DeleteFunc(links, func(m network.Marked) bool { return lent[m.Was] }), err
}

// fullID is the id that a word of a udev rule stands for.
func fullID(found map[string]*Orphan, word string) string {
	for id := range found {
		if container.WordMeans(word, id) {
			return id
		}
	}
	return ""
}
