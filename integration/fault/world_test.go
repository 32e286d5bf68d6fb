//go:build linux && amd64

package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

const (
	id       = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e"
	bundle   = "/var/lib/isulad/engines/runc/" + id
	image    = "/var/lib/images/" + id // the container's root file system
	hostDir  = "/goldhost"             // what is bound, and the device nodes
	victim   = "/victim"               // where hostile links lead
	logFile  = "/tmp/hook.log"
	hookFile = bundle + "/device_hook.json"

	// hang is far above the hook's own budget of 25 s.
	hang = 40 * time.Second
)

// modules are built into every kernel that runs these tests, or loaded.
const modules = "loop,nf_conntrack"

// oldRecords is device_hook.json as an earlier start left it: the first device
// has another minor number now, the host directory of the last bind is missing,
// and two fields are a later version's.
const oldRecords = `{"bindToAdd":["/goldhost/rw:/mnt/rw:rw,rslave","/goldhost/ro:/mnt/deep/ro:ro","/goldhost/file:/etc/bound:ro,private",` +
	`"/goldhost/made/here:/mnt/made:rw"],"laterField":{"b":[1,null,18446744073709551615],"a":"\u003c"},` +
	`"deviceToAdd":[{"Type":"c","Minor":228,"Major":10,"PathOnHost":"/goldhost/one","PathInContainer":"/dev/one",` +
	`"CgroupPermissions":"rw","Parent":""},{"Type":"c","Minor":200,"Major":10,"PathOnHost":"/goldhost/two",` +
	`"PathInContainer":"/dev/sub/two","CgroupPermissions":"rwm","Parent":""}],"lastField":1e400}`

// world is the host with one container's files, in a known state.
type world struct {
	t      testing.TB
	bin    string
	cgroup string // device cgroup directory of the container
	holder *holder
	// options are those of each holder.
	options []string
	// classes are the points that count, zero for those that change something.
	classes supervisor.Class

	// records is device_hook.json as it is before the first start.
	records string
	wired   bool // the records have interfaces and routes, and the host has what they need
	cutOff  bool // the runtime makes the container's mounts private after its hooks, as crun does

	pristine  sandbox.Fingerprint // before any hook ran
	data      map[string]string   // the host's precious files
	bare      facts               // what a container has without a hook
	reference *reference          // what a whole start brings
}

// newWorld makes the host's files and the bundle.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, bin: sandbox.Binary(t), cgroup: "/sys/fs/cgroup/devices" + filepath.Join(sandbox.CgroupParent(), id), records: oldRecords}
	if sandbox.Unified() {
		t.Fatal("these tests need a cgroup v1 devices hierarchy")
	}
	for _, dir := range places { // of the test before
		must(t, unmountBelow(dir))
		must(t, removeTree(dir))
	}
	must(t, makeHostData())
	t.Cleanup(func() { must(t, removeHostData()) })
	must(t, os.MkdirAll("/var/lib/images", 0o755))
	must(t, os.MkdirAll(w.cgroupParent(), 0o755))
	w.resetFiles()
	must(t, os.RemoveAll(logFile))
	w.pristine = w.fingerprint()
	w.data = w.hostData()
	return w
}

func (w *world) cgroupParent() string { return filepath.Dir(w.cgroup) }

// hostMounts are mounted below the trees that the container gets a view of. They
// show whether a clean-up reaches through such a view, by deleting or by an
// unmount that propagates.
var hostMounts = []string{hostDir + "/rw/below", hostDir + "/ro/below"}

// makeHostData makes the trees that the container gets a view of.
func makeHostData() error {
	for _, d := range []string{"rw/a/b", "rw/below", "ro/x", "ro/below"} {
		if err := os.MkdirAll(filepath.Join(hostDir, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{victim + "/dir", victim + "/empty"} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return err
		}
	}
	for _, p := range hostMounts {
		if err := unix.Mount("tmpfs", p, "tmpfs", 0, "mode=755"); err != nil {
			return os.NewSyscallError("mount", err)
		}
	}
	for _, f := range []string{
		hostDir + "/rw/a/b/precious", hostDir + "/rw/below/inner", hostDir + "/ro/x/precious", hostDir + "/ro/below/inner", hostDir + "/file",
		victim + "/file", victim + "/dir/file",
	} {
		if err := os.WriteFile(f, []byte("precious "+f+"\n"), 0o640); err != nil {
			return err
		}
	}
	if err := sandbox.Mknod(hostDir+"/one", unix.S_IFCHR|0o640, 10, 229, 1000, 1001); err != nil {
		return err
	}
	return sandbox.Mknod(hostDir+"/two", unix.S_IFCHR|0o666, 10, 200, 0, 0)
}

func removeHostData() error {
	// A read-only path that a killed hook left keeps what was mounted below it.
	if err := unmountBelow("/.sharedpath"); err != nil {
		return err
	}
	for _, p := range hostMounts {
		// EINVAL: a violation that has been reported took it away.
		if err := ignore(unix.Unmount(p, 0), unix.EINVAL); err != nil {
			return os.NewSyscallError("umount", err)
		}
	}
	for _, d := range []string{hostDir, victim, "/var/lib/images", "/var/lib/isulad"} {
		if err := removeTree(d); err != nil {
			return err
		}
	}
	return nil
}

// removeTree is os.RemoveAll, but refuses a tree with a mount in it: that would
// be a leftover of the hooks leading to the host's data.
func removeTree(dir string) error {
	mounts, err := sandbox.Mounts(0)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Mountpoint == dir || strings.HasPrefix(m.Mountpoint, dir+"/") {
			return fmt.Errorf("remove %s: %s is mounted there", dir, m.Mountpoint)
		}
	}
	return os.RemoveAll(dir)
}

