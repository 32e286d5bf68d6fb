package mounts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// stagingName names the staging mounts of a host path, cleaned but not resolved.
func stagingName(host string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(host)))
	return hex.EncodeToString(sum[:])
}

// handOver puts the host tree on its way into the container, and opens it there; nil: the
// container is served directly. A running container's is tried first: what does not arrive
// is taken back.
func handOver(t *resource.Target, host *os.File, dir bool, b Bind, u *undo.Stack) (*os.File, error) {
	there := hasStaging(t, b)
	if sure, err := arrivalProves(t, there); err != nil {
		return nil, err
	} else if !sure {
		if err := t.FindSharedPath(); err != nil {
			return nil, err
		}
		if t.NoSharedPath != nil {
			return nil, removeUnarrived(t, b, there)
		}
	}
	var sent undo.Stack
	arrived, err := sendAndOpen(t, host, dir, b, &sent)
	if err == nil {
		u.Append(&sent)
		return arrived, nil
	}
	if err = errors.Join(err, sent.Undo()); errors.Is(err, undo.ErrLeft) {
		return nil, err
	}
	// Nothing arrived: perhaps the runtime has cut the shared path off.
	if e := t.FindSharedPath(); e != nil {
		return nil, errors.Join(err, e)
	}
	if t.NoSharedPath != nil {
		return nil, nil
	}
	return nil, err
}

// arrivalProves tells whether the arrival of a new staging mount proves that the running
// container's shared path still receives mounts: then the mount table, which takes longer
// to read, need not say so. Where there was a mount point before, something may have arrived
// before the shared path was cut off.
func arrivalProves(t *resource.Target, there bool) (bool, error) {
	if t.Detect == nil || there {
		return false, nil
	}
	shared, err := findShared(t)
	return shared.id != 0, err
}

// hasStaging tells whether b's host path has a mount point for a staging mount.
func hasStaging(t *resource.Target, b Bind) bool {
	return slices.ContainsFunc([]string{place.Master, place.Midpath}, func(dir string) bool {
		var st unix.Stat_t
		return unix.Lstat(filepath.Join(dir, t.ID, stagingName(b.Host)), &st) == nil
	})
}

// removeUnarrived removes the staging mounts of a container that is served directly, which a
// command left that was killed while it tried. What arrived before the container was cut off
// stays: it tells what the container has of it.
func removeUnarrived(t *resource.Target, b Bind, there bool) error {
	if !there {
		return nil
	}
	if arrived, err := isInside(t, b); arrived || err != nil {
		return err
	}
	var errs []error
	for _, dir := range stagingPaths(t.ID) {
		errs = append(errs, removeStaging(dir, stagingName(b.Host)))
	}
	return errors.Join(errs...)
}

// isInside tells whether a staging mount of b's host path is in the container, whatever it shows.
func isInside(t *resource.Target, b Bind) (bool, error) {
	shared, err := findShared(t)
	if shared.id == 0 || err != nil {
		return false, err
	}
	f, err := t.Root.Open(filepath.Join(place.SharedPath, stagingName(b.Host)), unix.O_PATH|unix.O_NOFOLLOW)
	if isNone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	id, err := mountpoint.ID(f)
	return id != shared.id, err
}

func sendAndOpen(t *resource.Target, host *os.File, dir bool, b Bind, u *undo.Stack) (*os.File, error) {
	if err := transfer(t, host, dir, b, u); err != nil {
		return nil, err
	}
	return openPropagated(t, host, b)
}

