//go:build linux && amd64

package fault

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// runcRoot is what the commands take for runc's --root.
const runcRoot = "/srv/runc"

// change is a command that changes a running container.
type change struct {
	name    string
	before  [][]string // what has been done before it, undisturbed
	args    []string
	inverse []string // takes it back
}

var addDisk = []string{"add-device", id, hostDir + "/disk:/dev/disk"}

var changes = []change{
	{
		name: "add-device", args: []string{"add-device", id, hostDir + "/three:/dev/three:rw"},
		inverse: []string{"remove-device", id, hostDir + "/three:/dev/three"},
	},
	{
		name: "remove-device", args: []string{"remove-device", id, hostDir + "/two:/dev/sub/two"},
		inverse: []string{"add-device", id, hostDir + "/two:/dev/sub/two:rwm"},
	},
	{
		name: "update-device", before: [][]string{addDisk},
		args:    []string{"update-device", "--device-read-bps", hostDir + "/disk:1m", "--device-write-iops", hostDir + "/disk:100", id},
		inverse: []string{"update-device", "--device-read-bps", hostDir + "/disk:0", "--device-write-iops", hostDir + "/disk:0", id},
	},
	{
		name: "add-path", args: []string{"add-path", id, hostDir + "/more:/mnt/more/deep:ro,rslave"},
		inverse: []string{"remove-path", id, hostDir + "/more:/mnt/more/deep"},
	},
	{
		name: "remove-path", args: []string{"remove-path", id, hostDir + "/ro:/mnt/deep/ro"},
		inverse: []string{"add-path", id, hostDir + "/ro:/mnt/deep/ro:ro"},
	},
}

// moment is a running container and its file.
type moment struct {
	facts facts
	file  map[string][]string // lists of records, each as it is written
}

// expected is what an undisturbed command makes of a container.
type expected struct {
	before, after moment
	started, anew facts // what the next start makes of the file before, and after
	said          string
}

// newCommandWorld is a world for the commands: it has a disk and an I/O
// controller, and its containers have changed their roots.
func newCommandWorld(t *testing.T) *world {
	t.Helper()
	minor := sandbox.Loop(t, 1<<20)
	blkio := blkioDir()
	must(t, os.MkdirAll(blkio, 0o755))
	w := newWorld(t)
	w.options = []string{pivoted}
	must(t, os.MkdirAll(hostDir+"/more", 0o755))
	must(t, sandbox.Mknod(hostDir+"/three", unix.S_IFCHR|0o600, 10, 237, 0, 0))
	must(t, sandbox.Mknod(hostDir+"/disk", unix.S_IFBLK|0o600, 7, uint32(minor), 0, 0))
	w.data = w.hostData()
	w.learn()
	return w
}

func blkioDir() string { return "/sys/fs/cgroup/blkio" + filepath.Join(sandbox.CgroupParent(), id) }

// up starts a container anew and does what comes before the command.
func (w *world) up(c *change) {
	w.t.Helper()
	w.reset()
	for _, f := range limitFiles(w.t) {
		for line := range strings.Lines(f.text) {
			number, _, _ := strings.Cut(line, " ")
			must(w.t, os.WriteFile(f.path, []byte(number+" 0"), 0))
		}
	}
	must(w.t, ignore(os.Remove(bundle+"/.device_hook.lock"), fs.ErrNotExist))
	w.begin()
	for _, args := range c.before {
		if res := w.tool(args, supervisor.Fault{}); res.ExitCode != 0 {
			w.t.Fatalf("%q: %v: %s", args, res, res.Stderr)
		}
	}
}

// begin starts a container and has runc know it.
func (w *world) begin() {
	w.t.Helper()
	w.start()
	if res := w.run("prestart", supervisor.Fault{}); res.ExitCode != 0 {
		w.t.Fatalf("prestart: %v: %s", res, res.Stderr)
	}
	state := map[string]any{
		"id": id, "init_process_pid": w.holder.Pid, "init_process_start": startTime(w.t, w.holder.Pid),
		"config": map[string]any{"labels": []string{"bundle=" + bundle}},
	}
	text, err := json.Marshal(state)
	must(w.t, err)
	must(w.t, os.MkdirAll(filepath.Join(runcRoot, id), 0o700))
	must(w.t, os.WriteFile(filepath.Join(runcRoot, id, "state.json"), text, 0o600))
}

// again ends the container and starts it once more.
func (w *world) again() {
	w.t.Helper()
	w.stop()
	if res := w.run("poststop", supervisor.Fault{}); res.ExitCode != 0 || len(res.Stderr) != 0 {
		w.t.Fatalf("poststop: %v: %s", res, res.Stderr)
	}
	w.begin()
}

