package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A runtime kills a hook after 30 s. The hook gives up earlier, so that it can undo
// its work and report the reason.
const (
	hookTimeout  = 25 * time.Second
	hookLockWait = 10 * time.Second
)

// errNoEnd says that standard input was not closed in time: a runtime that
// never closes it must not keep the container waiting for ever.
var errNoEnd = errors.New("the runtime did not close it in time")

// readAll reads to the end, or until ctx is done. A file is waited for by
// poll(2), for which no other thread is needed.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	if f, ok := in.(*os.File); ok {
		in = pollReader{ctx, f}
	}
	data, err := io.ReadAll(io.LimitReader(in, maxStateInput+1))
	if err == nil && len(data) > maxStateInput {
		return nil, fmt.Errorf("larger than %d bytes", maxStateInput)
	}
	return data, err
}

// pollReader reads from a file, which may be a pipe and non-blocking, and waits
// no longer than until its context ends.
type pollReader struct {
	ctx context.Context
	f   *os.File
}

func (p pollReader) Read(b []byte) (int, error) {
	for {
		wait := -1
		if end, ok := p.ctx.Deadline(); ok {
			wait = max(0, int(time.Until(end).Milliseconds()))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.f.Fd()), Events: unix.POLLIN}}, wait)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		case n == 0:
			return 0, errNoEnd
		}
		n, err = unix.Read(int(p.f.Fd()), b)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
