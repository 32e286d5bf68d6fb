package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
)

const cgroupRoot = "/sys/fs/cgroup"

// controllers are the cgroup v1 hierarchies that a container is put into.
var controllers = []string{"devices", "blkio", "memory", "pids", "freezer"}

// Rules are the device rules that iSulad wrote for a system container of lcr.
func Rules() ([]cgroup.DeviceRule, error) {
	var spec container.Spec
	if err := json.Unmarshal(sandbox.SystemSpec, &spec); err != nil {
		return nil, err
	}
	return spec.DeviceRules("lcr"), nil
}

// SetRules gives the cgroup dir these device rules, whatever it had before: on v1
// one after the other, as lcr does, and on v2 by a program.
func SetRules(dir string, rules []cgroup.DeviceRule) error {
	if _, err := os.Stat(filepath.Join(dir, "devices.allow")); errors.Is(err, fs.ErrNotExist) {
		return cgroup.SetDevices(dir, rules)
	}
	for _, r := range rules {
		file := "devices.deny"
		if r.Allow {
			file = "devices.allow"
		}
		line := strings.ReplaceAll(fmt.Sprintf("%s %d:%d %s", r.Type, r.Major, r.Minor, r.Access), "-1", "*")
		if err := os.WriteFile(filepath.Join(dir, file), []byte(line), 0); err != nil {
			return err
		}
	}
	return nil
}

// hierarchies are the directories of the cgroup at path, one a hierarchy.
func hierarchies(path string) []string {
	if sandbox.Unified() {
		return []string{filepath.Join(cgroupRoot, path)}
	}
	var dirs []string
	for _, c := range append(controllers, "unified") {
		if _, err := os.Stat(filepath.Join(cgroupRoot, c, "cgroup.procs")); err == nil {
			dirs = append(dirs, filepath.Join(cgroupRoot, c, path))
		}
	}
	return dirs
}

// makeCgroups makes the container's cgroups and forbids what the runtime forbids.
func (o Options) makeCgroups() error {
	rules := o.Rules
	if rules == nil {
		var err error
		if rules, err = Rules(); err != nil {
			return err
		}
	}
	for _, dir := range hierarchies(o.Cgroup) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if !sandbox.Unified() {
		return SetRules(filepath.Join(cgroupRoot, "devices", o.Cgroup), rules)
	}
	dir := filepath.Join(cgroupRoot, o.Cgroup)
	if err := delegateIO(dir); err != nil {
		return err
	}
	return SetRules(dir, rules)
}

// delegateIO gives a cgroup of v2 the I/O controller, unless v1 has it.
func delegateIO(dir string) error {
	for d := cgroupRoot; d != dir; {
		controllers, err := os.ReadFile(filepath.Join(d, "cgroup.controllers"))
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(string(controllers)), "io") {
			return nil
		}
		if err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+io"), 0); err != nil {
			return err
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(dir, d+"/"), "/")
		d = filepath.Join(d, first)
	}
	return nil
}

func enterCgroups(path string, pid int) error {
	for _, dir := range hierarchies(path) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// Chown gives a root file system, made by the host's root, to the root of a
// user namespace.
func Chown(dir string, maps []sandbox.IDMapping) error {
	if len(maps) == 0 {
		return errors.New("no id is mapped")
	}
	id := maps[0].HostID
	return filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: p, Err: err}
		}
		if err := os.Lchown(p, id+int(st.Uid), id+int(st.Gid)); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return nil
		}
		return unix.Chmod(p, st.Mode&0o7777) // chown(2) takes set-id bits
	})
}

// removeCgroups removes the container's cgroups. Its processes are dead, but the
// kernel lets go of them a little later.
func removeCgroups(path string) error {
	var errs []error
	for _, dir := range hierarchies(path) {
		err := unix.Rmdir(dir)
		for try := 0; errors.Is(err, unix.EBUSY) && try < 500; try++ {
			time.Sleep(10 * time.Millisecond)
			err = unix.Rmdir(dir)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, &os.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return errors.Join(errs...)
}
