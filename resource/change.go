package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"isula.org/isulad-tools/config"
)

// Change is what one command does to a container: to its file, to the kernel,
// and to what depends on both. It is planned first, by Edits, and then done.
//
// While it runs the file holds the old records and the new ones: it is never
// less than what may be real, so that repeating the command, or the next start,
// completes what was interrupted.
type Change struct {
	// Policy says what the failure of one task means for those after it. Those
	// before it stay in either case.
	Policy Policy
	Tasks  []*Task
	Done   bool // Do has returned

	doc     *config.Document
	edits   []edit
	finally []func(context.Context) error
}

// Task is one record's part of a change.
type Task struct {
	Verb   string // "add", "remove", "update", "withdraw" or "repair"
	Kind   string
	Record fmt.Stringer
	// Needs is a task without whose success this one is not even tried.
	Needs *Task
	// Err is, after Do, why it is not done; ErrNotTried for what another task's
	// failure left out. Set before, it is why it cannot be.
	Err error
	// Warning is, after Do, what is worth telling although it is done.
	Warning error
	// Forget makes its failure a warning: the operator knows better.
	Forget bool
	// Offline, when there is one, is what is done for the record where the
	// container does not run: all of it or nothing.
	Offline func(context.Context) error

	do, undo func(context.Context, *Target) error // nil: the file is all there is
	done     bool                                 // to the kernel
	undone   bool                                 // and taken back
}

// ErrNotTried says that a task was left out because another one failed.
var ErrNotTried = errors.New("not tried")

// NewChange returns a change of the records in d, in which nothing is planned.
// The caller holds the container's lock.
func NewChange(d *config.Document, p Policy) *Change { return &Change{doc: d, Policy: p} }

// Finally plans what is done after all tasks, and makes something outside follow
// the Records as they then are. Its failure is that of the whole change; when
// the change fails after it, it is done again, with the old records.
func (c *Change) Finally(do func(context.Context) error) { c.finally = append(c.finally, do) }

// Step plans what is no matter of one kind's records. It is done in the running
// container only.
func (c *Change) Step(verb, kind string, what fmt.Stringer, do func(context.Context, *Target) error) *Task {
	t := &Task{Verb: verb, Kind: kind, Record: what, do: do}
	c.Tasks = append(c.Tasks, t)
	return t
}

// Record puts what is planned into the document, and does nothing else: a start
// makes everything in it real.
func (c *Change) Record() error { return c.put(false) }

// Do does what is planned, in order, in the running container t, or where t is
// nil to the file only: it saves all records, runs the tasks, reconciles what depends on
// them, and rolls back when one of these steps fails. The error is of what all tasks depend on: then none of
// them stays. What became of each is its Err.
func (c *Change) Do(ctx context.Context, t *Target) error {
	defer func() { c.Done = true }()
	if c.skipBlocked(); !slices.ContainsFunc(c.Tasks, pending) {
		return nil
	}
	if err := c.save(true); err != nil {
		// It may have failed after the file was in its place.
		return errors.Join(c.fail(err), c.save(false))
	}
	t, err := c.run(ctx, t)
	if err == nil {
		err = c.reconcile(ctx, t)
	}
	for _, task := range c.Tasks {
		task.note(t)
	}
	if err != nil {
		err = c.rollBack(ctx, t, err)
	}
	return err
}

// run does the tasks. It returns t, or nil when the container ended meanwhile.
func (c *Change) run(ctx context.Context, t *Target) (*Target, error) {
	if err := c.eachEdit(ctx, t, edit.begin); err != nil {
		return t, err
	}
	for _, task := range c.Tasks {
		if c.skipBlocked(); task.Err == nil {
			t = task.try(ctx, t)
			task.note(t)
		}
	}
	c.skipBlocked()
	return t, nil
}

// reconcile does what depends on all tasks, and saves the records as they are now.
func (c *Change) reconcile(ctx context.Context, t *Target) error {
	err := c.eachEdit(ctx, t, edit.reconcile)
	for _, do := range c.finally {
		if err == nil && slices.ContainsFunc(c.Tasks, pending) {
			err = do(ctx)
		}
	}
	if err != nil {
		return err
	}
	return c.save(false)
}

