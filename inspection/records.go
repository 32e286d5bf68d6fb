package inspection

import (
	"fmt"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// records is a kind whose resources are records of device_hook.json.
type records[T resource.Record] struct {
	kind   *resource.Kind[T]
	repair *resource.Kind[T] // as a repair applies it
	called func(T) string    // what the container calls it
	// reverts: what the container calls the same is one thing, so that a grant which is
	// not recorded cannot be taken away from beside one that is.
	reverts bool
	// gone (optional) tells that the host does not have it: the container loses what it has
	// of it, and it stays recorded.
	gone func(T) bool
	// views looks at the records of a running container, one view each.
	views func(*Subject, []T) ([]resource.View, error)
}

func (k records[T]) name() string { return k.kind.Name }

func (k records[T]) look(s *Subject) (views []resource.View, err error) {
	list, err := config.List[T](s.Doc, k.kind.Key)
	if err == nil && k.kind.Check != nil {
		err = k.kind.Check(list)
	}
	if err != nil {
		v := resource.View{Name: k.kind.Key}
		v.DifferForGood("record broken", "%s: %v", filepath.Join(s.Bundle, config.Name), err)
		return []resource.View{v}, nil
	}
	if s.Target == nil {
		for _, r := range list {
			views = append(views, resource.View{Name: k.called(r), Recorded: r})
		}
		return views, nil
	}
	if len(list) > 0 {
		if views, err = k.views(s, list); err != nil {
			return nil, err
		}
	}
	for _, r := range orphanGrants(k.kind, s.Target, list) {
		v := resource.View{Name: r.String(), Granted: k.kind.Grant(s.Target, r), Grant: r}
		v.Differ("granted, not recorded", "a command that removed or changed it was interrupted")
		views = append(views, v)
	}
	return views, nil
}

// orphanGrants are the grants of no record, whatever number it has now.
func orphanGrants[T resource.Record](k *resource.Kind[T], t *resource.Target, list []T) []T {
	found := k.Stale(t, list)
	if len(found) == 0 {
		return nil // as it mostly is: the host is not asked
	}
	return k.Stale(t, asGranted(k, list))
}

// asGranted are records, and what a start makes of those whose numbers are old.
func asGranted[T resource.Record](k *resource.Kind[T], list []T) []T {
	all := slices.Clone(list)
	for _, r := range list {
		if now, renewed, err := k.Resolve(r); err == nil && renewed {
			all = append(all, now)
		}
	}
	return all
}

func (k records[T]) plan(_ *Subject, c *resource.Change, views []resource.View) error {
	if len(views) == 0 {
		return nil
	}
	edit, err := k.repair.Edit(c)
	if err != nil {
		return err
	}
	for _, v := range views {
		if r, ok := v.Grant.(T); ok {
			records := edit.Records()
			i := slices.IndexFunc(records, func(o T) bool { return k.reverts && k.called(o) == k.called(r) })
			if i >= 0 {
				edit.Revert(r, records[i])
			} else {
				edit.Withdraw(r)
			}
			continue
		}
		old, ok := v.Recorded.(T)
		if !ok {
			return fmt.Errorf("repair %s %s: no record", k.kind.Name, v.Name)
		}
		switch now, renewed, err := k.kind.Resolve(old); {
		case k.gone != nil && k.gone(old):
			edit.Withdraw(old)
		case err == nil && renewed:
			edit.Update(old, now)
		default:
			edit.Repair(old)
		}
	}
	return nil
}

func paths(s *Subject, list []mounts.Bind) ([]resource.View, error) {
	optional, err := config.List[mounts.Bind](s.Doc, config.OptionalPaths)
	if err != nil {
		return nil, err
	}
	return mounts.Views(s.Target, list, optional)
}
