package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
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

// LockFile takes the lock of a file that exists for nothing else.
func LockFile(ctx context.Context, path string, wait time.Duration) (*Lock, error) {
	f, err := open.File(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return flock(ctx, f, wait)
}

// LockDir takes the lock of a directory that is shared by all containers.
func LockDir(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
	f, err := open.File(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return flock(ctx, f, wait)
}

// LockFile takes the lock of a file, which is made when there is none. Many may
// want it at once: they wait in the kernel's queue, where nobody spins and nobody
// starves. flock(2) knows no time-out, so who gives up leaves it to a goroutine to
// give the lock back.
func LockFile(ctx context.Context, path string, wait time.Duration) (*Lock, error) {
	f, err := open.File(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	take := func(how int) error {
		_, err := open.Retry(func() (int, error) { return 0, unix.Flock(int(f.Fd()), how) })
		return err
	}
	fail := func(err error) (*Lock, error) {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	switch err := take(unix.LOCK_EX | unix.LOCK_NB); {
	case err == nil:
		return &Lock{f}, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	done := make(chan error)
	go func() {
		err := take(unix.LOCK_EX)
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
		return nil, busy(path, wait)
	}
}

// ErrBusy says that somebody else kept a lock for longer than one would wait.
var ErrBusy = errors.New("another command holds it")

func busy(path string, wait time.Duration) error {
	return fmt.Errorf("lock %s: %w for more than %v; find it with fuser(1)", path, ErrBusy, wait)
}

func flock(ctx context.Context, f *os.File, wait time.Duration) (*Lock, error) {
	// flock(2) itself knows no time-out. No timer is set for what is nearly
	// always free.
	end := time.Now().Add(wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return &Lock{f}, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		if ctx.Err() != nil || time.Now().After(end) {
			f.Close()
			return nil, busy(f.Name(), wait)
		}
		time.Sleep(pause)
	}
}

// Unlock lets the next one in.
func (l *Lock) Unlock() { l.f.Close() }
