package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnEndIsKnownAndComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := After(time.Minute)
		if end, ok := ctx.Deadline(); !ok || time.Until(end) != time.Minute || ctx.Err() != nil {
			t.Errorf("ends at %v, %v; %v; want in a minute", end, ok, ctx.Err())
		}
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		begun := time.Now()
		<-child.Done()
		if took := time.Since(begun); took != time.Minute || !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v: %v, %v", took, ctx.Err(), child.Err())
		}
	})
}

func TestAnEndThatIsPastHasCome(t *testing.T) {
	t.Parallel()
	ctx := After(-time.Second)
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%v", ctx.Err())
	}
	select {
	case <-ctx.Done():
	default:
		t.Error("it has ended, but is not done")
	}
}

// A hook that waits for nothing pays for no timer.
func TestNobodyWaitsForNothing(t *testing.T) {
	ctx := After(time.Hour)
	if n := testing.AllocsPerRun(100, func() { _ = ctx.Err(); _, _ = ctx.Deadline() }); n != 0 || ctx.(*after).done != nil {
		t.Errorf("%v allocations, a timer %v; want neither", n, ctx.(*after).done != nil)
	}
}
