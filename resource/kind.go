package resource

import (
	"context"
	"errors"
	"fmt"

	"isula.org/isulad-tools/config"
)

// Policy says what the failure of one record means for the others.
type Policy int

// The policies.
const (
	Stop Policy = iota // the first failure ends the plan
	Skip               // it is reported, and the plan goes on
)

// Record is one entry of a list in device_hook.json. Equal records are one.
type Record interface {
	comparable
	fmt.Stringer
}

// Kind is one kind of resource: how its records, of type T, are kept and what
// makes them real.
type Kind[T Record] struct {
	Name   string // one of it, in messages: "device"
	Key    string // its list in device_hook.json
	Policy Policy // of a restore

	// Check refuses a file whose records contradict each other. It touches
	// nothing.
	Check func([]T) error
	// Resolve returns the record as the host is now (a device's present
	// number), and whether the file must learn of it. It reads the host and
	// changes nothing.
	Resolve func(T) (now T, renewed bool, err error)
	// Apply makes the record real, all of it or nothing; a record that is
	// real already is left as it is. A kind without Apply and Remove is one of
	// marks, which the file is all there is of.
	Apply func(context.Context, *Target, T) error
	// Remove takes it away, all of it; what is gone already is fine.
	Remove func(context.Context, *Target, T) error
	// Update, when there is one, makes old what now is, all of it or nothing.
	// Without one, applying now is enough.
	Update func(ctx context.Context, t *Target, old, now T) error
	// UpdatedLate: the file learns of an update when it is done. Update needs the
	// old record again when it is repeated after a crash.
	UpdatedLate bool
	// UpdatedLast: an updated record goes to the end of its list.
	UpdatedLast bool
	// Settle, when there is one, does once per transaction what depends on all
	// records together: those that are there now, and those that are no more, as
	// they were.
	Settle func(ctx context.Context, t *Target, now, gone []T) error
	// PermissionFirst: Settle sets permissions, so it is called before anything is
	// removed, too. What the container does to its files keeps no permission.
	PermissionFirst bool
	// Granted: what is made for a record is kept in the target's ledger, under Name.
	Granted bool
	// Verify returns nil when the record is real.
	Verify func(context.Context, *Target, T) error
	// Spare, when there is one, tells whether a start goes on without a record
	// that err keeps it from having, although the policy is to stop.
	Spare func(r T, err error) bool
}

// Plan is what a transaction is going to do, in order.
type Plan struct {
	Policy Policy
	Steps  []Step
	intend func(*Target) error
	settle func(context.Context, *Target, []Step) error
}

// Step is one record's part of a plan.
type Step struct {
	Kind   string
	Record fmt.Stringer
	Err    error // why the last Do or Verify skipped it
	do     func(context.Context, *Target) error
	verify func(context.Context, *Target) error
	spare  func(error) bool
}

// Restore plans to make real what is recorded in d, renewed from the host's
// facts; renewed records are put into d. Errors are those of the file; a
// record that the host cannot serve now is a step that fails.
func (k *Kind[T]) Restore(d *config.Document) (Plan, error) {
	records, err := config.List[T](d, k.Key)
	if err != nil {
		return Plan{}, err
	}
	if k.Check != nil {
		if err := k.Check(records); err != nil {
			return Plan{}, fmt.Errorf("%s: %w", k.Key, err)
		}
	}
	plan := Plan{Policy: k.Policy, Steps: make([]Step, len(records))}
	if k.Settle != nil {
		plan.settle = func(ctx context.Context, t *Target, steps []Step) error {
			var real []T
			for i, s := range steps {
				if s.Err == nil {
					real = append(real, records[i])
				}
			}
			if err := k.Settle(ctx, t, real, nil); err != nil {
				return fmt.Errorf("settle %ss: %w", k.Name, err)
			}
			return nil
		}
	}
	plan.intend = func(t *Target) error { return k.intend(t, records...) }
	changed := map[int]T{}
	for i, old := range records {
		now, renewed, err := k.Resolve(old)
		if err == nil && renewed {
			changed[i] = now
		}
		records[i] = now
		plan.Steps[i] = k.step(now, err)
	}
	return plan, config.Replace(d, k.Key, changed)
}

func (k *Kind[T]) step(r T, resolveErr error) Step {
	s := Step{Kind: k.Name, Record: r, spare: func(error) bool { return false }}
	if k.Spare != nil {
		s.spare = func(err error) bool { return k.Spare(r, err) }
	}
	if resolveErr != nil {
		fail := func(context.Context, *Target) error { return resolveErr }
		s.do, s.verify = fail, fail
		return s
	}
	s.do = func(ctx context.Context, t *Target) error { return k.grant(ctx, t, r) }
	s.verify = func(ctx context.Context, t *Target) error { return k.Verify(ctx, t, r) }
	return s
}

// Do makes the plan's records real, one after the other. Under Skip, and of
// records that can be spared, failures are given to report and Do returns nil.
func (p Plan) Do(ctx context.Context, t *Target, report func(error)) error {
	if len(p.Steps) > 0 {
		if err := p.intend(t); err != nil {
			return err
		}
	}
	err := p.run(ctx, t, "add", func(s Step) func(context.Context, *Target) error { return s.do }, report)
	if err == nil && p.settle != nil {
		err = p.settle(ctx, t, p.Steps)
	}
	return errors.Join(err, flush(t))
}

// Verify checks that the plan's records are real, and changes nothing.
func (p Plan) Verify(ctx context.Context, t *Target, report func(error)) error {
	return p.run(ctx, t, "verify", func(s Step) func(context.Context, *Target) error { return s.verify }, report)
}

func (p Plan) run(ctx context.Context, t *Target, verb string, pick func(Step) func(context.Context, *Target) error, report func(error)) error {
	for i, s := range p.Steps {
		err := ctx.Err()
		if err == nil {
			err = pick(s)(ctx, t)
		}
		p.Steps[i].Err = err
		if err == nil {
			continue
		}
		skip := p.Policy == Skip || s.spare(err)
		err = fmt.Errorf("%s %s %s: %w", verb, s.Kind, s.Record, err)
		if !skip || ctx.Err() != nil {
			return err
		}
		report(fmt.Errorf("%w, skipping", err))
	}
	return nil
}
