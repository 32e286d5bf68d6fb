//go:build linux && amd64

package fault

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// reference is what one undisturbed start and stop bring.
type reference struct {
	started facts               // of the running container
	steady  sandbox.Fingerprint // the host afterwards: directories and the tmpfs stay
	records string              // device_hook.json after the start
}

// facts describe a running container and what the host has for it.
type facts map[string]string

// item is a resource of the scenario; all facts that contain one of its marks
// are its own.
type item struct {
	name  string // as messages name it
	marks []string
}

// items are what the scenario's device_hook.json asks for.
func (w *world) items() (devices, binds []item) {
	devices = []item{
		{"/dev/one", []string{"/dev/one", "rule c 10:229 "}},
		{"/dev/sub/two", []string{"/dev/sub", "rule c 10:200 "}},
	}
	for _, b := range []struct{ host, inside string }{
		{"/goldhost/rw", "/mnt/rw"}, {"/goldhost/ro", "/mnt/deep"}, {"/goldhost/file", "/etc/bound"}, {"/goldhost/made/here", "/mnt/made"},
	} {
		sha := fmt.Sprintf("%x", sha256.Sum256([]byte(b.host)))
		binds = append(binds, item{b.host, []string{sha, "container " + b.inside, "mount " + b.inside}})
	}
	last := &binds[len(binds)-1] // its host directory is the hook's work, too
	last.marks = append(last.marks, "host /goldhost/made")
	if w.wired {
		devices = append(devices, wiredItems...)
	}
	return devices, binds
}

// owns tells whether a fact is the item's.
func (i item) owns(fact string) bool {
	return slices.ContainsFunc(i.marks, func(m string) bool { return strings.Contains(fact, m) })
}

// fingerprint is the host without what differs from start to start for good
// reason: device_hook.json, which is checked by itself, and the record's size.
func (w *world) fingerprint() sandbox.Fingerprint {
	w.t.Helper()
	f, err := sandbox.TakeFingerprint()
	must(w.t, err)
	delete(f, "file "+hookFile)
	if w.wired {
		w.addWires(f)
	}
	for _, dir := range runDirs {
		for _, record := range []string{"containers/" + id, "containers/." + id + ".granted", "modules/asks/" + id} {
			key := "file " + filepath.Join(dir, record)
			if v, ok := f[key]; ok {
				v, _, _ = strings.Cut(v, " 0:0")
				f[key] = v + " 0:0"
			}
		}
	}
	return f
}

// namespace is the part of a mount line that names this start's namespace.
var namespace = regexp.MustCompile(`net:\[\d+\]`)

// snapshot collects the facts about the running container.
func (w *world) snapshot() facts {
	w.t.Helper()
	h := w.holder
	all := facts{}
	tree, err := sandbox.Tree(h.root()+"/", func(p string) bool { return p == "/proc" })
	must(w.t, err)
	for p, n := range tree {
		all["container "+p] = n.String()
	}
	mounts, err := sandbox.Mounts(h.Pid)
	must(w.t, err)
	for _, m := range sandbox.MountsBelow(mounts, h.rootfs) {
		line := sandbox.MountLine(m)
		if strings.Contains(line, " opts=ro,") {
			// It receives nothing. That of a hook that was killed is adopted by the next,
			// whose staging mount it is not of.
			line = strings.Replace(line, " prop=private ", " prop=slave ", 1)
		}
		all["mount "+line] += "+" // two of the same are told apart
	}
	rules, err := os.ReadFile(filepath.Join(h.cgroup, "devices.list"))
	must(w.t, err)
	for rule := range strings.Lines(string(rules)) {
		all["rule "+strings.TrimSpace(rule)] = "present"
	}
	for _, line := range w.pristine.Diff(w.fingerprint(), "cgroup "+w.cgroup) {
		key, value, _ := strings.Cut(line, ": ")
		all["host "+namespace.ReplaceAllString(key, "net:[N]")] = value
	}
	for _, p := range []string{hostDir + "/made", hostDir + "/made/here"} {
		if n, err := sandbox.Lstat(p); err == nil {
			all["host "+p] = n.String()
		}
	}
	if w.wired {
		w.addInside(all)
	}
	all["netns pin"] = w.pin()
	all["start record"] = w.record()
	return all
}

// pin tells whose network namespace is pinned.
func (w *world) pin() string {
	var own, pinned unix.Stat_t
	must(w.t, unix.Stat(fmt.Sprintf("/proc/%d/ns/net", w.holder.Pid), &own))
	if err := unix.Stat(filepath.Join(runDirs[0], "netns", id), &pinned); err != nil {
		return err.Error()
	}
	if own.Ino != pinned.Ino || own.Dev != pinned.Dev {
		return "not the container's"
	}
	return "the container's"
}

