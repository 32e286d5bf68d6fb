// Package deadline bounds what may never return: a program by a context's end, and
// system calls on a file system that somebody else answers for, such as one in user
// space (FUSE) that a container has mounted.
package deadline

import (
	"context"
	"sync"
	"time"
)

// After returns a context that ends after d. Its timer starts when somebody waits
// for that: most hooks wait for nothing, and a timer costs them more than all of
// their locks.
func After(d time.Duration) context.Context { return &after{end: time.Now().Add(d)} }

type after struct {
	end  time.Time
	once sync.Once
	done chan struct{}
}

// Deadline implements context.Context.
func (a *after) Deadline() (time.Time, bool) { return a.end, true }

// Done implements context.Context.
func (a *after) Done() <-chan struct{} {
	a.once.Do(func() {
		a.done = make(chan struct{})
		if left := time.Until(a.end); left > 0 {
			time.AfterFunc(left, func() { close(a.done) })
		} else {
			close(a.done) // at once, as Err says
		}
	})
	return a.done
}

// Err implements context.Context.
func (a *after) Err() error {
	if time.Now().Before(a.end) {
		return nil
	}
	return context.DeadlineExceeded
}

// Value implements context.Context.
func (a *after) Value(any) any { return nil }
