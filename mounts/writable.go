package mounts

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/hostpath"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// Container is a container for which the host's paths are opened.
type Container struct {
	ID, Bundle string
	Trees      func() []ledger.Tree // of the host, by its specification
}

// ContainerOf is the container t.
func ContainerOf(t *resource.Target) Container { return Container{t.ID, t.Bundle, t.Ledger.Trees} }

// follow refuses a link that a container may have made: with it the container would
// choose what is mounted. An operator's own links lie where no container can write.
func (c Container) follow(l hostpath.Link) error {
	whose, err := c.writer(l.Dir)
	if whose == "" || err != nil {
		return err
	}
	return fmt.Errorf("%s is a link to %s in a directory that container %s may write, so it is not followed: give the path that it should lead to",
		command.Printable(l.Path), command.Printable(l.Target), whose)
}

// CheckDevice refuses a path of the host at which a container chooses what device is
// there: by a link, or because it may write the directory. In /dev itself are udev's.
func (c Container) CheckDevice(w *deadline.Waiter, p string) error {
	if isPlainNode(p) {
		return nil
	}
	err := w.Do(onHost, p, func() error {
		f, err := hostpath.Open(p, c.followDevice)
		if err != nil {
			return err
		}
		defer f.Close()
		at, err := os.Readlink(procFD(f))
		if err != nil {
			return err
		}
		dir, err := hostpath.Open(filepath.Dir(at), c.follow)
		if err != nil {
			return err
		}
		defer dir.Close()
		if inDev(dir) {
			return nil
		}
		whose, err := c.writer(dir)
		if whose != "" {
			err = fmt.Errorf("container %s may write %s: %s could be any device; choose a path below /dev", whose, dir.Name(), command.Printable(p))
		}
		return err
	})
	if leadsNowhere(err) {
		return nil // whoever uses it finds out
	}
	return err
}

// leadsNowhere tells whether an error of opening a path means that there is nothing. A
// container that may write the path's directory can have it end so, in a link of any length:
// it must not keep others from what they are given.
func leadsNowhere(err error) bool {
	return isNone(err) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENAMETOOLONG)
}

// DeviceCheck is CheckDevice, for devices.Hotplug.
func (c Container) DeviceCheck(w *deadline.Waiter) func(path string) error {
	return func(path string) error { return c.CheckDevice(w, path) }
}

// isPlainNode tells whether a path is a node in /dev, or in a folder there, without any
// link: most are, and a start has to look at each.
func isPlainNode(p string) bool {
	dir := filepath.Dir(p)
	var node, in, dev unix.Stat_t
	if dir != "/dev" && filepath.Dir(dir) != "/dev" || unix.Lstat(p, &node) != nil || node.Mode&unix.S_IFMT == unix.S_IFLNK {
		return false
	}
	return dir == "/dev" || unix.Lstat(dir, &in) == nil && unix.Lstat("/dev", &dev) == nil && in.Mode&unix.S_IFMT == unix.S_IFDIR && in.Dev == dev.Dev
}

func (c Container) followDevice(l hostpath.Link) error {
	if inDev(l.Dir) {
		return nil
	}
	return c.follow(l)
}

// inDev tells whether a directory is one of the host's /dev, on that file system.
func inDev(dir *os.File) bool {
	at, err := os.Readlink(procFD(dir))
	if err != nil || !place.Within(at, "/dev") {
		return false
	}
	var is, dev unix.Stat_t
	return unix.Fstat(int(dir.Fd()), &is) == nil && unix.Stat("/dev", &dev) == nil && is.Dev == dev.Dev
}

// writer is a container that may write the directory dir; "": none.
func (c Container) writer(dir *os.File) (whose string, err error) {
	on, at, err := mountOf(dir, 0)
	if err != nil || on == nil {
		return "", err // a mount that nobody sees, no container was given either
	}
	in := on.at(at)
	var unknown error // a tree that could not be looked at
	err = c.writable(func(id, path string) {
		// All of the host is a container's that may do anything, and no reason to
		// follow nothing any more.
		if whose != "" || path == "/" {
			return
		}
		f, err := lookUp(nil, path)
		if err != nil && !leadsNowhere(err) {
			unknown = err
		}
		if err != nil {
			return
		}
		defer f.Close()
		of, where, err := mountOf(f.File, 0)
		if err != nil {
			unknown = err
		}
		if of != nil && (of.at(where).covers(in) || place.Within(at, where)) {
			whose = id
		}
	})
	if whose != "" {
		return whose, nil
	}
	if err = cmp.Or(unknown, err); err != nil {
		// Not wrapped: of the path that is opened it says nothing.
		err = fmt.Errorf("find out which containers may write %s: %v", dir.Name(), err)
	}
	return "", err
}

// writable visits the host's paths that containers may write: this one by its
// specification and its records, every one by what it was granted. The error says what could
// not be read.
func (c Container) writable(visit func(id, path string)) error {
	trees := func(id string, list []ledger.Tree) {
		for _, t := range list {
			if t.Writable {
				visit(id, t.Path)
			}
		}
	}
	bind := func(id string, b Bind) {
		if o, err := parseOptions(b.Options); err == nil && !o.readOnly {
			visit(id, b.Host)
		}
	}
	if c.Trees != nil {
		trees(c.ID, c.Trees())
	}
	if c.Bundle != "" {
		doc, err := config.Load(c.Bundle)
		if err != nil {
			return err
		}
		recorded, err := config.List[Bind](doc, config.Binds)
		if err != nil {
			return err
		}
		for _, b := range recorded {
			bind(c.ID, b)
		}
	}
	return ledger.All(func(id string, s ledger.Start, grants []ledger.Grant) {
		trees(id, s.Trees)
		for _, g := range grants {
			var b Bind
			if g.Kind == kindName && json.Unmarshal(g.Record, &b) == nil {
				bind(id, b)
			}
		}
	})
}
