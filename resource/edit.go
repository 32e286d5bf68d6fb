package resource

import (
	"context"
	"fmt"
	"slices"

	"isula.org/isulad-tools/config"
)

// edit is an Edit of any type.
type edit interface {
	put(during bool) error
	begin(context.Context, *Target) error
	reconcile(context.Context, *Target) error
}

// Edit plans what becomes of the records of one kind.
type Edit[T Record] struct {
	change     *Change
	kind       *Kind[T]
	old        []T
	steps      []step[T]
	done       []step[T]
	after      []T // the list after these
	reconciled bool
	now, gone  []T // with these
}

// step is a task, and what the container loses and gets by it.
type step[T Record] struct {
	*Task
	removed, added []T
}

// Edit begins to plan what c does to the records of kind k.
func (k *Kind[T]) Edit(c *Change) (*Edit[T], error) {
	old, err := config.List[T](c.doc, k.Key)
	if err != nil {
		return nil, err
	}
	e := &Edit[T]{change: c, kind: k, old: slices.Clip(old)}
	c.edits = append(c.edits, e)
	return e, nil
}

// Records are the records as they will be, should all that is planned succeed. Who changes
// them in place makes a copy first.
func (e *Edit[T]) Records() []T { return e.list("withdraw") }

// list is the old list after what has not failed, except for the tasks of some verbs. It
// is made once for the same tasks: there may be a hundred records, and it is asked for often.
func (e *Edit[T]) list(except ...string) []T {
	var done []step[T]
	for _, a := range e.steps {
		if a.Err == nil && !slices.Contains(except, a.Verb) {
			done = append(done, a)
		}
	}
	if len(done) == 0 {
		return e.old
	}
	if !slices.EqualFunc(done, e.done, func(a, b step[T]) bool { return a.Task == b.Task }) {
		e.done, e.after = done, e.apply(done)
	}
	return e.after
}

// apply returns the old list after these steps.
func (e *Edit[T]) apply(done []step[T]) []T {
	list := e.old
	for _, a := range done {
		i := slices.IndexFunc(list, func(r T) bool { return slices.Contains(a.removed, r) })
		switch {
		case a.removed == nil:
			list = append(list, a.added...)
		case i < 0:
		case e.kind.UpdatedLast && !slices.Equal(a.removed, a.added):
			list = slices.Concat(list[:i], list[i+1:], a.added)
		default:
			list = slices.Concat(list[:i], a.added, list[i+1:])
		}
	}
	return slices.Clip(list)
}

// plan plans a task. do and undo are nil where the kernel is not touched.
func (e *Edit[T]) plan(verb string, r T, removed, added []T, do, undo func(context.Context, *Target) error) *Task {
	t := &Task{Verb: verb, Kind: e.kind.Name, Record: r, do: do, undo: undo}
	e.steps = append(e.steps, step[T]{t, removed, added})
	e.change.Tasks = append(e.change.Tasks, t)
	return t
}

func (e *Edit[T]) grants(r T) func(context.Context, *Target) error {
	if e.kind.Apply == nil {
		return nil
	}
	return func(ctx context.Context, t *Target) error { return e.kind.grant(ctx, t, r) }
}

func (e *Edit[T]) revokes(r T) func(context.Context, *Target) error {
	if e.kind.Remove == nil {
		return nil
	}
	return func(ctx context.Context, t *Target) error { return e.kind.revoke(ctx, t, r) }
}

func (e *Edit[T]) updates(old, now T) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error { return e.kind.update(ctx, t, old, now) }
}

// Add plans a record more.
func (e *Edit[T]) Add(r T) *Task { return e.plan("add", r, nil, []T{r}, e.grants(r), e.revokes(r)) }

// Remove plans a record less.
func (e *Edit[T]) Remove(r T) *Task {
	return e.plan("remove", r, []T{r}, nil, e.revokes(r), e.grants(r))
}

