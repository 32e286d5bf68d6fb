package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
// no longer than wait. Of a container that is being removed it is ErrRemoved: whoever
// removes the directory must not find a file made anew in it.
func LockContainer(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
	had := hasSpec(dir)
	if !had && isHalfRemoved(dir) {
		return nil, removed(dir)
	}
	path := filepath.Join(dir, LockName)
	lock, err := LockFile(ctx, path, wait)
	if err != nil || !had || hasSpec(dir) && isLinked(lock.f) {
		return lock, err
	}
	err = errors.Join(removed(dir), ignoreMissing(os.Remove(path)))
	lock.Unlock()
	return nil, err
}

// ErrRemoved says that a container is being removed by its engine.
var ErrRemoved = errors.New("the container is being removed")

func removed(dir string) error { return fmt.Errorf("%s: %w", dir, ErrRemoved) }

// hasSpec tells whether a state directory has the container's specification, which is
// not there any more when it is being removed.
func hasSpec(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "config.json"))
	return err == nil
}

// isHalfRemoved tells whether iSulad has files in a state directory that is not complete.
func isHalfRemoved(dir string) bool {
	return slices.ContainsFunc([]string{"config.v2.json", "hostconfig.json", "container_state.json"}, func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err == nil
	})
}

// isLinked tells whether an open file has a name still.
func isLinked(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 0
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// LockFile takes the lock of a file that exists for nothing else.
func LockFile(ctx context.Context, path string, wait time.Duration) (*Lock, error) {
	f, err := open.Regular(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
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

// ErrBusy says that somebody else kept a lock for longer than one would wait.
var ErrBusy = errors.New("another command holds it")

// flock takes the lock of an open file. Waiters queue in the kernel, where none spins
// or starves. flock(2) has no time-out: a waiter that gives up leaves a goroutine, which
// releases the lock when it finally gets it. A free lock, the usual case, sets no timer.
func flock(ctx context.Context, f *os.File, wait time.Duration) (*Lock, error) {
	take := func(how int) error {
		return open.Again(func() error { return unix.Flock(int(f.Fd()), how) })
	}
	fail := func(err error) (*Lock, error) {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	switch err := take(unix.LOCK_EX | unix.LOCK_NB); {
	case err == nil:
		return &Lock{f}, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return fail(err)
	}
	limit := wait
	if end, ok := ctx.Deadline(); ok {
		limit = min(wait, time.Until(end))
	}
	busy := fmt.Errorf("lock %s: %w for more than %v; find it with fuser(1)", f.Name(), ErrBusy, wait)
	if limit <= 0 {
		f.Close()
		return nil, busy
	}
	timer, ended := time.NewTimer(limit), ctx.Done()
	defer timer.Stop()
	done, gone := make(chan error), make(chan struct{})
	go func() {
		err := take(unix.LOCK_EX)
		select {
		case done <- err:
		case <-gone:
			f.Close()
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			return fail(err)
		}
		return &Lock{f}, nil
	case <-ended:
		if errors.Is(ctx.Err(), context.Canceled) {
			busy = fmt.Errorf("lock %s: %w", f.Name(), context.Cause(ctx))
		}
	case <-timer.C:
	}
	close(gone)
	return nil, busy
}

// Unlock lets the next one in.
func (l *Lock) Unlock() { l.f.Close() }
