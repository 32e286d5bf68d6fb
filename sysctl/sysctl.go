// Package sysctl sets kernel parameters for a container that has a user
// namespace of its own: its runtime cannot, and its /proc is not to be
// trusted. Only what belongs to a namespace can be set: anything else would be
// the host's.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
)

// namespaced lists the parameters that each network or IPC namespace has for
// itself (namespaces(7), ipc_namespaces(7)). One that ends in a dot or an
// asterisk stands for all that begin so.
var namespaced = [...]string{"net.", "kernel.shm*", "kernel.msg*", "kernel.sem", "fs.mqueue."}

// Check refuses parameters that are not a container's.
func Check(values map[string]string) error {
	for key := range values {
		if _, err := file(key); err != nil {
			return err
		}
	}
	return nil
}

// Set sets parameters in the namespaces of process pid, through the host's
// /proc/sys. uid is the root of the user namespace that owns them, on the host:
// since Linux 5.19 it alone may write those of IPC.
func Set(pid, uid int, values map[string]string) error {
	if err := Check(values); err != nil || len(values) == 0 {
		return err
	}
	return nsenter.InNetIPC(pid, func() error {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			name, err := file(key)
			if err != nil {
				return err
			}
			err = write(name, values[key])
			if errors.Is(err, fs.ErrPermission) && uid >= 0 {
				err = as(uid, func() error { return write(name, values[key]) })
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func write(name, value string) error {
	f, err := open.File(name, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return open.WriteTo(f, value)
}

// as runs f with the effective user id uid, on this thread only: package
// syscall would change all of them.
func as(uid int, f func() error) error {
	const keep = ^uintptr(0)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); e != 0 {
		return os.NewSyscallError("setresuid", e)
	}
	err := f()
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); e != 0 {
		return os.NewSyscallError("setresuid", e)
	}
	return err
}

// file is the parameter's file. Both spellings are known, net.ipv4.ip_forward
// and net/ipv4/ip_forward; in the second a dot is part of a name.
func file(key string) (string, error) {
	dots := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		dots = strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	known := slices.ContainsFunc(namespaced[:], func(n string) bool {
		prefix := strings.TrimSuffix(n, "*")
		return dots == n || prefix != n && strings.HasPrefix(dots, prefix) || strings.HasSuffix(n, ".") && strings.HasPrefix(dots, n)
	})
	name := "/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(dots)
	if !known || path.Clean(name) != name {
		return "", fmt.Errorf("sysctl %q: not a parameter of a container's network or IPC namespace", key)
	}
	return name, nil
}
