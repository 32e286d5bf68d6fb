// Package inspection looks at a container: what is recorded for it, what its start was
// granted, and what the kernel has, each beside the others, and plans how to make them one
// again. It knows every kind of resource, and nothing of how to tell a person. Looking
// changes nothing.
package inspection

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// Schema is the version of a Report's form as JSON. Fields may be added to one version.
const Schema = 1

// Subject is the container that is looked at.
type Subject struct {
	Name, ID, Bundle string // Name as it was typed
	Engine           string // who knows it
	Generation       place.Generation
	Doc              *config.Document // nil: Broken says why
	Broken           error
	Spec             *container.Spec
	// Start is how it runs; without cgroups, it was started without our hook.
	Start  container.Start
	Target *resource.Target // nil: it does not run

	// Reload says, after a repair, that udevd must be told of rules when the container's lock
	// is gone.
	Reload bool
}

// repairLockWait bounds how long a repair waits for the lock of udev's rules.
const repairLockWait = 10 * time.Second

// hasOurHook tells whether the container runs, and was started with our hook.
func (s *Subject) hasOurHook() bool { return s.Target != nil && s.Start.Cgroups != nil }

// Report is what was found out about a container.
type Report struct {
	Schema        int     `json:"schema"`
	Name          string  `json:"name"`
	ID            string  `json:"id"`
	Engine        string  `json:"engine,omitempty"`
	Runtime       string  `json:"runtime,omitempty"` // in iSulad's path of the bundle
	PID           int     `json:"pid,omitempty"`     // 0: it does not run
	Bundle        string  `json:"bundle"`
	Cgroup        *Cgroup `json:"cgroup,omitempty"`
	UserNamespace bool    `json:"userNamespace"`
	Hook          bool    `json:"hook"` // it runs, and was started with our hook
	HookVersion   string  `json:"hookVersion,omitempty"`
	Kinds         []Kind  `json:"kinds"`
}

// Cgroup is where the container's devices are controlled.
type Cgroup struct {
	Version int    `json:"version"`
	Path    string `json:"path"`
}

// Kind is what there is of one kind of resource.
type Kind struct {
	Name      string          `json:"kind"`
	Resources []resource.View `json:"resources"`
}

// Finding is a difference, and of what.
type Finding struct {
	Container string `json:"container"`
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	resource.Difference
}

func (f Finding) String() string {
	mends := "repair mends it"
	if !f.Mends {
		mends = "repair does not mend it"
	}
	return fmt.Sprintf("%s: %s %s: %s: %s (%s)", f.Container, f.Kind, f.Name, f.What, f.Why, mends)
}

// Findings are the differences in the report.
func (r Report) Findings() (list []Finding) {
	for _, k := range r.Kinds {
		for _, v := range k.Resources {
			for _, d := range v.Differences {
				list = append(list, Finding{r.Name, r.ID, k.Name, v.Name, d})
			}
		}
	}
	return list
}

// kind is one kind of resource.
type kind interface {
	name() string
	// look returns what there is of it.
	look(*Subject) ([]resource.View, error)
	// plan plans what mends the differences in views that can be mended.
	plan(s *Subject, c *resource.Change, views []resource.View) error
}

// Look looks at everything. The error says of which kinds it could not; the report has the
// others.
func Look(s *Subject) (Report, error) {
	r := Report{Schema: Schema, Name: s.Name, ID: s.ID, Bundle: s.Bundle, Engine: s.Engine, Runtime: container.EngineOf(s.Bundle), UserNamespace: s.Spec.UserNS(), Kinds: []Kind{}}
	if s.Target != nil {
		r.PID, r.Hook, r.HookVersion, r.Cgroup = s.Target.Init.PID, s.Start.Cgroups != nil, s.Start.Hook, cgroupOf(s.Target)
	}
	if s.Doc == nil {
		v := resource.View{Name: filepath.Join(s.Bundle, config.Name)}
		v.DifferForGood("record broken", "%v", s.Broken)
		r.Kinds = append(r.Kinds, Kind{"record", []resource.View{v}})
		return r, nil
	}
	var errs []error
	for _, k := range kinds() {
		views, err := k.look(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("look at each %s of container %s: %w", k.name(), s.Name, err))
		}
		if len(views) > 0 {
			r.Kinds = append(r.Kinds, Kind{k.name(), views})
		}
	}
	if s.Target != nil && s.Target.Doubt != nil {
		v := resource.View{Name: "ledger"}
		v.DifferForGood("ledger broken", "%v", s.Target.Doubt)
		r.Kinds = append(r.Kinds, Kind{"record", []resource.View{v}})
	}
	return r, errors.Join(errs...)
}

func cgroupOf(t *resource.Target) *Cgroup {
	if dir, err := t.Cgroups.V1("devices"); err == nil {
		return &Cgroup{1, dir}
	} else if !errors.Is(err, cgroup.ErrNoV1) {
		return nil
	}
	if dir, err := t.Cgroups.V2(); err == nil {
		return &Cgroup{2, dir}
	}
	return nil
}

// Repair plans what mends the differences of a report about s, as far as they can be.
func Repair(s *Subject, r Report, c *resource.Change) error {
	if s.Target == nil {
		return nil // its next start makes everything anew
	}
	for _, k := range kinds() {
		for _, found := range r.Kinds {
			if found.Name != k.name() {
				continue
			}
			if err := k.plan(s, c, repairable(found.Resources)); err != nil {
				return err
			}
		}
	}
	return nil
}

func repairable(views []resource.View) (list []resource.View) {
	for _, v := range views {
		if v.IsRepairable() {
			list = append(list, v)
		}
	}
	return list
}