// resetFiles makes image and bundle anew, with the old records.
func (w *world) resetFiles() {
	w.t.Helper()
	must(w.t, removeTree(image))
	for _, d := range []string{"dev", "proc", "sys", "etc", "mnt"} {
		must(w.t, os.MkdirAll(filepath.Join(image, d), 0o755))
	}
	must(w.t, removeTree(bundle))
	must(w.t, removeTree(hostDir+"/made"))
	must(w.t, sandbox.WriteBundle(&sandbox.Bundle{
		Dir: bundle, ID: id, Root: image, Env: []string{"KERNEL_MODULES=" + modules},
	}))
	must(w.t, os.WriteFile(hookFile, []byte(w.records), 0o600))
}

// reset brings the host back to where no hook ever ran.
func (w *world) reset() {
	w.t.Helper()
	if w.holder != nil {
		w.stop()
	}
	for _, dir := range places {
		must(w.t, unmountBelow(dir))
		must(w.t, removeTree(dir))
	}
	if w.data != nil && len(w.dataTouched()) > 0 {
		must(w.t, removeHostData())
		must(w.t, makeHostData())
	}
	w.resetFiles()
	if w.wired {
		w.rewire()
	}
}

// runDirs are the run directories of both generations, places all that hooks
// make on a host.
var (
	runDirs = []string{"/run/isulad-tools", "/run/syscontainer-tools"}
	places  = append([]string{"/.sharedpath"}, runDirs...)
)

// unmountBelow unmounts everything below dir. Made private first: an unmount
// below a mount that is shared with the host's data would propagate there.
func unmountBelow(dir string) error {
	mounts, err := sandbox.Mounts(0)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if !strings.HasPrefix(m.Mountpoint, dir+"/") {
			continue
		}
		if err := unix.Mount("", m.Mountpoint, "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("make %s private: %w", m.Mountpoint, err)
		}
	}
	for _, m := range slices.Backward(mounts) {
		if !strings.HasPrefix(m.Mountpoint, dir+"/") {
			continue
		}
		if err := ignore(unix.Unmount(m.Mountpoint, unix.MNT_DETACH), unix.EINVAL); err != nil {
			return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
		}
	}
	return nil
}

// start begins a container, without its hooks.
func (w *world) start(options ...string) {
	w.t.Helper()
	w.holder = startHolder(w.t, image, w.cgroup, append(options, w.options...)...)
}

func (w *world) stop() {
	w.t.Helper()
	w.holder.stop(w.t)
	w.holder = nil
}

// command is the hook with the state that runc gives it.
func (w *world) command(stage string) supervisor.Command {
	state := map[string]any{
		"ociVersion": "1.0.2-dev", "id": id, "status": specs.StateStopped, "bundle": bundle,
		"annotations": map[string]string{"cgroup.dir": sandbox.CgroupParent()},
	}
	if stage == "prestart" {
		state["status"], state["pid"] = specs.StateCreating, w.holder.Pid
	}
	stdin, err := json.Marshal(state)
	must(w.t, err)
	return supervisor.Command{
		Path:    w.bin,
		Args:    []string{"isulad-hooks", "--state", stage, "--log", logFile},
		Env:     []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Dir:     bundle,
		Stdin:   stdin,
		Timeout: hang,
	}
}

// run runs a hook, interfering as f says.
func (w *world) run(stage string, f supervisor.Fault) *supervisor.Result {
	w.t.Helper()
	must(w.t, ignore(os.Truncate(logFile, 0), unix.ENOENT))
	c := w.command(stage)
	c.Classes, c.Ignore = w.classes, ofRuntime
	res, err := c.Run(f)
	must(w.t, err)
	return res
}

// ofRuntime tells what the Go runtime opens for itself before main.
func ofRuntime(p supervisor.Point) bool {
	if p.Class != supervisor.Look {
		return false
	}
	for _, own := range []string{"/sys/kernel/mm/", "/proc/self/cgroup", "/proc/self/mountinfo", "/sys/fs/cgroup/cpu"} {
		if strings.HasPrefix(p.Args, `"`+own) {
			return true
		}
	}
	return false
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
