// Package cgroup finds a container's cgroup directories, and says which devices
// it may use: on cgroup v2 by a program.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// root is where every distribution mounts the hierarchies.
const root = "/sys/fs/cgroup"

// ErrNoV1 says that this host has a controller only on cgroup v2, or not at
// all.
var ErrNoV1 = errors.New("no mounted cgroup v1 hierarchy has the controller")

// Unified is the name of the unified hierarchy among controllers.
const Unified = "unified"

// Container says where a container's cgroups are.
type Container struct {
	Path string // linux.cgroupsPath of its spec
	PID  int    // its init process
	// Dirs are its directories as far as they are known, by cgroup v1 controller
	// and Unified; what is found is added.
	Dirs map[string]string

	files map[string]*os.File // what was opened
	noV1  map[string]error    // why a controller has no directory, once that is known
}

// Dir opens the container's directory in the cgroup v1 hierarchy of a controller,
// once: it is closed by Close. Each walk to it costs what a rule does.
func (c *Container) Dir(controller string) (*os.File, error) {
	return c.openOnce(controller, func() (*os.File, error) {
		dir, err := c.V1(controller)
		if err != nil {
			return nil, err
		}
		return open.File(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	})
}

// File opens a control file of the container for writing, once: it is closed by
// Close.
func (c *Container) File(controller, name string) (*os.File, error) {
	return c.openOnce(name, func() (*os.File, error) {
		dir, err := c.V1(controller)
		if err != nil {
			return nil, err
		}
		return open.File(filepath.Join(dir, name), unix.O_WRONLY, 0)
	})
}

func (c *Container) openOnce(name string, find func() (*os.File, error)) (*os.File, error) {
	if f, ok := c.files[name]; ok {
		return f, nil
	}
	f, err := find()
	if err != nil {
		return nil, err
	}
	if c.files == nil {
		c.files = map[string]*os.File{}
	}
	c.files[name] = f
	return f, nil
}

// Close closes what Dir and File opened.
func (c *Container) Close() {
	for _, f := range c.files {
		f.Close()
	}
	c.files = nil
}

// V1 returns the container's directory in the cgroup v1 hierarchy of a
// controller. Its path is the spec's when that is absolute; a relative, empty
// or systemd one ("slice:prefix:name") is looked up from the init process.
func (c *Container) V1(controller string) (string, error) {
	if dir, ok := c.Dirs[controller]; ok {
		return dir, nil
	}
	if err, ok := c.noV1[controller]; ok {
		return "", err
	}
	top, err := hierarchy(controller) // first: without one, no process is of it
	if errors.Is(err, ErrNoV1) {
		if c.noV1 == nil {
			c.noV1 = map[string]error{}
		}
		c.noV1[controller] = err
	}
	if err != nil {
		return "", err
	}
	p := c.Path
	if !path.IsAbs(p) {
		if p, err = ofProcess(c.PID, controller); err != nil {
			return "", err
		}
	}
	if c.Dirs == nil {
		c.Dirs = map[string]string{}
	}
	c.Dirs[controller] = filepath.Join(top, path.Clean(p)) // no .. out of the hierarchy
	return c.Dirs[controller], nil
}

// V2 returns the container's directory in the unified hierarchy.
func (c *Container) V2() (string, error) {
	if dir, ok := c.Dirs[Unified]; ok {
		return dir, nil
	}
	p := c.Path
	if !path.IsAbs(p) {
		var err error
		if p, err = ofProcess(c.PID, ""); err != nil {
			return "", err
		}
	}
	top, err := unified()
	if err != nil {
		return "", err
	}
	return filepath.Join(top, path.Clean(p)), nil
}

// Directory returns the container's directory in the hierarchy of a controller: that of
// cgroup v1, or the unified one where version 1 does not have the controller. Another
// error of version 1 is no reason to look at the unified hierarchy.
func (c *Container) Directory(controller string) (dir string, unified bool, err error) {
	if dir, err = c.V1(controller); errors.Is(err, ErrNoV1) {
		dir, err = c.V2()
		unified = true
	}
	return dir, unified, err
}

// unified returns the mount point of cgroup v2.
func unified() (string, error) {
	for _, top := range []string{root, root + "/unified"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(top, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return top, nil
		}
	}
	return "", errors.New("no cgroup v2 hierarchy is mounted below " + root)
}

// HasBelow tells whether an open directory of cgroup v1 has cgroups below it; of one
// that cannot be looked at, Below says why.
func HasBelow(dir *os.File) bool {
	var st unix.Stat_t
	err := unix.Fstat(int(dir.Fd()), &st)
	return err != nil || st.Nlink != 2 // its own name and its "."
}

// Below lists the cgroups below a directory, parents first. They may come and go
// meanwhile.
func Below(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		switch {
		case path == dir:
			return err
		case err != nil && !Gone(err):
			return err
		case err == nil && e.IsDir():
			list = append(list, path)
		}
		return nil
	})
	return list, err
}

