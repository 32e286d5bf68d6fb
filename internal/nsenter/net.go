package nsenter

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// Kind is a kind of namespace that a thread can join alone.
type Kind struct {
	name string // in /proc/PID/ns
	flag int    // of setns(2)
}

// The kinds.
var (
	Net = Kind{"net", unix.CLONE_NEWNET}
	IPC = Kind{"ipc", unix.CLONE_NEWIPC}
)

// In runs f on a thread in process pid's namespaces of these kinds, but in our own
// mount namespace: the host's /proc/sys then shows, and sets, that process's
// values. A namespace that is also ours is refused: what f does to it would be
// done to the host. f starts no goroutine and executes nothing.
func In(pid int, kinds []Kind, f func() error) error {
	var spaces []*os.File
	defer func() {
		for _, s := range spaces {
			s.Close()
		}
	}()
	for _, kind := range kinds {
		ns, err := open.File(process.Path(pid, "ns/"+kind.name), unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		spaces = append(spaces, ns)
		if ours, err := isOf(ns, "/proc/self/ns/"+kind.name); err != nil || ours {
			return errors.Join(err, fmt.Errorf("the %s namespace of process %d is the host's", kind.name, pid))
		}
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		for i, kind := range kinds {
			if err := unix.Setns(int(spaces[i].Fd()), kind.flag); err != nil {
				done <- os.NewSyscallError("setns", err)
				return
			}
		}
		done <- f()
	}()
	return <-done
}

// isOf tells whether an open namespace is the one at path.
func isOf(ns *os.File, path string) (bool, error) {
	theirs, err := ns.Stat()
	if err != nil {
		return false, err
	}
	ours, err := os.Stat(path)
	return err == nil && os.SameFile(theirs, ours), err
}

// InNet runs f on a thread in the network namespace ns. f starts no goroutine
// and executes nothing; a socket that it opens stays in the namespace.
func InNet(ns *os.File, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- os.NewSyscallError("setns", err)
			return
		}
		done <- f()
	}()
	return <-done
}
