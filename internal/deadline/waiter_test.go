package deadline

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var short = limits{total: 10 * time.Second, uninterrupted: time.Second, lateTotal: 2 * time.Second, lateCall: time.Second / 2, minimum: time.Second / 50}

// never makes a call that does not return until the test ends.
func never(t *testing.T) func() error {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func() error { <-end; return nil }
}

func TestACallThatReturnsIsReturned(t *testing.T) {
	t.Parallel()
	usual := NewWaiter(t.Context())
	defer usual.Close()
	for _, w := range []*Waiter{nil, usual} {
		for _, want := range []error{nil, os.ErrPermission} {
			if got := w.Do("x", "/x", func() error { return want }); !errors.Is(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		got, err := Get(w, "x", "/x", func() (int, error) { return 7, nil })
		if got != 7 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestWhatNeverReturnsIsWaitedForSoLong(t *testing.T) {
	t.Parallel()
	sec := time.Second
	for _, c := range []struct {
		name      string
		end       time.Duration   // of the context
		interrupt time.Duration   // 0: none
		want      []time.Duration // for one call after the other
	}{
		{"all calls have a limit together", time.Hour, 0, []time.Duration{10 * sec, sec / 2, sec / 2, sec / 2, sec / 2, sec / 50, sec / 50}},
		{"the context ends first", 4 * sec, 0, []time.Duration{4 * sec, sec / 2}},
		{"the context has ended", -sec, 0, []time.Duration{sec / 2, sec / 2, sec / 2, sec / 2, sec / 50}},
		{"interrupted", time.Hour, 3 * sec, []time.Duration{3 * sec, sec / 2}},
		{"interrupted at once", time.Hour, 1, []time.Duration{sec, sec / 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(After(c.end))
				defer cancel()
				if c.interrupt > 0 {
					time.AfterFunc(c.interrupt, cancel)
				}
				w := newWaiter(ctx, short)
				defer w.Close()
				for i, want := range c.want {
					begun := time.Now()
					err := w.Do("container web", "/fz/x", never(t))
					got := time.Since(begun)
					var none *NoAnswer
					if got != want || !errors.As(err, &none) || !strings.Contains(err.Error(), "/fz/x in container web") {
						t.Errorf("call %d: %v after %v, want no answer after %v", i, err, got, want)
					}
					if interrupted := strings.HasPrefix(err.Error(), "interrupted"); interrupted != (c.interrupt > 0) {
						t.Errorf("call %d: %v", i, err)
					}
				}
			})
		})
	}
}

// After a file system did not answer, others are still served, and so is one that is
// slow when somebody has pressed a key.
func TestWhatIsSlowIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before func(*testing.T, *Waiter, context.CancelFunc)
		takes  time.Duration
	}{
		{"slow", func(*testing.T, *Waiter, context.CancelFunc) {}, 9 * time.Second},
		{"after an interrupt", func(_ *testing.T, _ *Waiter, cancel context.CancelFunc) { cancel() }, time.Second / 4},
		{"after no answer", func(t *testing.T, w *Waiter, _ context.CancelFunc) { _ = w.Do("x", "/x", never(t)) }, time.Second / 4},
		{"after many", func(t *testing.T, w *Waiter, _ context.CancelFunc) {
			for range 10 {
				_ = w.Do("x", "/x", never(t))
			}
		}, time.Second / 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := newWaiter(ctx, short)
				defer w.Close()
				c.before(t, w, cancel)
				got, err := Get(w, "x", "/x", func() (int, error) { time.Sleep(c.takes); return 7, nil })
				if got != 7 || err != nil {
					t.Errorf("%v, %v; want 7", got, err)
				}
			})
		})
	}
}

type closer struct{ atomic.Int64 }

func (c *closer) Close() error { c.Add(1); return nil }

func TestWhatComesTooLateIsClosed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want int64
	}{{"a value", nil, 1}, {"an error", os.ErrPermission, 0}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				late := new(closer)
				v, err := Get(newWaiter(t.Context(), short), "x", "/x", func() (*closer, error) {
					time.Sleep(time.Hour)
					return late, c.err
				})
				if none := (*NoAnswer)(nil); v != nil || !errors.As(err, &none) {
					t.Errorf("%v, %v; want no answer", v, err)
				}
				time.Sleep(2 * time.Hour)
				if late.Load() != c.want {
					t.Errorf("closed %d times, want %d", late.Load(), c.want)
				}
			})
		})
	}
}
