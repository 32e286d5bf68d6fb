package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

const (
	id     = "be4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4cbe4c"
	graph  = "/var/lib/isulad"
	bundle = graph + "/engines/runc/" + id
	rootfs = "/root/myrootfs" // also in testdata/config.json
	bin    = graph + "/hooks"
	host   = "/bench" // what is bound into the container

	shared = "/.sharedpath"
	record = "/run/isulad-tools/containers/" + id
)

// world is a host with one container at a time, of which everything that is
// written lies on a tmpfs: system calls are compared, not disks.
type world struct {
	*holder
	tb    testing.TB
	loops []int // minor numbers, see loop
	crowd []*holder
}

func newWorld(tb testing.TB) (*world, error) {
	if sandbox.Unified() {
		return nil, errors.New("these measurements need a cgroup v1 devices hierarchy")
	}
	for _, dir := range []string{graph, shared, host, rootfs, rulesDir, runcRoot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return nil, &os.PathError{Op: "mount tmpfs on", Path: dir, Err: err}
		}
	}
	for _, dir := range []string{bundle, bin} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
	}
	// The root of a user namespace has to pass here.
	if err := os.Chmod(filepath.Dir(rootfs), 0o755); err != nil {
		return nil, err
	}
	if err := buildPrograms(bin); err != nil {
		return nil, err
	}
	sandbox.Udevadm(tb, bin+"/empty")
	runtime.GC()
	w := &world{tb: tb}
	return w, w.use(plain)
}

// use sees to it that the container is of this setting.
func (w *world) use(s setting) error {
	if w.holder != nil && w.setting == s {
		return nil
	}
	if err := w.stop(); err != nil {
		return err
	}
	path := filepath.Join(sandbox.CgroupParent(), id)
	spec, err := os.ReadFile("testdata/config.json")
	if err != nil {
		return err
	}
	spec = []byte(s.edit(strings.ReplaceAll(string(spec), "/isulad/"+id+`"`, path+`"`)))
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), spec, 0o640); err != nil {
		return err
	}
	top, err := s.cgroups()
	if err != nil {
		return err
	}
	w.holder, err = newHolder(s, rootfs, filepath.Join(top, path))
	return err
}

// stop ends the container.
func (w *world) stop() error {
	if w.holder == nil {
		return nil
	}
	err := errors.Join(w.holder.stop(), w.setting.leave())
	w.holder = nil
	return err
}

// inside is the path of the container's p, for a look from outside.
func (w *world) inside(p string) string { return fmt.Sprintf("/proc/%d/root%s%s", w.PID, rootfs, p) }

// program runs one of programs with the state that runc gives a hook.
func (w *world) program(name, stage string) invocation {
	state := map[string]any{
		"ociVersion": "1.0.2-dev", "id": id, "status": specs.StateStopped, "bundle": bundle,
		"annotations": map[string]string{
			"cgroup.dir": "/isulad", "log.console.driver": "json-file", "log.console.file": bundle + "/console.log",
			"log.console.filerotate": "7", "log.console.filesize": "1MB", "native.umask": "normal",
			"rootfs.mount": graph + "/mnt/rootfs",
		},
	}
	if stage == "prestart" {
		state["status"], state["pid"] = specs.StateCreating, w.PID
	}
	stdin, err := json.Marshal(state)
	if err != nil {
		panic(err) // strings and a number
	}
	return invocation{path: filepath.Join(bin, name), args: []string{name, "--state", stage}, dir: bundle, stdin: stdin}
}

// setRecords makes device_hook.json hold these lists; none: there is no file.
func (w *world) setRecords(lists map[string]any) error {
	path := filepath.Join(bundle, "device_hook.json")
	if lists == nil {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	data, err := json.Marshal(lists)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// started has measure look at a new container to which prestart has given
// these records, and then ends it.
func (w *world) started(records map[string]any, measure func(hook invocation) (sample, error)) (s sample, err error) {
	if err := w.setRecords(records); err != nil {
		return s, err
	}
	if s, err = measure(w.program("isulad-hooks", "prestart")); err != nil {
		return s, err
	}
	return s, w.end()
}

// end does what follows the end of a container: poststop, and all its mounts
// are gone. The process is still there, so poststop must not find it recorded.
func (w *world) end() error {
	if err := os.Remove(record); err != nil {
		return fmt.Errorf("prestart left no record: %w", err)
	}
	if _, err := w.program("isulad-hooks", "poststop").run(); err != nil {
		return err
	}
	return w.renew()
}
