// Package network gives containers links and routes: pairs whose other end is in
// a bridge of the host, and links of the host itself. It keeps a name for a
// container's network namespace that outlives its processes, so that what the
// host lent comes back. It does not know which container is meant or why.
package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/undo"
)

// Pin mounts the network namespace of process pid on <run dir>/netns/<id>. A
// leftover of an earlier start there is replaced, never trusted.
func Pin(g place.Generation, id string, pid int) (err error) {
	// Compat: hook-prestart-no-config, the modes of both directories.
	if err := mountpoint.Mkdir(g.RunDir, 0o644); err != nil {
		return err
	}
	if err := mountpoint.Mkdir(g.NetNS(), 0o600); err != nil {
		return err
	}
	ns, err := open.File(process.Path(pid, "ns/net"), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer ns.Close()
	path := filepath.Join(g.NetNS(), id)
	if err := mountpoint.Remove(path); err != nil {
		return err
	}
	var u undo.Stack
	defer u.OnError(&err)
	f, err := open.File(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	u.Push("remove "+path, func() error { return os.Remove(path) })
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin network namespace of process %d on %s: %w", pid, path, err)
	}
	return nil
}

// Unpin removes the container's pin of either generation.
func Unpin(id string) error {
	var errs []error
	for _, g := range place.Generations {
		errs = append(errs, mountpoint.Remove(filepath.Join(g.NetNS(), id)))
	}
	return errors.Join(errs...)
}
