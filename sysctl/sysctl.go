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
// itself (namespaces(7), ipc_namespaces(7)). A name that ends in a dot or an
// asterisk stands for all that begin so.
var namespaced = [...]family{
	{"net.", nsenter.Net},
	{"kernel.shm*", nsenter.IPC},
	{"kernel.msg*", nsenter.IPC},
	{"kernel.sem", nsenter.IPC},
	{"fs.mqueue.", nsenter.IPC},
}

// global lists what the kernel shows, writable, in every network namespace and has
// only once. Most of what is the host's alone needs no list: it is not there in
// another namespace, or read-only. Since Linux 5.13 (ensure_safe_net_sysctl) that
// is so of every plain variable.
var global = [...]string{
	"net.netfilter.nf_hooks_lwtunnel",         // has a handler, and cannot be reset
	"net.netfilter.nf_conntrack_max",          // before 5.13
	"net.netfilter.nf_conntrack_buckets",      // before 5.13
	"net.netfilter.nf_conntrack_expect_max",   // before 5.13
	"net.ipv4.tcp_allowed_congestion_control", // before 5.12
	"net.ipv4.vs.debug_level",                 // before 5.15
}

type family struct {
	key  string
	kind nsenter.Kind
}

// has tells whether a parameter, in the spelling with dots, is of the family.
func (f family) has(key string) bool {
	prefix := strings.TrimSuffix(f.key, "*")
	return key == f.key || (prefix != f.key || strings.HasSuffix(f.key, ".")) && strings.HasPrefix(key, prefix)
}

// Check refuses parameters that are not a container's.
func Check(values map[string]string) error {
	_, err := parse(values)
	return err
}

// parameter is one that is to be set.
type parameter struct {
	key, file, value string
	kind             nsenter.Kind
	host             *os.File // the host's own, where it has one
}

// Set sets parameters in the namespaces of process pid, through the host's
// /proc/sys: all of them, or none that is not a container's. Only namespaces that
// have a parameter to set need be the container's own. uid is the root of the user
// namespace that owns them, on the host: since Linux 5.19 it alone may write those
// of IPC.
func Set(pid, uid int, values map[string]string) error {
	list, err := parse(values)
	if err != nil || len(list) == 0 {
		return err
	}
	var kinds []nsenter.Kind
	for i, p := range list {
		if !slices.Contains(kinds, p.kind) {
			kinds = append(kinds, p.kind)
		}
		list[i].host, _ = open.File(p.file, unix.O_PATH, 0)
		defer list[i].host.Close()
	}
	return nsenter.In(pid, kinds, func() error {
		for _, p := range list {
			if err := p.check(); err != nil {
				return err
			}
		}
		for _, p := range list {
			err := write(p.file, p.value)
			if errors.Is(err, fs.ErrPermission) && uid >= 0 {
				err = withEUID(uid, func() error { return write(p.file, p.value) })
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// check refuses, in the container's namespaces, a parameter of the network that the
// kernel does not have for each of them. Those of IPC are one file for all
// namespaces before Linux 5.19, though each has its own values.
func (p parameter) check() error {
	if p.kind != nsenter.Net {
		return nil
	}
	var st, hosts unix.Stat_t
	switch err := unix.Stat(p.file, &st); {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("sysctl %q: the container's network namespace has no such parameter: load the kernel module that has it; if the kernel has it once for all namespaces, set it on the host, and remove it from the container's specification", p.key)
	case err != nil:
		return &fs.PathError{Op: "stat", Path: p.file, Err: err}
	}
	if p.host != nil {
		if err := unix.Fstat(int(p.host.Fd()), &hosts); err != nil {
			return os.NewSyscallError("fstat", err)
		}
	}
	// Each namespace has files of its own for what is its own.
	if st.Ino == hosts.Ino || st.Mode&0o222 == 0 {
		return p.errNotNamespaced()
	}
	return nil
}

func (p parameter) errNotNamespaced() error {
	return fmt.Errorf("sysctl %q: the kernel has it once for all network namespaces: set it on the host, and remove it from the container's specification", p.key)
}

func write(name, value string) error {
	f, err := open.File(name, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return open.WriteTo(f, value)
}

// withEUID runs f with the effective user id uid, on this thread only: package
// syscall would change all of them.
func withEUID(uid int, f func() error) error {
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

// parse finds the files of the parameters, in the order of their names.
func parse(values map[string]string) ([]parameter, error) {
	var list []parameter
	for _, key := range slices.Sorted(maps.Keys(values)) {
		p, err := find(key)
		if err != nil {
			return nil, err
		}
		p.value = values[key]
		list = append(list, p)
	}
	return list, nil
}

// find knows both spellings, net.ipv4.ip_forward and net/ipv4/ip_forward; in the
// second a dot is part of a name.
func find(key string) (parameter, error) {
	dots := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		dots = strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	p := parameter{key: key, file: "/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(dots)}
	i := slices.IndexFunc(namespaced[:], func(f family) bool { return f.has(dots) })
	if i < 0 || path.Clean(p.file) != p.file {
		return p, fmt.Errorf("sysctl %q: not a parameter of a container's network or IPC namespace", key)
	}
	p.kind = namespaced[i].kind
	if slices.Contains(global[:], dots) {
		return p, p.errNotNamespaced()
	}
	return p, nil
}