// transfer puts the host tree on its way: on midpath/<id>/<sha>, where it gets
// the record's options, and from there on master/<id>/<sha>, from where it
// propagates into the container. A pair that is there serves all records of
// the same host path.
func transfer(t *resource.Target, host *os.File, dir bool, b Bind, u *undo.Stack) error {
	o, err := parseOptions(b.Options)
	if err != nil {
		return err
	}
	name := stagingName(b.Host)
	midDir, masterDir := filepath.Join(place.Midpath, t.ID), filepath.Join(place.Master, t.ID)
	if mounted(filepath.Join(masterDir, name), host) && mounted(filepath.Join(midDir, name), host) {
		out, err := open.File(filepath.Join(masterDir, name), unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer out.Close()
		return makePrivate(out, o.propagation) // a command that was killed may not have
	}
	flags, err := bindFlags(host)
	if err != nil {
		return err
	}
	put := func(point *os.File) error { return bind(host, point, flags, procFD) }
	if o.idmap {
		tree, err := mappedTree(t, host, flags)
		if err != nil {
			return err
		}
		defer tree.Close()
		put = func(point *os.File) error { return attach(tree, point) }
	}
	if _, err := os.Lstat(midDir); errors.Is(err, os.ErrNotExist) {
		for _, dir := range []string{place.Midpath, midDir} {
			if err := mountpoint.Mkdir(dir, 0o600); err != nil {
				return err
			}
		}
	}
	mid, err := mountAt(midDir, name, dir, u, put)
	if err != nil {
		return err
	}
	defer mid.Close()
	if err := setPropagation(mid, o.receives(), procFD); err != nil {
		return err
	}
	// A mount keeps the rw or ro that it had when it propagated: so now.
	if o.readOnly {
		if err := setReadOnly(mid, true, procFD); err != nil {
			return err
		}
	}
	// On master, which is shared, it gets a peer group of its own: what receives from
	// that in the container is ours, wherever it is, until it is made private.
	out, err := mountAt(masterDir, name, dir, u, func(point *os.File) error { return bind(mid, point, unix.MS_REC, procFD) })
	if err != nil {
		return err
	}
	defer out.Close()
	return makePrivate(out, o.propagation)
}

// makePrivate makes a staging mount private if that is asked for.
func makePrivate(mnt *os.File, propagation uintptr) error {
	if propagation&unix.MS_PRIVATE == 0 {
		return nil
	}
	return setPropagation(mnt, propagation, procFD)
}

// bindFlags returns how a host tree is bound: with the mounts below it, unless the tree
// contains the shared path, whose mounts would double with each bind.
func bindFlags(host *os.File) (uintptr, error) {
	root, err := open.File("/", unix.O_PATH, 0)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	whole, err := sameFile(host, root)
	if whole || place.Within(host.Name(), place.SharedPath) {
		return 0, err
	}
	return unix.MS_REC, err
}

// mounted tells whether path is a mount of what host has open. A mount point
// of ours is never the same inode as that.
func mounted(path string, host *os.File) bool {
	f, err := open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	same, err := sameFile(f, host)
	return err == nil && same
}

// mountAt makes the mount point dir/name, calls put to mount on it, and returns the root
// of the mount. An existing file of that name, of an earlier start or made by the
// container, is mounted over if possible, and is never followed.
func mountAt(dir, name string, isDir bool, u *undo.Stack, put func(point *os.File) error) (*os.File, error) {
	path := filepath.Join(dir, name)
	if err := makePoint(path, isDir); err != nil {
		return nil, &os.PathError{Op: "make mount point", Path: path, Err: err}
	}
	u.Push("remove staging mount "+path, func() error { return mountpoint.Purge(path) })
	point, err := open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer point.Close()
	if err := put(point); err != nil {
		return nil, err
	}
	return open.File(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// makePoint makes a directory or an empty file for a mount.
func makePoint(path string, isDir bool) error {
	make := func() error { return unix.Mkdir(path, 0o600) }
	if !isDir {
		make = func() error { return unix.Mknod(path, unix.S_IFREG|0o600, 0) }
	}
	err := open.Again(make)
	if errors.Is(err, unix.ENOSPC) {
		if err := mountpoint.MakeRoom(place.Master); err != nil {
			return err
		}
		err = open.Again(make)
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := mountpoint.Detach(path); err != nil {
		return err
	}
	// With the mount point goes what is mounted there in the container still: a command was
	// killed between the two.
	if os.Remove(path) == nil {
		return make()
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if kind := st.Mode & unix.S_IFMT; isDir && kind == unix.S_IFDIR || !isDir && kind == unix.S_IFREG {
		return nil
	}
	if err := mountpoint.Purge(path); err != nil {
		return err
	}
	return make()
}

// openPropagated opens, in the container, the staging mount of b.
func openPropagated(t *resource.Target, host *os.File, b Bind) (*os.File, error) {
	path := filepath.Join(place.SharedPath, stagingName(b.Host))
	f, err := t.Root.Open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("it does not reach the container: %w", err)
	}
	if same, err := t.Root.SameFile(f, host); err != nil || !same {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("it does not reach the container: %s is another file there", path))
	}
	return f, nil
}
