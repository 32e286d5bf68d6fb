//go:build linux && amd64

package fault

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// runcRoot is where the command line finds the container.
const runcRoot = "/tmp/runc"

// given are the paths that the commands add and remove, with what they print.
// The host has no directory for the second one yet.
var given = []struct{ host, inside, options string }{
	{hostDir + "/rw/a", "/mnt/cmd", "ro,rslave"},
	{hostDir + "/made/cmd", "/mnt/new/deep", "rw"},
}

// running is a container whose hook has run, as commands find it.
type running struct {
	*world
	states map[string]facts  // by which of the given it has: "00", "10", "01" or "11"
	files  map[string]string // device_hook.json, the same
}

func newRunning(t *testing.T) *running {
	w := newWorld(t)
	w.learn()
	w.reset()
	w.start()
	t.Cleanup(w.reset)
	for _, line := range w.badEnd("prestart", w.run("prestart", supervisor.Fault{}), 0) {
		t.Fatal(line)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.holder.Pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	must(t, os.MkdirAll(filepath.Join(runcRoot, id), 0o700))
	t.Cleanup(func() { must(t, os.RemoveAll(runcRoot)) })
	must(t, os.WriteFile(filepath.Join(runcRoot, id, "state.json"), fmt.Appendf(nil,
		`{"id":%q,"init_process_pid":%d,"init_process_start":%s,"config":{"labels":["bundle=%s"]}}`,
		id, w.holder.Pid, strings.Fields(rest)[19], bundle), 0o600))
	return &running{w, map[string]facts{}, map[string]string{}}
}

// do runs a command on those of the given that which has a 1 for.
func (r *running) do(command, which string, f supervisor.Fault) *supervisor.Result {
	r.t.Helper()
	args := []string{"isulad-tools", "--engine", "runc:" + runcRoot, command, id}
	for i, g := range given {
		if which[i] == '1' {
			args = append(args, g.host+":"+g.inside+":"+g.options)
		}
	}
	res, err := supervisor.Command{
		Path: r.bin, Args: args, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Dir: "/", Timeout: hang, Ignore: ofRuntime, Classes: r.classes,
	}.Run(f)
	must(r.t, err)
	return res
}

// printed tells from what the command printed which of the given it is done with.
func printed(res *supervisor.Result) string {
	which := []byte("00")
	for i, g := range given {
		if strings.Contains(string(res.Stdout), "path ("+g.host+") ") {
			which[i] = '1'
		}
	}
	return string(which)
}

func (r *running) look() (facts, string) {
	r.t.Helper()
	all := r.snapshot()
	if n, err := sandbox.Lstat(given[1].host); err == nil {
		all["host "+given[1].host] = n.String()
	}
	data, err := os.ReadFile(hookFile)
	must(r.t, err)
	return all, string(data)
}

// is compares the container with one that has these of the given.
func (r *running) is(which string) []string {
	r.t.Helper()
	now, file := r.look()
	lines := prefix("container", r.states[which].diff(now))
	if file != r.files[which] {
		lines = append(lines, fmt.Sprintf("device_hook.json is %s", file))
	}
	return lines
}

// clean takes away what a command has left, also the mount points and the
// directory, which stay when a path goes.
func (r *running) clean() {
	r.t.Helper()
	res := r.do("remove-path", "11", supervisor.Fault{})
	if res.TimedOut {
		r.t.Fatalf("remove-path: %v", res)
	}
	for _, p := range []string{"/mnt/cmd", "/mnt/new/deep", "/mnt/new"} {
		must(r.t, ignore(unix.Rmdir(r.holder.root()+p), unix.ENOENT))
	}
	must(r.t, ignore(os.Remove(given[1].host), fs.ErrNotExist))
}

// whole fails the test when a command that nobody disturbs does not do all.
func (r *running) whole(command, which string) *supervisor.Result {
	r.t.Helper()
	res := r.do(command, which, supervisor.Fault{})
	if res.ExitCode != 0 || len(res.Stderr) != 0 || printed(res) != which {
		r.t.Fatalf("%s %s: %v\nstdout: %s\nstderr: %s", command, which, res, res.Stdout, res.Stderr)
	}
	return res
}

func (r *running) remember(which string) { r.states[which], r.files[which] = r.look() }

// TestFailingAddPath lets every point of add-path fail: what it says that it has
// done is done, and nothing of the rest is there.
func TestFailingAddPath(t *testing.T) { failAddPath(t, 0, errnos) }

// TestBlindAddPath lets add-path fail to open each thing that it wants to read.
func TestBlindAddPath(t *testing.T) { failAddPath(t, supervisor.Look, lookErrnos) }

func failAddPath(t *testing.T, classes supervisor.Class, table []injection) {
	r := newRunning(t)
	r.classes = classes
	r.remember("00")
	r.whole("add-path", "10")
	r.remember("10")
	r.clean()
	points := r.whole("add-path", "11").Points
	r.remember("11")
	r.clean()
	listPoints(t, "add-path", points)
	c := newTally(t, "fault loop, add-path")
	r.every(c, table, points, func(f supervisor.Fault) (*supervisor.Point, []string) {
		res := r.do("add-path", "11", f)
		done := printed(res)
		if done == "01" {
			return res.Hit, []string{fmt.Sprintf("it went on after a failure: %s", res.Stdout)}
		}
		return res.Hit, r.said(f, res, done, done)
	})
	c.log("the errors that apply")
}

// TestFailingRemovePath does the same to remove-path, which goes on.
func TestFailingRemovePath(t *testing.T) { failRemovePath(t, 0, errnos) }

// TestBlindRemovePath does it to what remove-path reads.
func TestBlindRemovePath(t *testing.T) { failRemovePath(t, supervisor.Look, lookErrnos) }

func failRemovePath(t *testing.T, classes supervisor.Class, table []injection) {
	r := newRunning(t)
	r.classes = classes
	// Mount points stay, so what is compared has had both.
	r.whole("add-path", "11")
	r.remember("11")
	for _, which := range []string{"10", "01"} {
		r.whole("remove-path", which)
		r.remember(map[string]string{"10": "01", "01": "10"}[which])
		r.clean()
		r.whole("add-path", "11")
	}
	points := r.whole("remove-path", "11").Points
	r.remember("00")
	r.clean()
	listPoints(t, "remove-path", points)
	c := newTally(t, "fault loop, remove-path")
	r.every(c, table, points, func(f supervisor.Fault) (*supervisor.Point, []string) {
		r.whole("add-path", "11")
		res := r.do("remove-path", "11", f)
		stays := strings.NewReplacer("0", "1", "1", "0").Replace(printed(res))
		return res.Hit, r.said(f, res, printed(res), stays)
	})
	c.log("the errors that apply")
}

// every is everyFault for one container that serves all of them, and knows that it
// runs.
func (r *running) every(c *tally, table []injection, points []supervisor.Point, check func(supervisor.Fault) (*supervisor.Point, []string)) {
	r.t.Helper()
	var bare facts
	for _, e := range table {
		for _, p := range points {
			if !e.applies(p) || liveness.MatchString(p.Args) {
				continue
			}
			f := supervisor.Fault{At: p.N, Action: supervisor.Fail, Errno: e.errno, Sticky: e.sticky}
			hit, lines := check(f)
			if hit == nil {
				r.t.Errorf("%v: %v was not reached", f, p)
				continue
			}
			lines = append(lines, r.dataTouched()...)
			r.clean()
			now, _ := r.look()
			if bare == nil {
				bare = now
			}
			lines = append(lines, prefix("left after removal", bare.diff(now))...)
			c.add(f, hit, "", lines)
		}
	}
}

// said checks that what a command said fits what is: those of the given in is.
func (r *running) said(f supervisor.Fault, res *supervisor.Result, done, is string) []string {
	r.t.Helper()
	said := string(res.Stderr)
	lines := r.badEnd("command", res, 0, 1)
	if (res.ExitCode == 0) != (done == "11") {
		lines = append(lines, fmt.Sprintf("%v, and printed %q and %q", res, res.Stdout, said))
	}
	if res.ExitCode != 0 && !strings.Contains(said, f.Errno.Error()) {
		lines = append(lines, fmt.Sprintf("message does not give the reason %q: %q", f.Errno.Error(), said))
	}
	if f.Errno == unix.EINTR && res.ExitCode != 0 {
		lines = append(lines, fmt.Sprintf("an interrupted call was not repeated: %q", said))
	}
	state := r.is(is)
	if strings.Contains(said, "undo: ") || f.Sticky {
		return lines // it says itself that something is left; what, a repetition shows
	}
	if strings.Contains(said, "save ") {
		// The file may hold more than there is, never less.
		state = slices.DeleteFunc(state, func(line string) bool { return strings.HasPrefix(line, "device_hook.json is ") })
	}
	return append(lines, state...)
}

// TestKilledPathCommands kills add-path and remove-path at every point. The same
// once more, path by path, completes what was begun.
func TestKilledPathCommands(t *testing.T) {
	r := newRunning(t)
	r.whole("add-path", "11")
	r.remember("11")
	r.whole("remove-path", "11")
	r.remember("00") // with mount points
	r.clean()
	for command, c := range map[string]struct{ end, refusal string }{
		"add-path":    {"11", "Mount more than one host paths to a single path in container"},
		"remove-path": {"00", "is not added by isulad-tools"},
	} {
		tally := newTally(t, "kill loop, "+command)
		for _, action := range kills {
			for n := 1; ; n++ {
				if command == "remove-path" {
					r.whole("add-path", "11")
				}
				f := supervisor.Fault{At: n, Action: action}
				res := r.do(command, "11", f)
				if res.Hit == nil {
					r.clean()
					break
				}
				var lines []string
				for _, which := range []string{"10", "01"} {
					if again := r.do(command, which, supervisor.Fault{}); again.ExitCode != 0 && !strings.Contains(string(again.Stderr), c.refusal) {
						lines = append(lines, fmt.Sprintf("once more: %q", again.Stderr))
					}
				}
				lines = append(lines, r.is(c.end)...)
				lines = append(lines, r.dataTouched()...)
				r.clean()
				tally.add(f, res.Hit, "", lines)
			}
		}
		tally.log("before/after")
	}
}
