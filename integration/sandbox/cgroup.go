package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// Unified tells whether /sys/fs/cgroup is cgroup v2 alone.
func Unified() bool {
	var s unix.Statfs_t
	return unix.Statfs(cgroupRoot, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC
}

// Unify has /sys/fs/cgroup be cgroup v2 alone until the test ends: this run's part
// of the machine's unified hierarchy. Device programs work there, but it has no
// controllers to hand on, which would be enabled for all of the machine.
func Unify(t testing.TB) {
	t.Helper()
	if Unified() {
		return
	}
	part := filepath.Join(cgroupRoot, "unified", CgroupParent())
	if err := os.MkdirAll(part, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := mount(part, cgroupRoot, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(cgroupRoot, 0); err != nil {
			t.Errorf("unmount %s: %v", cgroupRoot, err)
		}
	})
	if !Unified() {
		t.Fatal("this machine has no cgroup v2 hierarchy at /sys/fs/cgroup/unified")
	}
}

// CgroupDirs are the directories of cgroup path in every hierarchy that has it.
func CgroupDirs(path string) []string {
	if Unified() {
		return existing(filepath.Join(cgroupRoot, path))
	}
	dirs, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", path))
	return existing(dirs...)
}

func existing(dirs ...string) []string {
	return slices.DeleteFunc(dirs, func(d string) bool {
		info, err := os.Lstat(d)
		return err != nil || !info.IsDir()
	})
}

// Devices is devices.list of a cgroup, one rule a line, sorted. cgroup v2 has
// no such list.
func Devices(path string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(cgroupRoot, "devices", path, "devices.list"))
	if err != nil {
		return nil, err
	}
	rules := strings.Split(strings.TrimSpace(string(data)), "\n")
	slices.Sort(rules)
	return rules, nil
}

// IOLimits are the limits of a cgroup by file of the blkio controller, one
// device a line; files without any are left out, and so are defaults. This is
// cgroup v1's form.
func IOLimits(path string) (map[string][]string, error) {
	files, err := filepath.Glob(filepath.Join(cgroupRoot, "blkio", path, "blkio.*_device"))
	if err != nil {
		return nil, err
	}
	limits := map[string][]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "default ") {
				limits[filepath.Base(f)] = append(limits[filepath.Base(f)], strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return limits, nil
}

// removeCgroups removes the cgroups below path in all hierarchies.
func removeCgroups(path string) error {
	var errs []error
	for _, dir := range CgroupDirs(path) {
		errs = append(errs, removeTree(dir))
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(dirs)
	for _, d := range dirs {
		if err := RemoveCgroup(d); err != nil {
			return err
		}
	}
	return nil
}

// RemoveCgroup removes a directory of a cgroup whose processes are dead; the kernel
// lets go of them a little later. It is no error if there is none.
func RemoveCgroup(dir string) error {
	var err error
	Await(func() bool {
		err = unix.Rmdir(dir)
		return !errors.Is(err, unix.EBUSY)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// thaw lets frozen processes below path go, so that they can be killed.
func thaw(path string) error {
	var errs []error
	for _, dir := range CgroupDirs(path) {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			switch d.Name() {
			case "freezer.state":
				return os.WriteFile(p, []byte("THAWED"), 0)
			case "cgroup.freeze":
				return os.WriteFile(p, []byte("0"), 0)
			}
			return nil
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
