// Package sysctl sets kernel parameters for a container that has a user
// namespace of its own: its runtime cannot, and its /proc is not to be
// trusted. Only what belongs to a namespace can be set: anything else would be
// the host's.
package sysctl

import (
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/nsenter"
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
// /proc/sys.
func Set(pid int, values map[string]string) error {
	if err := Check(values); err != nil || len(values) == 0 {
		return err
	}
	return nsenter.InNetIPC(pid, func() error {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			name, err := file(key)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString(values[key])
			f.Close()
			if err != nil {
				return fmt.Errorf("write %q: %w", values[key], err)
			}
		}
		return nil
	})
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
