package nsenter

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// InNetIPC runs f on a thread in the network and IPC namespaces of process
// pid, but in our own mount namespace: the host's /proc/sys then shows, and
// sets, that process's values. A namespace that is also ours is refused: what
// f does to it would be done to the host. f starts no goroutine and executes
// nothing.
func InNetIPC(pid int, f func() error) error {
	var spaces []*os.File
	defer func() {
		for _, s := range spaces {
			s.Close()
		}
	}()
	for _, name := range []string{"net", "ipc"} {
		ns, err := open.File(fmt.Sprintf("/proc/%d/ns/%s", pid, name), unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		spaces = append(spaces, ns)
		theirs, err := ns.Stat()
		if err != nil {
			return err
		}
		ours, err := os.Stat("/proc/self/ns/" + name)
		if err != nil {
			return err
		}
		if os.SameFile(theirs, ours) {
			return fmt.Errorf("the %s namespace of process %d is the host's", name, pid)
		}
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		for i, flag := range []int{unix.CLONE_NEWNET, unix.CLONE_NEWIPC} {
			if err := unix.Setns(int(spaces[i].Fd()), flag); err != nil {
				done <- os.NewSyscallError("setns", err)
				return
			}
		}
		done <- f()
	}()
	return <-done
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
