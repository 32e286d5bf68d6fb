package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ending are the signals by which a person ends a command.
var ending = []os.Signal{unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM}

// interrupts is a context that ends at the first of these signals. Before the first
// change that ends any wait of the command, and a second signal ends the command. During
// a change signals are ignored, because half a change would leave the container half
// configured. Only a wait for a file system that does not answer ends, and is undone.
//
// Most commands wait for nothing. Signals are handled, which takes a thread, from when
// somebody asks for Done: before that they do what they do to any program.
type interrupts struct {
	once     sync.Once
	handled  atomic.Pointer[context.Context]
	changing atomic.Bool
}

// interrupted is the reason why a command ended.
type interrupted struct{ by os.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("interrupted (%s)", i.by) }

// Done implements context.Context.
func (i *interrupts) Done() <-chan struct{} {
	i.once.Do(func() {
		ctx, cancel := context.WithCancelCause(context.Background())
		i.handled.Store(&ctx)
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, ending...)
		go func() {
			for s := range signals {
				cancel(interrupted{s})
				if !i.changing.Load() {
					signal.Reset(ending...)
				}
			}
		}()
	})
	return i.context().Done()
}

// context is what a signal ends, if one is handled.
func (i *interrupts) context() context.Context {
	if ctx := i.handled.Load(); ctx != nil {
		return *ctx
	}
	return context.Background()
}

// Err implements context.Context.
func (i *interrupts) Err() error { return i.context().Err() }

// Deadline implements context.Context.
func (i *interrupts) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context: the signal is the context's cause.
func (i *interrupts) Value(key any) any { return i.context().Value(key) }

// begin begins a change, unless there was a signal.
func (i *interrupts) begin() error {
	i.changing.Store(true)
	if i.handled.Load() == nil {
		signal.Ignore(ending...)
	}
	if i.Err() != nil {
		return context.Cause(i)
	}
	return nil
}