// tool runs a command, interfering as f says.
func (w *world) tool(args []string, f supervisor.Fault) *supervisor.Result {
	w.t.Helper()
	must(w.t, ignore(os.Truncate(logFile, 0), unix.ENOENT))
	c := supervisor.Command{
		Path: w.bin, Args: append([]string{"isulad-tools", "--engine", "runc:" + runcRoot}, args...),
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Dir: "/", Timeout: 2 * hang,
		Classes: w.classes, Ignore: ofRuntime,
	}
	res, err := c.Run(f)
	must(w.t, err)
	return res
}

// now looks at the container and its file.
func (w *world) now() moment {
	w.t.Helper()
	m := moment{facts: w.snapshot()}
	for _, f := range limitFiles(w.t) {
		for line := range strings.Lines(f.text) {
			m.facts["limit "+filepath.Base(f.path)+" "+strings.TrimSpace(line)] = "present"
		}
	}
	for key := range m.facts {
		// The empty mount points of a path that is gone may stay.
		if strings.HasPrefix(key, "container /mnt/more") {
			delete(m.facts, key)
		}
	}
	text, err := os.ReadFile(hookFile)
	must(w.t, err)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		w.t.Errorf("device_hook.json is damaged: %v: %s", err, text)
	}
	m.file = map[string][]string{}
	for key, value := range fields {
		var list []json.RawMessage
		if json.Unmarshal(value, &list) != nil {
			m.file[key] = []string{string(value)} // a field of a later version
			continue
		}
		for _, one := range list {
			m.file[key] = append(m.file[key], string(one))
		}
	}
	return m
}

type limitFile struct{ path, text string }

func limitFiles(t testing.TB) []limitFile {
	t.Helper()
	paths, err := filepath.Glob(blkioDir() + "/blkio.throttle.*_device")
	must(t, err)
	var files []limitFile
	for _, p := range paths {
		text, err := os.ReadFile(p)
		must(t, err)
		files = append(files, limitFile{p, string(text)})
	}
	return files
}

func startTime(t testing.TB, pid int) json.Number {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	return json.Number(strings.Fields(rest)[19]) // field 22 of proc(5)
}

// whole takes the expected from undisturbed runs, and the points.
func (w *world) whole(c *change) (expected, []supervisor.Point) {
	w.t.Helper()
	var e expected
	w.up(c)
	e.before = w.now()
	w.again()
	e.started = w.now().facts
	w.up(c)
	res := w.tool(c.args, supervisor.Fault{})
	if res.ExitCode != 0 {
		w.t.Fatalf("%q: %v: %s", c.args, res, res.Stderr)
	}
	e.after, e.said = w.now(), string(res.Stdout)
	if len(e.before.facts.diff(e.after.facts)) == 0 || cmp.Equal(e.before.file, e.after.file) {
		w.t.Fatalf("%q changes nothing", c.args)
	}
	w.again()
	e.anew = w.now().facts
	if back := w.tool(c.inverse, supervisor.Fault{}); back.ExitCode != 0 {
		w.t.Fatalf("%q: %v: %s", c.inverse, back, back.Stderr)
	}
	for _, line := range append(e.started.diff(w.now().facts), w.dataTouched()...) {
		w.t.Errorf("%q and %q: %s", c.args, c.inverse, line)
	}
	w.end()
	return e, res.Points
}

// end ends the container and requires that nothing is left.
func (w *world) end() []string {
	w.t.Helper()
	w.stop()
	res := w.run("poststop", supervisor.Fault{})
	lines := w.badEnd("poststop", res, 0)
	if len(res.Stderr) > 0 {
		lines = append(lines, fmt.Sprintf("poststop wrote %q", res.Stderr))
	}
	return append(append(lines, w.leftBehind()...), w.dataTouched()...)
}

// between tells when the file has lost a record that was to stay, or has one that
// nobody asked for.
func (e *expected) between(now map[string][]string) []string {
	var lines []string
	for _, key := range slices.Concat(keys(e.before.file), keys(e.after.file), keys(now)) {
		old, new := e.before.file[key], e.after.file[key]
		for _, r := range old {
			if slices.Contains(new, r) && !slices.Contains(now[key], r) {
				lines = append(lines, "device_hook.json lost "+r)
			}
		}
		for _, r := range now[key] {
			if !slices.Contains(old, r) && !slices.Contains(new, r) {
				lines = append(lines, "device_hook.json has "+r)
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

func keys(m map[string][]string) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}

// same tells in what a moment differs from another.
func same(what string, want, got moment) []string {
	lines := want.facts.diff(got.facts)
	if d := cmp.Diff(want.file, got.file); d != "" {
		lines = append(lines, "device_hook.json: "+d)
	}
	return prefix(what, lines)
}

// either tells in what a moment differs from both, if it does: from the one that
// it is nearer to.
func (e *expected) either(got moment) []string {
	before, after := same("not as before", e.before, got), same("not as after", e.after, got)
	if len(before) < len(after) {
		return before
	}
	return after
}
