package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlyOneHoldsTheContainersLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inside, most := 0, 0
	var m sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l, err := LockContainer(t.Context(), dir, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			m.Lock()
			inside++
			most = max(most, inside)
			m.Unlock()
			time.Sleep(2 * time.Millisecond)
			m.Lock()
			inside--
			m.Unlock()
			l.Unlock()
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d held it at once", most)
	}
}

func TestWaitingForALockIsBoundedAndSaysWhoToAsk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := LockContainer(t.Context(), dir, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	_, err = LockContainer(t.Context(), dir, 20*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, LockName)) || !strings.Contains(err.Error(), "20ms") {
		t.Errorf("%v, want an error that names the file and the time", err)
	}
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := LockContainer(t.Context(), dir, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody pressed a key")
	cancel(why)
	// An hour would be the test binary's time-out.
	if _, err := LockContainer(ctx, dir, time.Hour); !errors.Is(err, why) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v, want %v and the lock", err, why)
	}
}

func TestAFreeLockIsTakenAlsoWithoutTimeToWait(t *testing.T) {
	t.Parallel()
	l, err := LockContainer(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

// The old tool locks the same file in the same way, so the two exclude each
// other during an upgrade.
func TestTheLockIsTheOldToolsFlock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := LockContainer(t.Context(), dir, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, ".device_hook.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("flock while it is held: %v", err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || info.Size() != 0 {
		t.Errorf("the lock file is %v, %d bytes; want an empty one, 0600", info.Mode(), info.Size())
	}
	l.Unlock()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("flock after Unlock: %v", err)
	}
}

func TestALockIsNotInherited(t *testing.T) {
	t.Parallel()
	l, err := LockContainer(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	// A program that we execute would hold it until its end.
	flags, err := unix.FcntlInt(l.f.Fd(), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("the descriptor stays open across exec")
	}
}

func TestALockFileThatIsALinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(target, filepath.Join(dir, LockName)); err != nil {
		t.Fatal(err)
	}
	if _, err := LockContainer(t.Context(), dir, 0); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v, want ELOOP", err)
	}
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target was made: %v", err)
	}
}

func TestLockingNeedsTheStateDirectory(t *testing.T) {
	t.Parallel()
	if _, err := LockContainer(t.Context(), filepath.Join(t.TempDir(), "gone"), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
}

func TestADirectoryIsLockedItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := LockDir(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(t.Context(), dir, time.Millisecond); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("locked twice: %v", err)
	}
	l.Unlock()
	if l, err = LockDir(t.Context(), dir, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("locking left %v, %v", entries, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(t.Context(), file, 0); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v, want ENOTDIR", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(t.Context(), link, 0); err == nil {
		t.Error("a link was followed")
	}
}
