// Package nsenter runs functions inside another process's mount namespace.
//
// A thread that has entered a mount namespace is never given back to the Go
// runtime: it stays locked to its goroutine and ends with it. Nothing is
// forked or executed. The caller's main goroutine must be locked to the
// start-up thread (internal/startup), because that one thread cannot end.
package nsenter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// Mount is a thread inside a mount namespace. Its working directory is the
// host's /proc/self/fd, so that a descriptor, opened by anyone in this
// process, is reached by the relative path FD(fd): neither a path of the
// container nor a /proc of the container is trusted.
type Mount struct {
	ns, fds *os.File    // until the thread is started
	work    chan func() // nil until then
	whose   string
	wait    *deadline.Waiter
	stuck   error // why the thread can be given nothing more
}

// ErrHostMount says that a container has the host's mount namespace. Nothing is
// ever mounted there in a container's name.
var ErrHostMount = errors.New("the container has no mount namespace of its own, it uses the host's: give it one (linux.namespaces in its config.json)")

// EnterMount opens the way into the mount namespace of process pid. The thread
// starts when there is something to do: many a command has nothing to mount,
// and where a service must not change namespaces, it need not. What is done there is
// waited for by w, and the namespace is whose, in errors.
func EnterMount(pid int, whose string, w *deadline.Waiter) (*Mount, error) {
	ns, err := openMount(pid)
	if err != nil {
		return nil, err
	}
	fds, err := open.File("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		ns.Close()
		return nil, err
	}
	return &Mount{ns: ns, fds: fds, whose: whose, wait: w}, nil
}

// CheckMount returns the error that EnterMount would.
func CheckMount(pid int) error {
	ns, err := openMount(pid)
	ns.Close()
	return err
}

func openMount(pid int) (*os.File, error) {
	ns, err := open.File(process.Path(pid, "ns/mnt"), unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	ours, err := isOf(ns, "/proc/self/ns/mnt")
	if err == nil && !ours {
		// We may be in a service's own, and need not see the first process.
		ours, _ = isOf(ns, "/proc/1/ns/mnt")
	}
	if ours {
		err = ErrHostMount
	}
	if err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// start starts the thread.
func (m *Mount) start() error {
	work, entered := make(chan func()), make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		err := enter(m.ns, m.fds)
		entered <- err
		if err != nil {
			return
		}
		for f := range work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		return fmt.Errorf("enter %s: %w", m.ns.Name(), err)
	}
	m.work = work
	m.closeFiles()
	return nil
}

func (m *Mount) closeFiles() {
	m.ns.Close()
	m.fds.Close()
	m.ns, m.fds = nil, nil
}

func enter(ns, fds *os.File) error {
	// The kernel moves no thread that shares its root and working directory.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("setns", err)
	}
	return os.NewSyscallError("fchdir", unix.Fchdir(int(fds.Fd())))
}

// Do runs f on the thread. f starts no goroutine and executes nothing. When f does
// not return for too long, it and the thread are left to themselves.
func (m *Mount) Do(f func() error) error {
	if m.stuck != nil {
		return m.stuck
	}
	if m.work == nil {
		if err := m.start(); err != nil {
			return err
		}
	}
	done := make(chan struct{})
	var err error
	m.work <- func() {
		err = f()
		close(done)
	}
	if late := m.wait.For(m.whose, "the mount namespace", done); late != nil {
		m.stuck = late
		return late
	}
	return err
}

// Thread returns the number of the thread, by which /proc has what it sees.
func (m *Mount) Thread() (int, error) {
	id := make(chan int, 1)
	err := m.Do(func() error { id <- unix.Gettid(); return nil })
	if err != nil {
		return 0, err
	}
	return <-id, nil
}

// Close ends the thread, if there is one.
func (m *Mount) Close() {
	if m.work == nil {
		m.closeFiles()
		return
	}
	close(m.work)
}

// FD is the path of an open file as seen by the thread.
func FD(f *os.File) string { return strconv.Itoa(int(f.Fd())) }