// record is the start record with this start's numbers taken out.
func (w *world) record() string {
	data, err := os.ReadFile(filepath.Join(runDirs[0], "containers", id))
	if errors.Is(err, fs.ErrNotExist) {
		return "none"
	}
	must(w.t, err)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.holder.Pid))
	must(w.t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	start := strings.Fields(rest)[19] // field 22 of proc(5)
	return strings.NewReplacer(fmt.Sprintf(`"pid":%d,`, w.holder.Pid), `"pid":PID,`, `"start":`+start, `"start":START`).Replace(string(data))
}

// diff lists what now has otherwise than f: - missing, + more, ~ changed.
func (f facts) diff(now facts) []string {
	return sandbox.Fingerprint(f).Diff(sandbox.Fingerprint(now))
}

// learn takes the reference from one undisturbed start and stop, and checks
// that it is what it should be.
func (w *world) learn() (prestart, poststop []supervisor.Point) {
	w.t.Helper()
	w.reset()
	w.start()
	w.bare = w.snapshot()
	up := w.run("prestart", supervisor.Fault{Action: supervisor.Observe})
	if up.ExitCode != 0 || len(up.Stderr) != 0 {
		w.t.Fatalf("prestart: %v\nstderr: %s\nlog: %s", up, up.Stderr, w.log())
	}
	w.reference = &reference{started: w.snapshot()}
	records, err := os.ReadFile(hookFile)
	must(w.t, err)
	w.reference.records = string(records)
	w.checkStarted()
	for _, line := range w.unnoted() {
		w.t.Errorf("after an undisturbed start: %s", line)
	}
	if open := w.ledger(); len(open.devices) == 0 || len(open.paths) == 0 || w.wired == (len(open.nics) == 0) {
		w.t.Errorf("after an undisturbed start the ledger has %+v", open)
	}
	checkRecords(w.t, w.records, w.reference.records)
	w.stop()
	down := w.run("poststop", supervisor.Fault{Action: supervisor.Observe})
	if down.ExitCode != 0 || len(down.Stderr) != 0 {
		w.t.Fatalf("poststop: %v\nstderr: %s\nlog: %s", down, down.Stderr, w.log())
	}
	w.reference.steady = w.fingerprint()
	w.checkSteady()
	for _, line := range w.dataTouched() {
		w.t.Error("after an undisturbed start and stop: " + line)
	}
	if w.t.Failed() {
		w.t.FailNow() // everything below would say the same again
	}
	return up.Points, down.Points
}

// checkStarted fails unless the reference has what was asked for.
func (w *world) checkStarted() {
	w.t.Helper()
	for key, want := range map[string]string{
		"container /dev/one":     "c 0640 1000:1001 10:229",
		"container /dev/sub":     "d 0755 0:0",
		"container /dev/sub/two": "c 0666 0:0 10:200",
		"rule c 10:229 rw":       "present", "rule c 10:200 rwm": "present",
		"container /mnt/rw/a/b/precious":    "f 0640 0:0",
		"container /mnt/deep/ro/x/precious": "f 0640 0:0",
		"container /etc/bound":              "f 0640 0:0",
		"container /mnt/made":               "d 0755 0:0",
		"host /goldhost/made/here":          "d 0755 0:0",
		"netns pin":                         "the container's",
	} {
		if got := w.reference.started[key]; got != want {
			w.t.Errorf("after prestart, %s is %q, want %q", key, got, want)
		}
	}
	if w.reference.started["start record"] == "none" {
		w.t.Error("after prestart there is no start record")
	}
	root := w.holder.root()
	for p, want := range map[string]error{
		"/mnt/rw/a/b/precious": nil, "/mnt/deep/ro/x/precious": unix.EROFS, "/etc/bound": unix.EROFS, "/.sharedpath/new": unix.EROFS,
	} {
		fd, err := unix.Open(root+p, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err == nil {
			unix.Close(fd)
		}
		if !errors.Is(err, want) {
			w.t.Errorf("writing to %s in the container: %v, want %v", p, err, want)
		}
	}
	for line := range w.reference.started {
		if strings.HasPrefix(line, "mount /mnt/rw ") && !strings.Contains(line, "prop=slave") {
			w.t.Errorf("rslave bind: %s", line)
		}
	}
}

// checkSteady fails unless only the places themselves stay after poststop.
func (w *world) checkSteady() {
	w.t.Helper()
	for _, line := range w.pristine.Diff(w.reference.steady) {
		if strings.Contains(line, id) && !strings.Contains(line, "/.device_hook.lock") || strings.HasPrefix(line, "-") ||
			strings.HasPrefix(line, "+ mount ") && !strings.Contains(line, "mount /.sharedpath/master ") {
			w.t.Errorf("after an undisturbed start and stop: %s", line)
		}
	}
}

// checkRecords fails unless the rewritten device_hook.json differs from the old
// one in the device's new number only.
func checkRecords(t testing.TB, old, text string) {
	t.Helper()
	var before, after map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(old), &before))
	must(t, json.Unmarshal([]byte(text), &after))
	for key, old := range before {
		if key == "deviceToAdd" {
			continue
		}
		if got := string(after[key]); got != string(old) {
			t.Errorf("device_hook.json: %s is %s, want %s", key, got, old)
		}
	}
	var oldList, newList []map[string]any
	must(t, json.Unmarshal(before["deviceToAdd"], &oldList))
	must(t, json.Unmarshal(after["deviceToAdd"], &newList))
	oldList[0]["Minor"] = float64(229)
	if len(before) != len(after) || !reflect.DeepEqual(oldList, newList) {
		t.Errorf("device_hook.json: %s, want only the minor number of /goldhost/one changed", text)
	}
}