// Withdraw plans that the running container loses r, which stays recorded: the
// host does not have it at present, so it cannot be had back either.
func (e *Edit[T]) Withdraw(r T) *Task {
	return e.plan("withdraw", r, []T{r}, nil, func(ctx context.Context, t *Target) error { return e.kind.withdraw(ctx, t, r) }, nil)
}

// RemoveRecord plans a record less that is real no longer when the tasks before are
// done: only the file is changed.
func (e *Edit[T]) RemoveRecord(r T) *Task { return e.plan("remove", r, []T{r}, nil, nil, nil) }

// RecordOnly plans that r is recorded, in the place of old if there is one. Only the file is
// changed: the host does not have it now, and whoever finds that it has makes it real.
func (e *Edit[T]) RecordOnly(r T, old ...T) *Task {
	verb := "add"
	if len(old) > 0 {
		verb = "update"
	}
	return e.plan(verb, r, old, []T{r}, nil, nil)
}

// Update plans that the record old becomes r, in its place or, where the kind
// says so, at the end.
func (e *Edit[T]) Update(old, r T) *Task {
	return e.plan("update", r, []T{old}, []T{r}, e.updates(old, r), e.updates(r, old))
}

// Repair plans that r, which stays as it is recorded, is made real again. What cannot be
// made stays as far as it came: it was no better before.
func (e *Edit[T]) Repair(r T) *Task {
	return e.plan("repair", r, []T{r}, []T{r}, e.grants(r), nil)
}

// Revert plans that r, which stays as it is recorded, is made real in the place of stale,
// which an interrupted change of r has made of it.
func (e *Edit[T]) Revert(stale, r T) *Task {
	return e.plan("repair", r, []T{r}, []T{r}, e.updates(stale, r), nil)
}

// Fail plans nothing: r cannot be had, and err says why.
func (e *Edit[T]) Fail(verb string, r T, err error) *Task {
	t := e.plan(verb, r, nil, nil, nil, nil)
	t.Err = err
	return t
}

// put puts the records into the document. During the change those that go are still
// among them, and those of late updates are as before.
func (e *Edit[T]) put(during bool) error {
	except := []string{"withdraw"}
	if during {
		except = append(except, "remove")
	}
	if during && e.kind.UpdatedLate {
		except = append(except, "update")
	}
	return config.Put(e.change.doc, e.kind.Key, e.list(except...))
}

// begin writes into the ledger what is about to be granted, and takes permissions
// away before anything else.
func (e *Edit[T]) begin(ctx context.Context, t *Target) error {
	var added []T
	for _, a := range e.steps {
		if a.Err == nil && !slices.Equal(a.removed, a.added) {
			added = append(added, a.added...)
		}
	}
	if err := e.kind.intend(t, added...); err != nil || !e.kind.PermissionFirst {
		return err
	}
	// What is added gets its permission last: it may fail.
	return e.reconcileAs(ctx, t, e.list("add"))
}

func (e *Edit[T]) reconcile(ctx context.Context, t *Target) error {
	return e.reconcileAs(ctx, t, e.list())
}

// reconcileAs reconciles with what the container has now.
func (e *Edit[T]) reconcileAs(ctx context.Context, t *Target, now []T) error {
	if e.kind.Reconcile == nil || len(e.steps) == 0 {
		return nil
	}
	var gone []T
	for _, a := range e.steps {
		switch {
		case slices.Equal(a.removed, a.added):
		case a.undone:
			gone = append(gone, a.added...)
		case a.Err == nil:
			gone = append(gone, a.removed...)
		}
	}
	if e.kind.PermissionFirst {
		gone = append(gone, e.kind.Stale(t, append(e.list(), gone...))...)
	}
	if e.reconciled && slices.Equal(now, e.now) && slices.Equal(gone, e.gone) {
		return nil
	}
	if err := e.kind.Reconcile(ctx, t, now, gone); err != nil {
		return fmt.Errorf("reconcile %ss: %w", e.kind.Name, err)
	}
	e.reconciled, e.now, e.gone = true, now, gone
	return nil
}
