package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// interrupts are the signals by which a person ends a command. As long as nothing has
// changed they end whatever the command waits for, and the second one the command.
// While a change is under way, half of which is for nobody, they are ignored, but for a
// file system that does not answer: what is waited for there is undone.
type interrupts struct {
	once     sync.Once
	ctx      context.Context
	changing atomic.Bool
}

// interrupted is the reason why a command ended.
type interrupted struct{ by os.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("interrupted (%s)", i.by) }

// context ends at the first signal.
func (i *interrupts) context() context.Context {
	i.once.Do(func() {
		ctx, cancel := context.WithCancelCause(context.Background())
		i.ctx = ctx
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM)
		go func() {
			for s := range signals {
				cancel(interrupted{s})
				if !i.changing.Load() {
					signal.Reset(unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM)
				}
			}
		}()
	})
	return i.ctx
}

// begin begins a change, unless there was a signal.
func (i *interrupts) begin() error {
	ctx := i.context()
	i.changing.Store(true)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
