package mounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

const sharedPathLockWait = 10 * time.Second

// Share gives a starting container its shared path: what is mounted below
// master/<id> on the host from now on arrives at /.sharedpath inside.
// Leftovers of an earlier start, whose poststop never ran, are removed first.
// A container that has no place for it, on a root that cannot be written, or that
// the kernel has no way into, is reported and served directly. So is any on a host that
// has no place for it.
func Share(ctx context.Context, t *resource.Target, report func(error)) error {
	err := share(ctx, t, report)
	if errors.Is(err, errNoPlace) || errors.Is(err, errNoWay) || errors.Is(err, errSealed) {
		t.NoSharedPath = err
		report(fmt.Errorf("no shared path: %w; paths are attached directly, where the kernel can (5.12)", err))
		return nil
	}
	return err
}

// DetectSharedPath tells how a running container is served: through its shared path, if it
// was started with one, else directly, and NoSharedPath says so.
func DetectSharedPath(t *resource.Target) error {
	shared, err := findShared(t)
	if err == nil && shared.id != 0 {
		err = mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool { return !shared.see(m) })
	}
	t.NoSharedPath = shared.direct()
	return err
}

// sharedPath is the mount by which a running container has its shared path.
type sharedPath struct {
	id       int // 0: there is none
	receives bool
}

// see looks at a mount, and tells whether it is this one: crun makes all mounts of a
// container private after its hooks have run, and then it receives nothing.
func (s *sharedPath) see(m *mountpoint.Mount) bool {
	if m.ID != s.id {
		return false
	}
	s.receives = len(peerGroups(m, "master:")) > 0
	return true
}

// direct says why a container is served directly, for Target.NoSharedPath.
func (s sharedPath) direct() error {
	switch {
	case s.id == 0:
		return errNotShared
	case !s.receives:
		return errCutOff
	}
	return nil
}

// findShared looks for the mount. What it receives, the mount table says.
func findShared(t *resource.Target) (s sharedPath, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	own, err := open.File(filepath.Join(place.Master, t.ID), flags, 0)
	if isNone(err) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer own.Close()
	inside, err := t.Root.Open(place.SharedPath, flags)
	if isNone(err) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer inside.Close()
	same, err := t.Root.SameFile(inside, own)
	if !same || err != nil {
		return s, err
	}
	s.id, err = mountpoint.ID(inside)
	return s, err
}

// isNone tells whether an error of opening means that there is no such thing.
func isNone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

var (
	errNotShared = errors.New("it has no shared path: start it with --hook-spec; if it was, the hook's log says why it got none")
	errCutOff    = errors.New("its runtime has made its mounts private, as crun does: later mounts do not arrive")
	errNoPlace   = errors.New("the container's root is read-only, and its image has no directory " + place.SharedPath)
	errNoWay     = errors.New("this kernel (before 5.2) has no way into a container that has changed its root")
)

