package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// LockName is the file in the state directory on which the tool, of either
// generation, takes its flock.
const LockName = ".device_hook.lock"

// Lock holds a flock until Unlock, or until the process ends.
type Lock struct{ f *os.File }

// LockContainer takes the container's lock in its state directory. It waits
// no longer than wait.
func LockContainer(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
	return LockFile(ctx, filepath.Join(dir, LockName), wait)
}

// LockFile takes the lock of a file, which is made when there is none.
func LockFile(ctx context.Context, path string, wait time.Duration) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return flock(ctx, f, wait)
}

// LockDir takes the lock of a directory that is shared by all containers.
func LockDir(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return flock(ctx, f, wait)
}

func flock(ctx context.Context, f *os.File, wait time.Duration) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fail := func(err error) (*Lock, error) {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	err := flockRetry(f, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return &Lock{f}, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fail(err)
	}
	// flock(2) itself knows no time-out, but a queue, in which nobody starves and
	// nobody spins. Who gives up leaves it to the goroutine to give the lock back.
	done := make(chan error)
	go func() {
		err := flockRetry(f, unix.LOCK_EX)
		select {
		case done <- err:
		case <-ctx.Done():
			f.Close()
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			return fail(err)
		}
		return &Lock{f}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("lock %s: another command holds it for more than %v; find it with fuser(1)", f.Name(), wait)
	}
}

func flockRetry(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Unlock lets the next one in.
func (l *Lock) Unlock() { l.f.Close() }
