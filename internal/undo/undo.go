// Package undo keeps compensations next to the actions that they undo.
//
//	var u undo.Stack
//	defer u.OnError(&err)
//	if err := mkdir(p); err != nil { return err }
//	u.Push("remove "+p, func() error { return rmdir(p) })
package undo

import (
	"errors"
	"fmt"
)

// ErrLeft is that a compensation failed: something may be left.
var ErrLeft = errors.New("undo")

// Stack holds compensations, last in first out. Its zero value is empty.
type Stack struct{ steps []step }

type step struct {
	what string
	do   func() error
}

// Push adds a compensation, right after the action that it undoes succeeded.
// what names it in the error when it fails in turn.
func (s *Stack) Push(what string, do func() error) {
	s.steps = append(s.steps, step{what, do})
}

// OnError runs the compensations, the last one first, when *err is not nil.
// What fails on the way is joined to *err, never lost.
func (s *Stack) OnError(err *error) {
	if *err == nil {
		return
	}
	if e := s.Undo(); e != nil {
		*err = errors.Join(*err, e)
	}
}

// Undo runs the compensations, the last one first, all of them.
func (s *Stack) Undo() error {
	var errs []error
	for i := len(s.steps) - 1; i >= 0; i-- {
		if err := s.steps[i].do(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %s: %w", ErrLeft, s.steps[i].what, err))
		}
	}
	s.steps = nil
	return errors.Join(errs...)
}
