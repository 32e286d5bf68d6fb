package undo

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var (
	errCause = errors.New("cause")
	errUndo  = errors.New("undo failed")
)

func TestCompensationsRunBackwardsAfterAnError(t *testing.T) {
	t.Parallel()
	var s Stack
	var log []string
	for _, what := range []string{"one", "two", "three"} {
		s.Push(what, func() error { log = append(log, what); return nil })
	}
	err := errCause
	s.OnError(&err)
	if want := []string{"three", "two", "one"}; !slices.Equal(log, want) {
		t.Errorf("ran %q, want %q", log, want)
	}
	if err != errCause { //nolint:errorlint // nothing was to be added
		t.Errorf("the error became %v", err)
	}
}

func TestNothingIsUndoneWithoutAnError(t *testing.T) {
	t.Parallel()
	var s Stack
	s.Push("one", func() error { t.Error("undone"); return nil })
	var err error
	s.OnError(&err)
	if err != nil {
		t.Error(err)
	}
}

func TestWhatFailsToBeUndoneIsTold(t *testing.T) {
	t.Parallel()
	var s Stack
	var log []string
	s.Push("remove the first", func() error { log = append(log, "one"); return nil })
	s.Push("remove the second", func() error { log = append(log, "two"); return errUndo })
	s.Push("remove the third", func() error { log = append(log, "three"); return errUndo })
	err := errCause
	s.OnError(&err)
	if want := []string{"three", "two", "one"}; !slices.Equal(log, want) {
		t.Errorf("ran %q, want %q", log, want)
	}
	if !errors.Is(err, errCause) || !errors.Is(err, errUndo) {
		t.Errorf("%v has lost an error", err)
	}
	for _, what := range []string{"cause", "undo: remove the second: undo failed", "undo: remove the third: undo failed"} {
		if !strings.Contains(err.Error(), what) {
			t.Errorf("%q does not say %q", err, what)
		}
	}
}

func TestCompensationsRunOnce(t *testing.T) {
	t.Parallel()
	var s Stack
	n := 0
	s.Push("one", func() error { n++; return nil })
	err := errCause
	s.OnError(&err)
	s.OnError(&err)
	if n != 1 {
		t.Errorf("ran %d times", n)
	}
}

func TestOnErrorSeesTheErrorThatAFunctionReturns(t *testing.T) {
	t.Parallel()
	undone := false
	f := func() (err error) {
		var s Stack
		defer s.OnError(&err)
		s.Push("it", func() error { undone = true; return errUndo })
		return errCause
	}
	if err := f(); !errors.Is(err, errCause) || !errors.Is(err, errUndo) || !undone {
		t.Errorf("%v, undone: %v", err, undone)
	}
}
