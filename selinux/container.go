package selinux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// Prepare has a starting container label its own files, and makes the host
// permissive while it does. ErrDisabled: SELinux is switched off, on the host or
// in the container, and nothing was changed. When anything else fails, what was
// done to the container is taken back. wait is for others who change the host's
// configuration.
func Prepare(ctx context.Context, t *resource.Target, wait time.Duration) (err error) {
	host, err := openSystem("/")
	if err != nil {
		return err
	}
	defer host.close()
	switch text, _, err := host.config(); {
	case errors.Is(err, os.ErrNotExist), err == nil && isDisabled(text), err == nil && !selinux.GetEnabled():
		return fmt.Errorf("%w on the host", ErrDisabled)
	case err != nil:
		return err
	}
	switch text, _, err := t.Root.Read(configPath, maxConfig); {
	case errors.Is(err, os.ErrNotExist), err == nil && isDisabled(string(text)):
		return fmt.Errorf("%w in the container", ErrDisabled)
	case err != nil:
		return err
	}
	label, err := host.initLabel()
	if err != nil {
		return err
	}
	var u undo.Stack
	defer u.OnError(&err)
	if err := Install(t, label, &u); err != nil {
		return err
	}
	if err := MountFS(t, &u); err != nil {
		return err
	}
	_, err = host.setPermissive(ctx, wait)
	return err
}

// Install puts script, unit and, at the first start, the marks into the
// container, all but the marks with this label. What it made is pushed on u.
func Install(t *resource.Target, label string, u *undo.Stack) error {
	c, err := openImage(t.Root, t.Owner.Or(rootfs.Owner{}))
	if err != nil {
		return err
	}
	system, err := c.init()
	if err != nil {
		return err
	}
	if err := c.file(scriptPath, script, 0o700, label, u); err != nil {
		return err
	}
	if system == upstart {
		err = c.file(upstartPath, upstartJob, 0o644, label, u)
	} else if err = c.file(unitPath, systemdUnit, 0o644, label, u); err == nil {
		err = c.link(wantsPath, wantsLink, u)
	}
	if err != nil {
		return err
	}
	return c.markFirstStart(u)
}

// Remove takes the unit out of a container that has ended. What the image has
// under its name stays.
func Remove(root *rootfs.Root) error {
	c, err := openImage(root, rootfs.Owner{})
	if err != nil {
		return err
	}
	ours, err := c.isFree(unitPath)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range []string{unitPath, wantsPath, upstartPath} {
		if p == upstartPath || ours {
			errs = append(errs, c.remove(p))
		}
	}
	return errors.Join(errs...)
}

// containerRoot is a container's own file system, the mount that is its root. Trees of
// the host that are mounted in it are no place for our files.
type containerRoot struct {
	root  *rootfs.Root
	own   rootfs.Owner
	mount int
}