// rollBack undoes all tasks, for the reason err, and returns it with what else failed.
func (c *Change) rollBack(ctx context.Context, t *Target, err error) error {
	// What is taken away is made real again only with its record in the file, as it is
	// when that could not be written.
	recorded := c.doc.Revert() || c.save(true) == nil
	err = errors.Join(c.fail(err), c.undo(ctx, t, recorded))
	for _, do := range c.finally {
		err = errors.Join(err, do(context.WithoutCancel(ctx)))
	}
	return errors.Join(err, c.save(false), flush(t))
}

// note writes into the ledger what has become of the task. What cannot be written is
// no failure of what is done: the ledger then has an entry too many, or one that does
// not say what was made.
func (t *Task) note(in *Target) {
	if err := flush(in); err != nil {
		t.Warning = errors.Join(t.Warning, fmt.Errorf("it is done, but the ledger does not have it: %w", err))
	}
}

// try runs the task. It returns in, or nil when the container ended meanwhile.
func (t *Task) try(ctx context.Context, in *Target) *Target {
	err := ctx.Err()
	if err == nil {
		err = t.run(ctx, in)
	}
	if _, failed := split(err); failed != nil && in != nil && !in.Init.Lives() {
		in, err = nil, t.run(ctx, nil) // its end is no failure: its next start will do it
	}
	t.Warning, t.Err = split(err)
	if t.done = t.Err == nil; t.Forget && !t.done {
		t.Warning, t.Err = t.Err, nil
	}
	return in
}

// run does the task in the container; nil: it does not run.
func (t *Task) run(ctx context.Context, in *Target) error {
	switch {
	case in != nil && t.do != nil:
		return t.do(ctx, in)
	case in == nil && t.Offline != nil:
		return t.Offline(ctx)
	}
	return nil
}

// pending tells whether a task is done, or still can be.
func pending(t *Task) bool { return t.Err == nil }

// skipBlocked marks the tasks that will not be tried.
func (c *Change) skipBlocked() {
	failed := false
	for _, t := range c.Tasks {
		if t.Err == nil && (failed && c.Policy == Stop && !t.done || t.Needs != nil && t.Needs.Err != nil) {
			t.Err = ErrNotTried
		}
		failed = failed || t.Err != nil
	}
}

func (c *Change) save(during bool) error {
	if err := c.put(during); err != nil {
		return err
	}
	return c.doc.Save()
}

func (c *Change) put(during bool) error {
	for _, e := range c.edits {
		if err := e.put(during); err != nil {
			return err
		}
	}
	return nil
}

// eachEdit is do for each kind of record, as long as the container runs. Where all tasks
// are to be forgotten, its failure is a warning.
func (c *Change) eachEdit(ctx context.Context, t *Target, do func(edit, context.Context, *Target) error) error {
	if t == nil {
		return nil
	}
	forget := slices.ContainsFunc(c.Tasks, pending) && !slices.ContainsFunc(c.Tasks, func(t *Task) bool { return pending(t) && !t.Forget })
	for _, e := range c.edits {
		if err := do(e, ctx, t); err != nil && forget {
			c.Tasks[0].Warning = err
		} else if err != nil && t.Init.Lives() {
			return err
		}
	}
	return nil
}

// fail makes err the reason why nothing is done, and returns it.
func (c *Change) fail(err error) error {
	for _, t := range c.Tasks {
		if t.Err == nil {
			t.Err = ErrNotTried
		}
	}
	return err
}

// undo takes back what was done to the kernel, the last first; when the old
// records could not be put back, not what removes them.
func (c *Change) undo(ctx context.Context, t *Target, recorded bool) error {
	if t == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, task := range slices.Backward(c.Tasks) {
		if !task.done || task.do == nil || task.Verb == "remove" && !recorded {
			continue
		}
		if task.done, task.undone = false, true; task.undo == nil {
			continue
		}
		if err := task.undo(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("undo: %s %s %s: %w", task.Verb, task.Kind, task.Record, err))
		}
	}
	return errors.Join(append(errs, c.eachEdit(ctx, t, edit.reconcile))...)
}
