package deadline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"isula.org/isulad-tools/internal/goroutine"
)

// limits are how long a Waiter waits. A file system that is only slow is waited for,
// also after an interrupt.
type limits struct {
	total         time.Duration // for all calls together
	uninterrupted time.Duration // what a call has before an interrupt counts
	// After that something is to be undone, and what else is to be done is of
	// file systems that answer.
	lateTotal time.Duration // for all calls together
	lateCall  time.Duration // for one of them
	minimum   time.Duration // what a call has in any case
}

// A person, and a runtime's time-out of 30 s, wait for all of it.
var defaultLimits = limits{total: 15 * time.Second, uninterrupted: time.Second, lateTotal: 2 * time.Second, lateCall: time.Second / 2, minimum: time.Second / 50}

// Waiter waits for system calls that may never return. A call that does not is left to
// itself, on its thread, which ends with the process. A nil Waiter waits for ever.
type Waiter struct {
	ctx context.Context
	limits

	mu     sync.Mutex
	left   time.Duration // of total, then of lateTotal
	over   bool          // total is used up, or ctx has ended
	idle   *caller
	closed bool
}

// NewWaiter returns a Waiter that waits no longer than until ctx ends.
func NewWaiter(ctx context.Context) *Waiter { return newWaiter(ctx, defaultLimits) }

func newWaiter(ctx context.Context, t limits) *Waiter {
	return &Waiter{ctx: ctx, limits: t, left: t.total}
}

// NoAnswer says that a file system did not answer.
type NoAnswer struct {
	Path, Whose string // what was waited for, and whose file system it is of
	Waited      time.Duration
	Interrupted bool
}

func (e *NoAnswer) Error() string {
	waited := fmt.Sprint("waited ", e.Waited.Round(time.Second/10))
	if e.Interrupted {
		waited = "interrupted, having " + waited
	}
	return fmt.Sprintf("%s for %s in %s: the file system there does not answer; see what serves it, and repeat", waited, e.Path, e.Whose)
}

// Do runs f and returns what it does. f makes system calls and nothing else: it may
// still run when Do has returned a *NoAnswer.
func (w *Waiter) Do(whose, path string, f func() error) error {
	_, err := Get(w, whose, path, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// Get is Do for what returns a value. A value that comes too late is closed, when that
// can be.
func Get[T any](w *Waiter, whose, path string, f func() (T, error)) (T, error) {
	if w == nil {
		return f()
	}
	var c struct {
		value T
		err   error
	}
	by := w.acquireCaller()
	by.calls <- func() {
		c.value, c.err = f()
		if by.settled.CompareAndSwap(false, true) {
			by.answered <- struct{}{}
		} else if late, ok := any(c.value).(io.Closer); ok && c.err == nil {
			late.Close()
		}
	}
	err := w.For(whose, path, by.answered)
	if err != nil && by.settled.CompareAndSwap(false, true) {
		close(by.calls)
		var none T
		return none, err
	}
	if err != nil {
		<-by.answered // at the last moment
	}
	w.releaseCaller(by)
	return c.value, c.err
}

// caller is a goroutine that makes calls for a Waiter. It is kept: a new one for each
// call would have to grow its stack first.
type caller struct {
	calls    chan func()
	answered chan struct{}
	settled  atomic.Bool // what becomes of the present call is decided
}

// acquireCaller returns a caller that is idle.
func (w *Waiter) acquireCaller() *caller {
	w.mu.Lock()
	by := w.idle
	w.idle = nil
	w.mu.Unlock()
	if by == nil {
		by = &caller{calls: make(chan func(), 1), answered: make(chan struct{}, 1)}
		go func() {
			goroutine.ReserveStack()
			for call := range by.calls {
				call()
			}
		}()
	}
	by.settled.Store(false)
	return by
}

// releaseCaller gives a caller back.
func (w *Waiter) releaseCaller(by *caller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle != nil || w.closed {
		close(by.calls)
		return
	}
	w.idle = by
}

// Close ends what is idle.
func (w *Waiter) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed = true; w.idle != nil {
		close(w.idle.calls)
		w.idle = nil
	}
}

// For waits until something comes from answered, and is Do for somebody else's call.
func (w *Waiter) For(whose, path string, answered <-chan struct{}) error {
	if w == nil {
		<-answered
		return nil
	}
	// Nearly always that is all: nobody sets a timer.
	runtime.Gosched()
	select {
	case <-answered:
		return nil
	default:
	}
	begun := time.Now()
	ok := w.await(answered)
	waited := time.Since(begun)
	w.spend(waited)
	if ok {
		return nil
	}
	return &NoAnswer{path, whose, waited, errors.Is(w.ctx.Err(), context.Canceled)}
}

// await tells whether something came from answered in time.
func (w *Waiter) await(answered <-chan struct{}) bool {
	allowed, ended := w.allowed(), w.ctx.Done()
	timer := time.NewTimer(min(allowed, w.uninterrupted))
	defer timer.Stop()
	select {
	case <-answered:
		return true
	case <-timer.C:
	}
	if allowed <= w.uninterrupted {
		return false
	}
	timer.Reset(allowed - w.uninterrupted)
	select {
	case <-answered:
		return true
	case <-timer.C:
	case <-ended:
	}
	return false
}

// allowed is how long a call may take that begins now.
func (w *Waiter) allowed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && (w.left <= 0 || w.ctx.Err() != nil) {
		w.over, w.left = true, w.lateTotal
	}
	if w.over {
		return max(w.minimum, min(w.lateCall, w.left))
	}
	return max(w.minimum, w.left)
}

func (w *Waiter) spend(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left -= d
}