func openImage(root *rootfs.Root, own rootfs.Owner) (*containerRoot, error) {
	f, err := root.Open("/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mount, err := mountpoint.ID(f)
	return &containerRoot{root, own, mount}, err
}

// checkNotMounted refuses a directory that is mounted into the container.
func (c *containerRoot) checkNotMounted(dir *os.File, p string) error {
	mount, err := mountpoint.ID(dir)
	if err == nil && mount != c.mount {
		err = &os.PathError{Op: "change in container", Path: p, Err: errors.New("its directory is mounted into the container from the host, where nothing is changed")}
	}
	return err
}

const (
	systemd = "systemd"
	upstart = "upstart"
)

// init tells which init the container has.
func (c *containerRoot) init() (string, error) {
	for _, known := range []struct{ path, name string }{
		{"/lib/systemd/systemd", systemd}, {"/usr/lib/systemd/systemd", systemd}, {"/sbin/upstart", upstart}, {"/etc/init", upstart},
	} {
		f, err := c.root.Open(known.path, unix.O_PATH)
		if err == nil {
			f.Close()
			return known.name, nil
		}
	}
	return "", errors.New("the container's init is neither systemd nor upstart")
}

// dir opens the directory of p, making it when missing.
func (c *containerRoot) dir(p string, u *undo.Stack) (*os.File, string, error) {
	dir, base, err := c.root.Dir(p, c.own, u)
	if err != nil {
		return nil, "", err
	}
	if err := c.checkNotMounted(dir, p); err != nil {
		dir.Close()
		return nil, "", err
	}
	return dir, base, nil
}

// file makes p a file of ours, whole at any time.
func (c *containerRoot) file(p, text string, mode os.FileMode, label string, u *undo.Stack) error {
	if ours, err := c.isFree(p); err != nil || !ours {
		return errors.Join(err, &os.PathError{Op: "replace in container", Path: p, Err: errors.New("a file of this name belongs to the image")})
	}
	dir, base, err := c.dir(p, u)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := atomicfile.Write(procFD(dir), base, []byte(text), mode); err != nil {
		return &os.PathError{Op: "make in container", Path: p, Err: bareError(err)}
	}
	u.Push("remove "+p, func() error { return c.remove(p) })
	f, err := open.At(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = isRegular(f) // still
	if err == nil {
		err = open.Again(func() error { return unix.Fchownat(int(f.Fd()), "", c.own.UID, c.own.GID, unix.AT_EMPTY_PATH) })
	}
	if err == nil {
		err = setLabel(f, label)
	}
	if err != nil {
		return &os.PathError{Op: "make in container", Path: p, Err: err}
	}
	return nil
}

// isFree tells whether p is free to be written or removed: it is not there,
// or made by us. The names that only this tool has are always free.
func (c *containerRoot) isFree(p string) (bool, error) {
	if p != unitPath {
		return true, nil
	}
	f, err := c.root.Open(p, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	f.Close()
	text, _, err := c.root.Read(p, maxConfig)
	return err == nil && len(text) >= len(signature) && string(text[:len(signature)]) == signature, nil
}

// link makes p a symbolic link. systemd takes a unit's name from it, and since
// version 239 nothing but links; what v0.9 put there was the unit itself.
func (c *containerRoot) link(p, to string, u *undo.Stack) error {
	if err := c.remove(p); err != nil {
		return err
	}
	dir, base, err := c.dir(p, u)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := open.Again(func() error { return unix.Symlinkat(to, int(dir.Fd()), base) }); err != nil {
		return &os.PathError{Op: "link in container", Path: p, Err: err}
	}
	u.Push("remove "+p, func() error { return c.remove(p) })
	return os.NewSyscallError("fchownat", open.Again(func() error {
		return unix.Fchownat(int(dir.Fd()), base, c.own.UID, c.own.GID, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// markFirstStart marks the first start, if it is the first. What says so for ever comes last.
func (c *containerRoot) markFirstStart(u *undo.Stack) error {
	seen, err := c.root.Open(markSeen, unix.O_PATH|unix.O_NOFOLLOW)
	if err == nil {
		return seen.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, p := range []string{markSystem, markScript, markSeen} {
		dir, base, err := c.dir(p, u)
		if err != nil {
			return err
		}
		f, err := open.At(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644)
		dir.Close()
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "make in container", Path: p, Err: bareError(err)}
		}
		u.Push("remove "+p, func() error { return c.remove(p) })
		err = errors.Join(f.Chown(c.own.UID, c.own.GID), f.Chmod(0o644))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// remove unlinks p. It is no error if p or its directory does not exist.
func (c *containerRoot) remove(p string) error {
	dir, err := c.root.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Stat_t
	if errors.Is(unix.Fstatat(int(dir.Fd()), path.Base(p), &st, unix.AT_SYMLINK_NOFOLLOW), unix.ENOENT) {
		return nil
	}
	if err := c.checkNotMounted(dir, p); err != nil {
		return err
	}
	err = open.Again(func() error { return unix.Unlinkat(int(dir.Fd()), path.Base(p), 0) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "remove in container", Path: p, Err: err}
	}
	return nil
}

// MountFS gives the container the kernel's SELinux interface, where its
// tools look for it, unless it has that. What it did is pushed on u.
func MountFS(t *resource.Target, u *undo.Stack) error {
	c, err := openImage(t.Root, t.Owner.Or(rootfs.Owner{}))
	if err != nil {
		return err
	}
	p := "/sys/fs/selinux"
	dir, err := t.Root.Open(p, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, os.ErrNotExist) {
		p = "/selinux"
		dir, err = t.Root.MkdirAll(p, c.own, u)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	switch fs.Type {
	case unix.SELINUX_MAGIC:
		return nil
	case unix.SYSFS_MAGIC:
	default: // not in a tree of the host, which may share mounts with it
		if err := c.checkNotMounted(dir, p); err != nil {
			return err
		}
	}
	err = t.NS.Do(func() error {
		return unix.Mount("selinuxfs", nsenter.FD(dir), "selinuxfs", unix.MS_NOSUID|unix.MS_NOEXEC, "")
	})
	if err != nil {
		return &os.PathError{Op: "mount selinuxfs in container on", Path: p, Err: err}
	}
	u.Push("unmount selinuxfs", func() error {
		mounted, err := t.Root.Open(p, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer mounted.Close()
		return t.NS.Do(func() error {
			return os.NewSyscallError("umount2", unix.Unmount(nsenter.FD(mounted), unix.MNT_DETACH))
		})
	})
	return nil
}
