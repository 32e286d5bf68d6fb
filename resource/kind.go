package resource

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"

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
	Name   string // of one record, in messages: "device"; "" for marks, which no message mentions
	Key    string // its list in device_hook.json
	Policy Policy // of a restore

	// Check (optional) refuses a file whose records contradict each other. It touches
	// nothing.
	Check func([]T) error
	// Resolve, which Restore needs, returns the record with the host's present facts (a device's number),
	// and whether it must be saved. It reads the host and changes nothing.
	Resolve func(T) (now T, changed bool, err error)
	// Order (optional) is the order in which a start applies records, as slices.SortFunc has it;
	// without it the file's order counts.
	Order func(a, b T) int
	// Apply makes the record real, all of it or nothing; a record that is real already
	// stays as it is. A kind without Apply and Remove only exists in the file.
	Apply func(context.Context, *Target, T) error
	// Remove takes all of it away; it is no error if parts are gone already.
	Remove func(context.Context, *Target, T) error
	// Withdraw (optional) is Remove of a record that stays in the file and is applied again later.
	Withdraw func(context.Context, *Target, T) error
	// Update (optional) changes old into now, all of it or nothing. Without it now is applied.
	Update func(ctx context.Context, t *Target, old, now T) error
	// UpdatedLate: an updated record is saved after Update. Repeated after a crash, Update
	// needs the old record again.
	UpdatedLate bool
	// UpdatedLast: an updated record goes to the end of its list.
	UpdatedLast bool
	// Reconcile (optional) runs once per transaction, after all Apply and Remove calls, for
	// state that all records share. now: the applied records; gone: the removed ones, with
	// their old values.
	Reconcile func(ctx context.Context, t *Target, now, gone []T) error
	// PermissionFirst: Reconcile sets permissions, so it runs before removals, too. The
	// container cannot keep a permission by what it does to its files.
	PermissionFirst bool
	// Granted: what is made for a record is kept in the target's ledger, under Name.
	Granted bool
	// Had (optional) is written to the ledger before a grant: the part of it that the
	// container has already, which removal must leave. last is the value written last for
	// this start; a nil result means that it still holds.
	Had func(t *Target, last json.RawMessage) any
	// Verify returns nil when the record is real.
	Verify func(context.Context, *Target, T) error
	// Tolerate (optional) reports whether a start may continue when applying r failed with
	// err, even under Stop.
	Tolerate func(r T, err error) bool
}

// RecordError names the record that a plan failed at.
type RecordError struct {
	Verb, Kind string
	Record     fmt.Stringer
	Err        error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("%s %s %s: %v", e.Verb, e.Kind, e.Record, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// Plan is the records of one kind that a start makes real, in order.
type Plan[T Record] struct {
	Records []T
	Made    []T // by Do: those that are real
	kind    Kind[T]
	refused []error // by record: why the host cannot serve it now
}

// Restore plans to make real what is recorded in d, renewed from the host's
// facts; renewed records are put into d. Errors are those of the file.
func (k *Kind[T]) Restore(d *config.Document) (p Plan[T], err error) {
	list, err := config.List[T](d, k.Key)
	if err != nil {
		return p, err
	}
	p.Records = slices.Clone(list)
	if k.Check != nil {
		if err := k.Check(p.Records); err != nil {
			return p, fmt.Errorf("%s: %w", k.Key, err)
		}
	}
	p.kind, p.refused = *k, make([]error, len(p.Records))
	changed := map[int]T{}
	for i, old := range p.Records {
		now, renewed, err := k.Resolve(old)
		if err == nil && renewed {
			changed[i] = now
		}
		p.Records[i], p.refused[i] = now, err
	}
	if k.Order != nil {
		p.sort(k.Order)
	}
	return p, config.Replace(d, k.Key, changed)
}

// sort puts the records into another order, equal ones as they were.
func (p *Plan[T]) sort(order func(a, b T) int) {
	if slices.IsSortedFunc(p.Records, order) {
		return
	}
	places := make([]int, len(p.Records))
	for i := range places {
		places[i] = i
	}
	sort.SliceStable(places, func(a, b int) bool { return order(p.Records[places[a]], p.Records[places[b]]) < 0 })
	records, refused := p.Records, p.refused
	p.Records, p.refused = slices.Clone(records), slices.Clone(refused)
	for i, place := range places {
		p.Records[i], p.refused[i] = records[place], refused[place]
	}
}

// Do makes the plan's records real, one after the other. Under Skip, and of
// records that can be spared, failures are given to report and Do returns nil.
func (p *Plan[T]) Do(ctx context.Context, t *Target, report func(error)) error {
	if err := p.kind.intend(t, p.Records...); err != nil {
		return err
	}
	var err error
	p.Made, err = p.run(ctx, t, "add", p.kind.grant, report)
	if err == nil && p.kind.Reconcile != nil {
		if err = p.kind.Reconcile(ctx, t, p.Made, nil); err != nil {
			err = fmt.Errorf("reconcile %ss: %w", p.kind.Name, err)
		}
	}
	return errors.Join(err, flush(t))
}

// Verify checks that the plan's records are real, and changes nothing.
func (p *Plan[T]) Verify(ctx context.Context, t *Target, report func(error)) error {
	_, err := p.run(ctx, t, "verify", p.kind.Verify, report)
	return err
}

// run returns the records for which do succeeds.
func (p *Plan[T]) run(ctx context.Context, t *Target, verb string, do func(context.Context, *Target, T) error, report func(error)) (done []T, err error) {
	for i, r := range p.Records {
		err := cmp.Or(ctx.Err(), p.refused[i])
		if err == nil {
			err = do(ctx, t, r)
		}
		warning, err := split(err)
		if warning != nil {
			report(fmt.Errorf("%s %s %s: %w", verb, p.kind.Name, r, warning))
		}
		if err == nil {
			done = append(done, r)
			continue
		}
		skip := p.kind.Policy == Skip || p.kind.Tolerate != nil && p.kind.Tolerate(r, err)
		err = &RecordError{verb, p.kind.Name, r, err}
		if !skip || ctx.Err() != nil {
			return done, err
		}
		report(fmt.Errorf("%w, skipping", err))
	}
	return done, nil
}
