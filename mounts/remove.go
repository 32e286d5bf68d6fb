package mounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// remove unmounts what b has in the container, and nothing else: it goes by
// what is mounted, not by the path only, which the container may lead elsewhere.
// One that is gone is fine. The mount point stays, as it always did: the image
// may have had it before. The transfer mounts are settle's.
func remove(_ context.Context, t *resource.Target, b Bind) error {
	trees, err := treesOf(t, b)
	if err != nil {
		return err
	}
	point, err := openPoint(t, b.Container)
	if err != nil {
		return err
	}
	if point != nil {
		defer point.Close()
	}
	on, at, hidden, err := look(t, b, trees, point)
	if err != nil {
		return err
	}
	if on != nil && slices.Contains(trees, on.tree) {
		err := t.NS.Do(func() error { return detachAlone(point, nsenter.FD) })
		// EINVAL: point is a directory in a mount of the same tree.
		if !errors.Is(err, unix.EINVAL) || on.point == at {
			return err
		}
	}
	if hidden != nil {
		return hidden
	}
	// The host path may have been another tree when it was added.
	if on != nil && on.point == at && filepath.Clean(b.Container) != "/" && slices.ContainsFunc(trees, on.sameDevice) {
		return fmt.Errorf("%s in the container is a mount of %s, not of the recorded host path: unmount it there first, if it is an old mount of that path", b.Container, command.Printable(on.root))
	}
	return nil
}

// Lost tells whether a container that runs lacks what is recorded for it: the
// command that recorded it was killed, or the container has unmounted it.
func Lost(ctx context.Context, t *resource.Target, b Bind) (bool, error) {
	if verify(ctx, t, b) == nil {
		return false, nil
	}
	trees, err := treesOf(t, b)
	if err != nil {
		return false, err
	}
	_, _, hidden, err := look(t, b, trees, nil)
	return hidden == nil && err == nil, errors.Join(hidden, err)
}

// openPoint opens what is at path in the container; nil: nothing is.
func openPoint(t *resource.Target, path string) (*os.File, error) {
	if filepath.Clean(path) == "/" && t.Pivoted {
		return openTop(t)
	}
	f, err := t.Root.Open(path, unix.O_PATH)
	if isNone(err) {
		return nil, nil
	}
	return f, err
}

// openTop opens what is mounted on the container's root directory. Its own
// processes do not see that; one that comes into its namespace does.
func openTop(t *resource.Target) (f *os.File, err error) {
	ns, err := nsenter.EnterMount(t.Init.PID, "container "+t.ID, t.Wait)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = ns.Do(func() error {
		f, err = open.File("/", unix.O_PATH|unix.O_DIRECTORY, 0)
		return err
	})
	return f, err
}

// look looks through the container's mounts, once, for the one that point is on, if
// there is a point, and its path. hidden says that b's own cannot be reached: it is
// there, but something is mounted over it, or over a directory above.
func look(t *resource.Target, b Bind, trees []tree, point *os.File) (on *mount, at string, hidden, err error) {
	root, err := t.Root.Open("/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, "", nil, err
	}
	defer root.Close()
	top, err := pathOf(root)
	if err != nil {
		return nil, "", nil, err
	}
	if point == nil {
		point = root
	}
	place := filepath.Join(top, b.Container)
	on, at, err = mountOf(point, t.Init.PID, func(m *mountpoint.Mount) {
		if hidden == nil && m.Point.Is(place) && anyIsOf(trees, m) {
			hidden = fmt.Errorf("something else is mounted over %s in the container: unmount that there first", b.Container)
		}
	})
	if point == root {
		on = nil
	}
	return on, at, hidden, err
}

// settle makes what is behind the mounts follow the records: transfer mounts
// that no record needs any more go, and what was mounted below a path that is
// gone comes back, on what that had hidden.
func settle(ctx context.Context, t *resource.Target, now, gone []Bind) error {
	errs := []error{sweep(t.ID, now)}
	for _, b := range now {
		if slices.ContainsFunc(gone, b.below) && b.servable(t.Wait) {
			errs = append(errs, apply(ctx, t, b))
		}
	}
	return errors.Join(errs...)
}

// servable tells whether b is no record that a start skips, and its host path is
// there.
func (b Bind) servable(w *deadline.Waiter) bool {
	_, _, err := resolve(b)
	return err == nil && b.Exists(w) == nil
}

// below tells whether b's container path lies below other's.
func (b Bind) below(other Bind) bool {
	above := strings.TrimSuffix(filepath.Clean(other.Container), "/") + "/"
	return strings.HasPrefix(filepath.Clean(b.Container), above)
}

// sweep removes the transfer mounts of a container that serve none of records.
// Removing the mount point on the host unmounts it everywhere: also inside.
func sweep(id string, records []Bind) error {
	used := map[string]bool{}
	for _, b := range records {
		used[sha(b.Host)] = true
	}
	var errs []error
	// As they were made, the other way round.
	for _, dir := range []string{filepath.Join(place.Master, id), filepath.Join(place.Midpath, id)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if name := e.Name(); !isSHA(name) || used[name] {
				continue
			}
			// ENOTEMPTY: the container has put something there, which is no reason
			// to give it back what is unmounted.
			if err := mountpoint.Remove(filepath.Join(dir, e.Name())); !errors.Is(err, unix.ENOTEMPTY) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// isSHA tells transfer mounts from device nodes, which lie beside them.
func isSHA(name string) bool {
	sum, err := hex.DecodeString(name)
	return err == nil && len(sum) == sha256.Size
}
