package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// binds are directories of the host in the container, by way of the shared
// path, with the default options.
var binds = kind{
	prepare: func(_ *world, n int) error {
		for i := range n {
			if err := os.MkdirAll(bindSource(i), 0o755); err != nil {
				return err
			}
		}
		return nil
	},
	records: func(_ *world, n int) map[string]any {
		list := make([]string, n)
		for i := range list {
			list[i] = bindSource(i) + ":" + bindTarget(i) + ":rw,rslave"
		}
		return map[string]any{"bindToAdd": list}
	},
	bare: bareBinds,
	check: func(w *world, n int) error {
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", w.PID))
		if err != nil {
			return err
		}
		if got := bytes.Count(mounts, []byte(" "+rootfs+"/bound")); got != n {
			return fmt.Errorf("the container has %d of %d binds", got, n)
		}
		return nil
	},
}

func bindSource(i int) string { return fmt.Sprintf("%s/dir%d", host, i) }

func bindTarget(i int) string { return fmt.Sprintf("/bound%d", i) }

// bareBinds takes each directory into the container by the least of calls: one
// bind gets the options, the second one propagates into the container's shared
// path, the third puts it where it is wanted.
func bareBinds(w *world, n int) (func() error, error) {
	mid, master := shared+"/midpath/"+id, shared+"/master/"+id
	if err := os.MkdirAll(mid, 0o600); err != nil {
		return nil, err
	}
	name := func(i int) string { return fmt.Sprintf("%064d", i) }
	inside, err := enter(w.PID)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer close(inside)
		for i := range n {
			a, b := filepath.Join(mid, name(i)), filepath.Join(master, name(i))
			if err := bareBind(bindSource(i), a, unix.MS_SLAVE|unix.MS_REC); err != nil {
				return err
			}
			if err := bareBind(a, b, unix.MS_SLAVE|unix.MS_REC); err != nil {
				return err
			}
		}
		done := make(chan error)
		inside <- func() {
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = bareBind(rootfs+shared+"/"+name(i), rootfs+bindTarget(i), 0)
			}
			done <- err
		}
		return <-done
	}, nil
}

func bareBind(source, target string, propagation uintptr) error {
	err := unix.Mkdir(target, 0o755)
	if err == nil {
		err = unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, "")
	}
	if err == nil && propagation != 0 {
		err = unix.Mount("", target, "", propagation, "")
	}
	if err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, target, err)
	}
	return nil
}

// enter returns what runs functions on a thread in the mount namespace of a
// process, until it is closed.
func enter(pid int) (chan<- func(), error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	work, entered := make(chan func()), make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		entered <- errors.Join(
			os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_FS)),
			os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)),
		)
		for f := range work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		close(work)
		return nil, err
	}
	return work, nil
}
