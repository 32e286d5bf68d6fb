package resource

import (
	"context"
	"fmt"
	"slices"

	"isula.org/isulad-tools/config"
)

// edit is an Edit of any type.
type edit interface {
	put(removed bool) error
	begin(context.Context, *Target) error
	settle(context.Context, *Target) error
}

// Edit plans what becomes of the records of one kind.
type Edit[T Record] struct {
	change  *Change
	kind    *Kind[T]
	old     []T
	actions []*action[T]
	settled *settled[T] // what was settled last
}

type settled[T Record] struct{ now, gone []T }

// action is a task and what its success makes of the list.
type action[T Record] struct {
	*Task
	edit      func([]T) []T
	late      bool // the old record stays until it is done
	got, lost []T  // what the container has then, and what it has no more
	keep      bool // in the list what is lost
}

// Edit begins to plan what c does to the records of kind k.
func (k *Kind[T]) Edit(c *Change) (*Edit[T], error) {
	old, err := config.List[T](c.doc, k.Key)
	if err != nil {
		return nil, err
	}
	e := &Edit[T]{change: c, kind: k, old: old}
	c.edits = append(c.edits, e)
	return e, nil
}

// Records are the records as they will be, should all that is planned succeed.
func (e *Edit[T]) Records() []T { return e.list(false) }

// list is the old list with what has not failed. With removed, the records that
// are removed are still in it, and so are those of late updates.
func (e *Edit[T]) list(removed bool) []T {
	list := slices.Clone(e.old)
	for _, a := range e.actions {
		if a.Err == nil && (!removed || a.Verb != "remove" && !a.late) {
			list = a.edit(list)
		}
	}
	return list
}

func (e *Edit[T]) plan(verb string, r T, edit func([]T) []T) *action[T] {
	t := &Task{Verb: verb, Kind: e.kind.Name, Record: r}
	e.actions = append(e.actions, &action[T]{Task: t, edit: edit, late: verb == "update" && e.kind.UpdatedLate})
	e.change.Tasks = append(e.change.Tasks, t)
	return e.actions[len(e.actions)-1]
}

// Add plans a record more.
func (e *Edit[T]) Add(r T) *Task {
	t := e.plan("add", r, func(list []T) []T { return append(list, r) })
	if e.kind.Apply != nil {
		t.got = []T{r}
		t.do = func(ctx context.Context, to *Target) error { return e.kind.grant(ctx, to, r) }
		t.undo = func(ctx context.Context, from *Target) error { return e.kind.revoke(ctx, from, r) }
	}
	return t.Task
}

// Remove plans a record less.
func (e *Edit[T]) Remove(r T) *Task {
	t := e.plan("remove", r, func(list []T) []T {
		if i := slices.Index(list, r); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		return list
	})
	t.lost = []T{r}
	if e.kind.Remove != nil {
		t.do = func(ctx context.Context, from *Target) error { return e.kind.revoke(ctx, from, r) }
		t.undo = func(ctx context.Context, to *Target) error { return e.kind.grant(ctx, to, r) }
	}
	return t.Task
}

// Withdraw plans that the running container loses r, which stays recorded: the
// host does not have it at present.
func (e *Edit[T]) Withdraw(r T) *Task {
	t := e.plan("withdraw", r, func(list []T) []T { return list })
	t.lost, t.keep = []T{r}, true
	t.do = func(ctx context.Context, from *Target) error { return e.kind.revoke(ctx, from, r) }
	t.undo = func(context.Context, *Target) error { return nil } // it cannot be had back
	return t.Task
}

// Forget plans a record less that is real no longer when the tasks before are
// done: only the file is changed.
func (e *Edit[T]) Forget(r T) *Task {
	t := e.Remove(r)
	t.do, t.undo = nil, nil
	return t
}

// Update plans that the record old becomes r, in its place or, where the kind
// says so, at the end.
func (e *Edit[T]) Update(old, r T) *Task {
	t := e.plan("update", r, func(list []T) []T {
		i := slices.Index(list, old)
		switch {
		case i < 0:
		case e.kind.UpdatedLast && old != r:
			list = append(slices.Delete(list, i, i+1), r)
		default:
			list[i] = r
		}
		return list
	})
	if old != r {
		t.got, t.lost = []T{r}, []T{old}
	}
	t.do = func(ctx context.Context, t *Target) error { return e.kind.update(ctx, t, old, r) }
	t.undo = func(ctx context.Context, t *Target) error { return e.kind.update(ctx, t, r, old) }
	return t.Task
}

// Refuse plans nothing: r cannot be had, and err says why.
func (e *Edit[T]) Refuse(verb string, r T, err error) *Task {
	t := e.plan(verb, r, nil)
	t.Err = err
	return t.Task
}

func (e *Edit[T]) put(removed bool) error {
	return config.Put(e.change.doc, e.kind.Key, e.list(removed))
}

// begin writes into the ledger what is about to be granted, and takes permissions
// away before anything else.
func (e *Edit[T]) begin(ctx context.Context, t *Target) error {
	var got []T
	for _, a := range e.actions {
		if a.Err == nil {
			got = append(got, a.got...)
		}
	}
	if err := e.kind.intend(t, got...); err != nil || !e.kind.PermissionFirst {
		return err
	}
	return e.settle(ctx, t)
}

func (e *Edit[T]) settle(ctx context.Context, t *Target) error {
	if e.kind.Settle == nil || len(e.actions) == 0 {
		return nil
	}
	now := e.list(false)
	var gone []T
	for _, a := range e.actions {
		switch {
		case a.undone:
			gone = append(gone, a.got...)
		case a.Err == nil:
			gone = append(gone, a.lost...)
			if a.keep {
				now = slices.DeleteFunc(now, func(r T) bool { return slices.Contains(a.lost, r) })
			}
		}
	}
	if s := e.settled; s != nil && slices.Equal(s.now, now) && slices.Equal(s.gone, gone) {
		return nil
	}
	if err := e.kind.Settle(ctx, t, now, gone); err != nil {
		return fmt.Errorf("settle %ss: %w", e.kind.Name, err)
	}
	e.settled = &settled[T]{now, gone}
	return nil
}