// Gone tells whether err says that a cgroup does not exist any more.
func Gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// Unit returns the systemd unit that the container's cgroup belongs to, a scope
// or a service; "" when it is none. The cgroup itself must be the unit's: one
// further down may be of the container's own making, and bear any name.
func (c *Container) Unit() string {
	top, err := hierarchy("devices")
	find := func() (string, error) { return c.V1("devices") }
	if errors.Is(err, ErrNoV1) {
		top, err = unified()
		find = c.V2
	}
	if err != nil {
		return ""
	}
	dir, err := find()
	if err != nil {
		return ""
	}
	p, ok := strings.CutPrefix(dir, top)
	if !ok {
		return ""
	}
	return unitOf(p)
}

// unitOf is the unit whose cgroup has this path: below slices only.
func unitOf(p string) string {
	parents, name := path.Split(path.Clean(p))
	for slice := range strings.SplitSeq(strings.Trim(parents, "/"), "/") {
		if !strings.HasSuffix(slice, ".slice") {
			return ""
		}
	}
	if ext := path.Ext(name); ext != ".scope" && ext != ".service" {
		return ""
	}
	// systemd puts a "_" in front of names that the kernel could take for its own.
	return strings.TrimPrefix(name, "_")
}

// hierarchy returns the mount point of a cgroup v1 controller.
func hierarchy(controller string) (string, error) {
	var fs unix.Statfs_t
	usual := filepath.Join(root, controller)
	if err := unix.Statfs(usual, &fs); err == nil && fs.Type == unix.CGROUP_SUPER_MAGIC {
		return usual, nil
	}
	if err := unix.Statfs(root, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return "", fmt.Errorf("%w %s", ErrNoV1, controller)
	}
	top := ""
	err := mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		if m.FSType.Is("cgroup") && hasOption(m.Super.String(), controller) {
			top = m.Point.String()
		}
		return top == ""
	})
	if err == nil && top == "" {
		err = fmt.Errorf("%w %s", ErrNoV1, controller)
	}
	return top, err
}

func hasOption(options, name string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// maxList bounds the list of a process's cgroups: a line a hierarchy, of which
// each has a path.
const maxList = 1 << 20

// ofProcess returns the path of process pid in a v1 controller's hierarchy,
// without the scope that an init inside the container may have put itself in.
func ofProcess(pid int, controller string) (string, error) {
	name := process.Path(pid, "cgroup")
	list, err := open.Read(name, maxList)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(list)) {
		// hierarchy:controllers:path, see cgroups(7)
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, p, ok := strings.Cut(rest, ":")
		if ok && hasOption(controllers, controller) {
			return strings.TrimSuffix(p, "/init.scope"), nil
		}
	}
	return "", fmt.Errorf("%s: no hierarchy with the controller %q", name, controller)
}

// Threads lists the container's threads, its init first: those in its cgroup and in
// those that it made below. Each may have namespaces of its own.
func (c *Container) Threads() ([]int, error) {
	pids, list := []int{c.PID}, "tasks"
	dir, unified, err := c.Directory("devices")
	if err != nil {
		return pids, err
	}
	if unified {
		list = "cgroup.threads"
	}
	below, err := Below(dir)
	if err != nil && !Gone(err) {
		return pids, err
	}
	for _, dir := range append(below, dir) {
		text, err := open.Read(filepath.Join(dir, list), maxThreads)
		if err != nil && !Gone(err) {
			return pids, err
		}
		for line := range strings.Lines(string(text)) {
			// 0: of a PID namespace that is not below ours.
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 && pid != c.PID {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// maxThreads bounds what is read of a list of threads.
const maxThreads = 32 << 20
