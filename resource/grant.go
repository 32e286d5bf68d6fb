package resource

import (
	"context"
	"encoding/json"
	"errors"

	"isula.org/isulad-tools/internal/undo"
)

// Warning is what is worth telling, although what was asked for is done.
type Warning struct{ error }

// Unwrap returns what is told.
func (w Warning) Unwrap() error { return w.error }

// Warn makes err a Warning; nil stays nil.
func Warn(err error) error {
	if err == nil {
		return nil
	}
	return Warning{err}
}

// split tells a warning from a failure.
func split(err error) (warning, failure error) {
	if told, ok := err.(Warning); ok {
		return told, nil
	}
	return nil, err
}

// intend writes into the ledger which records are about to be granted, in one
// line.
func (k *Kind[T]) intend(t *Target, records ...T) error {
	if !k.Granted || t == nil || len(records) == 0 {
		return nil
	}
	list := make([]any, len(records))
	for i, r := range records {
		list[i] = r
	}
	var had func(json.RawMessage) any
	if k.Had != nil {
		had = func(last json.RawMessage) any { return k.Had(t, last) }
	}
	return t.Ledger.Intend(k.Name, had, list...)
}

// grant makes r real.
func (k *Kind[T]) grant(ctx context.Context, t *Target, r T) error {
	if err := k.intend(t, r); err != nil {
		return err
	}
	err := k.Apply(ctx, t, r)
	k.failed(t, r, err)
	return err
}

// failed ends an intent for which nothing was made.
func (k *Kind[T]) failed(t *Target, r T, err error) {
	if _, err = split(err); k.Granted && err != nil && !errors.Is(err, undo.ErrLeft) && !t.Ledger.Made(k.Name, r, new(any)) {
		t.Ledger.Revoke(k.Name, r)
	}
}

// revoke takes r away.
func (k *Kind[T]) revoke(ctx context.Context, t *Target, r T) error {
	return k.revokeBy(k.Remove, ctx, t, r)
}

// withdraw takes r away until it is back.
func (k *Kind[T]) withdraw(ctx context.Context, t *Target, r T) error {
	if k.Withdraw == nil {
		return k.revoke(ctx, t, r)
	}
	return k.revokeBy(k.Withdraw, ctx, t, r)
}

func (k *Kind[T]) revokeBy(remove func(context.Context, *Target, T) error, ctx context.Context, t *Target, r T) error {
	err := remove(ctx, t, r)
	if _, failed := split(err); k.Granted && failed == nil {
		t.Ledger.Revoke(k.Name, r)
	}
	return err
}

// update makes old what now is.
func (k *Kind[T]) update(ctx context.Context, t *Target, old, now T) (err error) {
	if k.Update == nil {
		err = k.grant(ctx, t, now)
	} else if err = k.intend(t, now); err == nil {
		err = k.Update(ctx, t, old, now)
		k.failed(t, now, err)
	}
	if _, failed := split(err); k.Granted && failed == nil && old != now {
		t.Ledger.Revoke(k.Name, old)
	}
	return err
}

// flush writes into the ledger what was made and what is over.
func flush(t *Target) error {
	if t == nil {
		return nil
	}
	return t.Ledger.Flush()
}