// hostData is the content of the trees that the container gets a view of,
// without the directory that the hook makes.
func (w *world) hostData() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, dir := range []string{hostDir, victim} {
		tree, err := sandbox.Tree(dir, nil)
		must(w.t, err)
		for p, n := range tree {
			if dir == hostDir && (p == "/made" || strings.HasPrefix(p, "/made/")) {
				continue
			}
			line := n.String()
			if n.Type == "f" {
				content, err := os.ReadFile(dir + p)
				must(w.t, err)
				line += fmt.Sprintf(" %x", sha256.Sum256(content))
			}
			all[dir+p] = line
		}
	}
	return all
}

func (w *world) log() string {
	data, err := os.ReadFile(logFile)
	must(w.t, ignore(err, fs.ErrNotExist))
	return string(data)
}

// The following collect violations, one line each.

// dataTouched tells what changed in the host's own data.
func (w *world) dataTouched() []string {
	return prefix("host data", facts(w.data).diff(w.hostData()))
}

// leftBehind tells what the host has that it has neither before the first
// start nor after an undisturbed one.
func (w *world) leftBehind() []string {
	var lines []string
	now := w.fingerprint()
	steady := w.pristine.Diff(w.reference.steady)
	// A start that ended before the tmpfs was mounted leaves its mount point bare.
	steady = append(steady, "+ file /.sharedpath/master: d 0600 0:0 0 bytes")
	for _, line := range w.pristine.Diff(now) {
		if !slices.Contains(steady, line) {
			lines = append(lines, line)
		}
	}
	return prefix("left", lines)
}

// recordsDamaged tells when device_hook.json is neither the old nor the new one.
func (w *world) recordsDamaged() []string {
	data, err := os.ReadFile(hookFile)
	if err != nil {
		return []string{"device_hook.json: " + err.Error()}
	}
	if s := string(data); s != w.records && s != w.reference.records {
		return []string{fmt.Sprintf("device_hook.json is neither old nor new: %q", s)}
	}
	return nil
}

// notStarted tells in what the container differs from an undisturbed one.
func (w *world) notStarted() []string {
	return prefix("container", w.reference.started.diff(w.snapshot()))
}

// badEnd tells when the hook ended otherwise than with one of the given exit
// codes, or talked like a crash.
func (w *world) badEnd(what string, res *supervisor.Result, codes ...int) []string {
	var lines []string
	if !slices.Contains(codes, res.ExitCode) || res.TimedOut {
		lines = append(lines, fmt.Sprintf("%s: %v, want exit %v; stderr %q log %q", what, res, codes, res.Stderr, w.log()))
	}
	if res.Orphans > 0 {
		lines = append(lines, fmt.Sprintf("%s: left %d processes", what, res.Orphans))
	}
	text := string(res.Stderr)
	if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
		return []string{fmt.Sprintf("%s: %v: %.600q", what, res, text)}
	}
	if n := strings.Count(strings.TrimSpace(text), "\n"); n > 4 {
		lines = append(lines, fmt.Sprintf("%s: %d lines on stderr: %q", what, n+1, text))
	}
	return lines
}

func prefix(p string, lines []string) []string {
	for i := range lines {
		lines[i] = p + ": " + lines[i]
	}
	return lines
}

// ignore drops one error that is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