func share(ctx context.Context, t *resource.Target, report func(error)) (err error) {
	if err := prepareMaster(ctx); err != nil {
		return err
	}
	own := filepath.Join(place.Master, t.ID)
	// master/<id> itself stays: where it was leaked into the container (UnmountLeaked),
	// locked there by a user namespace, a directory that is gone would let nothing
	// be mounted on it.
	// What cannot be removed is in nobody's way: only names that are needed are.
	if err := purge(t.ID, mountpoint.Empty); err != nil {
		report(fmt.Errorf("remove leftovers of an earlier start: %w", err))
	}
	var mnt *os.File
	defer func() { mnt.Close() }() // after the undo, which needs it
	var u undo.Stack
	defer u.OnError(&err)
	if err := mountpoint.Mkdir(own, 0o600); err != nil {
		return err
	}
	u.Push("remove "+own, func() error { return os.Remove(own) })
	dir, err := open.File(own, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()

	point, err := sharedPoint(t, &u)
	if err != nil {
		return err
	}
	defer point.Close()
	if err := attachShared(t, dir, point); err != nil {
		return err
	}
	mnt, err = t.Root.Open(place.SharedPath, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	if same, err := t.Root.SameFile(mnt, dir); err != nil || !same {
		return errors.Join(err, fmt.Errorf("%s in the container: something else was mounted on it", place.SharedPath))
	}
	u.Push("unmount "+place.SharedPath+" in the container", func() error {
		return t.NS.Do(func() error {
			return os.NewSyscallError("umount2", unix.Unmount(nsenter.FD(mnt), unix.MNT_DETACH))
		})
	})
	return t.NS.Do(func() error {
		if err := setPropagation(mnt, unix.MS_SLAVE|unix.MS_REC, nsenter.FD); err != nil {
			return err
		}
		return setReadOnly(mnt, false, nsenter.FD)
	})
}

// sharedPoint opens the container's /.sharedpath, made when missing. An image
// that has something else there is refused.
func sharedPoint(t *resource.Target, u *undo.Stack) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	point, err := t.Root.Open(place.SharedPath, flags)
	// The root file system may have come with a shared path that leaked onto it.
	leaked := func() bool {
		there, err := t.Root.Identify(point)
		return err == nil && ofMaster(there.Dev)
	}
	for try := 0; err == nil && try < 1024 && leaked(); try++ {
		if e := t.NS.Do(func() error { return mounttable.Alone(point, nsenter.FD) }); e != nil {
			break // locked: it is mounted over
		}
		point.Close()
		point, err = t.Root.Open(place.SharedPath, flags)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		point, err = t.Root.MkdirAll(place.SharedPath, t.Owner.Or(rootfs.Owner{}), u)
		if errors.Is(err, unix.EROFS) {
			err = errNoPlace
		}
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("the image has a link or file at %s, where the container's shared path must be: remove it from the image", place.SharedPath)
	}
	return point, err
}

// attachShared mounts dir, master/<id>, on point in the container: a detached
// clone is handed in (Linux 5.2), whatever the container's namespace has of the
// host's mounts, and however it lets them propagate. A container with a user
// namespace that sees dir has it bound there, because what comes that way its
// root cannot make writable again; so has any on older kernels.
func attachShared(t *resource.Target, dir, point *os.File) error {
	if !t.UserNS {
		if err := attachClone(t, dir, point); !errors.Is(err, unix.ENOSYS) {
			return err
		}
	}
	if bound, err := bindInside(t, dir, point); bound || err != nil {
		return err
	}
	err := attachClone(t, dir, point)
	switch {
	case errors.Is(err, unix.ENOSYS) && t.Pivoted:
		return errNoWay
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%s does not reach the container: the host's / is not a shared mount, and this kernel (before 5.2) has no other way; run: mount --make-rshared /, and start the container again", place.Master)
	}
	return err
}

// attachClone attaches a detached clone of dir. ENOSYS: before Linux 5.2.
func attachClone(t *resource.Target, dir, point *os.File) error {
	tree, err := cloneTree(dir, 0)
	if err != nil {
		return err
	}
	defer tree.Close()
	return t.NS.Do(func() error { return attach(tree, point) })
}

// bindInside binds dir as it is seen in the container's namespace, if it is.
func bindInside(t *resource.Target, dir, point *os.File) (bound bool, err error) {
	err = t.NS.Do(func() error {
		seen, err := open.File(dir.Name(), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil // not visible here, whatever the reason
		}
		defer seen.Close()
		if same, err := sameFile(seen, dir); err != nil || !same {
			return err
		}
		bound = true
		return bind(seen, point, 0, nsenter.FD)
	})
	return bound, err
}

// PurgeStaging removes the container's part of the shared path from the host: mounts, and
// whatever the container has put there itself, where it could.
func PurgeStaging(id string) error { return purge(id, mountpoint.Purge) }

// purge removes what is in master/<id>, by own, and midpath/<id>.
func purge(id string, own func(string) error) (err error) {
	for range 2 {
		err = errors.Join(own(filepath.Join(place.Master, id)), mountpoint.Purge(filepath.Join(place.Midpath, id)))
		// Of the host's whole tree, which v0.9 bound with all below it, each has the
		// mount points of the other: they can be removed when both are unmounted.
		if !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return err
}

// UnmountLeaked unmounts the shared path where the older generation left it: below the
// host's view of the container's root, which a container that has changed its
// root does not see. Nothing but our own tmpfs is unmounted.
func UnmountLeaked(root string) error {
	leak := filepath.Join(root, place.SharedPath)
	for range 1024 {
		f, err := open.File(leak, unix.O_PATH|unix.O_NOFOLLOW, 0)
		var st unix.Stat_t
		if err != nil || unix.Fstat(int(f.Fd()), &st) != nil || !ofMaster(st.Dev) {
			f.Close()
			return nil
		}
		err = mounttable.Alone(f, procFD)
		f.Close()
		if err != nil {
			return err
		}
	}
	return &mountError{"unmount", "", leak, unix.EBUSY}
}
