package holder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
)

const cgroupRoot = "/sys/fs/cgroup"

// controllers are the cgroup v1 hierarchies that a container is put into.
var controllers = []string{"devices", "blkio", "memory", "pids", "freezer"}

// Rules are the device rules of every container: iSulad's.
var Rules = []string{
	"c *:* m", "b *:* m",
	"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
	"c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 10:200 rwm", "c 136:* rwm",
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

// makeCgroups makes the container's cgroups and forbids what a runtime forbids.
func makeCgroups(path string) error {
	for _, dir := range hierarchies(path) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if sandbox.Unified() {
		dir := filepath.Join(cgroupRoot, path)
		for d := cgroupRoot; d != dir; {
			if err := enableIO(d); err != nil {
				return err
			}
			rest := strings.TrimPrefix(dir, d+"/")
			first, _, _ := strings.Cut(rest, "/")
			d = filepath.Join(d, first)
		}
		rules, err := DeviceRules()
		if err != nil {
			return err
		}
		return cgroup.SetDevices(dir, rules)
	}
	dir := filepath.Join(cgroupRoot, "devices", path)
	if err := os.WriteFile(filepath.Join(dir, "devices.deny"), []byte("a"), 0); err != nil {
		return err
	}
	for _, r := range Rules {
		if err := os.WriteFile(filepath.Join(dir, "devices.allow"), []byte(r), 0); err != nil {
			return err
		}
	}
	return nil
}

// enableIO has the cgroups below dir, one of cgroup v2, limit I/O, where that is
// not cgroup v1's to do.
func enableIO(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(controllers)), "io") {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+io"), 0)
}

// DeviceRules are Rules after a rule that forbids everything.
func DeviceRules() ([]cgroup.DeviceRule, error) {
	rules := []cgroup.DeviceRule{{Type: "a", Major: cgroup.Any, Minor: cgroup.Any, Access: "rwm"}}
	for _, text := range Rules {
		f := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ':' })
		r := cgroup.DeviceRule{Allow: true, Type: f[0], Major: cgroup.Any, Minor: cgroup.Any, Access: f[3]}
		for i, to := range []*int64{&r.Major, &r.Minor} {
			if f[i+1] == "*" {
				continue
			}
			n, err := strconv.ParseInt(f[i+1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("rule %q: %w", text, err)
			}
			*to = n
		}
		rules = append(rules, r)
	}
	return rules, nil
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

// removeCgroups removes the container's cgroups. Its processes are dead.
func removeCgroups(path string) error {
	var errs []error
	for _, dir := range hierarchies(path) {
		errs = append(errs, sandbox.RemoveCgroup(dir))
	}
	return errors.Join(errs...)
}
