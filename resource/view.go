package resource

import (
	"encoding/json"
	"fmt"
	"slices"
)

// View is one resource of a container as it is recorded, as this start was granted it,
// and as the kernel has it.
type View struct {
	Name string `json:"name"` // in the container
	// Recorded is the record, nil: there is none.
	Recorded fmt.Stringer `json:"recorded,omitempty"`
	// Granted is what the ledger says was made for it, null: about to be made; nil: it was
	// not granted, or the kind is in no ledger.
	Granted json.RawMessage `json:"granted,omitempty"`
	// Real is what the kernel has, nil: nothing.
	Real        fmt.Stringer `json:"real,omitempty"`
	Differences []Difference `json:"differences,omitempty"`

	// Grant is the record that was granted, of a view without Recorded.
	Grant any `json:"-"`
}

// Difference is where what is recorded, what was granted and what is real part.
type Difference struct {
	What string `json:"what"` // a few words, the same for each of its sort
	Why  string `json:"why"`
	// Mends tells whether a repair would mend it.
	Mends bool `json:"mends"`
}

// Differ adds a difference that a repair mends.
func (v *View) Differ(what, format string, args ...any) {
	v.Differences = append(v.Differences, Difference{what, fmt.Sprintf(format, args...), true})
}

// DifferForGood adds a difference that no repair mends.
func (v *View) DifferForGood(what, format string, args ...any) {
	v.Differences = append(v.Differences, Difference{what, fmt.Sprintf(format, args...), false})
}

// IsRepairable tells whether a repair would mend something of it.
func (v View) IsRepairable() bool {
	return slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.Mends })
}

// Views are views of records, each with its name in the container, at which look looks.
func (k *Kind[T]) Views(t *Target, records []T, name func(T) string, look func(T, *View) error) ([]View, error) {
	views := make([]View, len(records))
	for i, r := range records {
		views[i] = View{Name: name(r), Recorded: r, Granted: k.Grant(t, r)}
		if err := look(r, &views[i]); err != nil {
			return nil, err
		}
	}
	return views, nil
}

// Grant returns what the ledger has of r, for View.Granted.
func (k *Kind[T]) Grant(t *Target, r T) json.RawMessage {
	var is json.RawMessage
	switch {
	case !k.Granted || t == nil:
	case t.Ledger.Made(k.Name, r, &is):
		return is
	case t.Ledger.Pending(k.Name, r):
		return json.RawMessage("null")
	}
	return nil
}

// Stale are the records that the container was granted and that are not among those
// known: a command was killed that updated or removed them, or they were forgotten.
func (k *Kind[T]) Stale(t *Target, known []T) (list []T) {
	if !k.Granted || t == nil {
		return nil
	}
	next := 0 // they are mostly in their order
	isKnown := func(record any) bool {
		r, ok := record.(T)
		if i := slices.Index(known[next:], r); ok && i >= 0 {
			next += i
			return true
		}
		return ok && slices.Contains(known, r)
	}
	for _, g := range t.Ledger.Others(k.Name, isKnown) {
		var r T
		if json.Unmarshal(g.Record, &r) == nil && !isKnown(r) && !slices.ContainsFunc(known, func(o T) bool { return k.isRecordOf(o, r) }) {
			list = append(list, r)
		}
	}
	return list
}

// isRecordOf tells whether a start grants r, another one, for the record known, which is
// left as it is.
func (k *Kind[T]) isRecordOf(known, r T) bool {
	now, renewed, err := k.Resolve(known)
	return err == nil && !renewed && now == r
}
