package inspection

import (
	"context"
	"fmt"
	"strings"

	"isula.org/isulad-tools/container"
)

// State is how something of the host is.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn"
	Bad  State = "bad"
)

// Fact is what a look at one thing of the host came to.
type Fact struct {
	State State  `json:"state"`
	What  string `json:"what"`
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"` // the command that mends it, or what to do
}

func (f Fact) String() string {
	s := fmt.Sprintf("%-4s  %s: %s", f.State, f.What, f.Text)
	if f.Mend != "" {
		s += "; mend it: " + f.Mend
	}
	return s
}

// Host is what a doctor looks at.
type Host struct {
	Containers []container.Container // all that engines know
	Unlisted   error                 // why these are not all
}

// Examine looks at the host. It changes nothing, and executes isulad for its version only.
func (h Host) Examine(ctx context.Context) (facts []Fact) {
	for _, look := range []func(context.Context) []Fact{
		h.hookSpecs, h.policy, h.udev, h.kernel, h.cgroups, h.systemd, h.modprobe, h.isulad, h.sharedPath, h.leftovers,
	} {
		facts = append(facts, look(ctx)...)
	}
	return facts
}

func (h Host) leftovers(context.Context) []Fact {
	if h.Unlisted != nil {
		return []Fact{{Warn, "leftovers", "unknown, because not all containers can be found: " + h.Unlisted.Error(), ""}}
	}
	orphans, err := Orphans(h.Containers)
	if err != nil {
		return []Fact{{Warn, "leftovers", "not all that containers were granted can be read, so nobody knows: " + err.Error(), ""}}
	}
	links, err := OrphanLinks()
	if err != nil {
		return []Fact{{Warn, "leftovers", err.Error(), ""}}
	}
	if len(orphans)+len(links) == 0 {
		return []Fact{{OK, "leftovers", "none of containers that are gone", ""}}
	}
	var facts []Fact
	for _, l := range links {
		facts = append(facts, Fact{Warn, "leftovers", fmt.Sprintf("link %s was lent to a container that is gone, and was called %s", l.Name, l.Was), "isulad-tools repair --orphans"})
	}
	for _, o := range orphans {
		facts = append(facts, Fact{Warn, "leftovers", fmt.Sprintf("container %s is gone, and left: %s", o.ID, strings.Join(o.Left, ", ")), "isulad-tools repair --orphans"})
	}
	return facts
}
