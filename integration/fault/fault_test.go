//go:build linux && amd64

package fault

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
)

// mountCalls can fail in ways of their own.
var mountCalls = []string{"mount", "umount2", "move_mount", "open_tree", "mount_setattr", "rmdir", "unlinkat"}

// interruptible calls return EINTR according to their man pages, or when a file
// system in user space says so; a program retries them.
var interruptible = []string{
	"openat", "openat2", "write", "pwrite64", "fsync", "flock", "fcntl", "ftruncate",
	"mkdirat", "mknodat", "unlinkat", "renameat", "symlinkat", "fchownat", "fchmodat",
}

// spaceCalls need room on a file system, or for another mount. A full disk stays
// full: the error is a sticky one.
var spaceCalls = []string{"openat", "openat2", "write", "pwrite64", "mkdirat", "mknodat", "renameat", "renameat2", "symlinkat", "linkat", "fsync", "mount"}

// errnos is the table of errors; the calls to which each applies.
var errnos = []injection{
	{unix.EIO, false, everyCall},
	{unix.EPERM, false, everyCall},
	{unix.ENOSPC, true, func(p supervisor.Point) bool { return slices.Contains(spaceCalls, p.Name) }},
	{unix.ENOMEM, false, func(p supervisor.Point) bool { return !slices.Contains(mountCalls, p.Name) }},
	{unix.EBUSY, false, func(p supervisor.Point) bool { return slices.Contains(mountCalls, p.Name) }},
	{unix.EINTR, false, func(p supervisor.Point) bool { return slices.Contains(interruptible, p.Name) }},
}

// injection is one error and the calls that may return it.
type injection struct {
	errno   syscall.Errno
	sticky  bool
	applies func(p supervisor.Point) bool
}

// lookErrnos is the table for points that only look.
var lookErrnos = []injection{
	{unix.EIO, false, everyCall},
	{unix.EINTR, false, func(p supervisor.Point) bool { return slices.Contains(interruptible, p.Name) }},
}

func everyCall(supervisor.Point) bool { return true }

// everyFault runs check for every point and every error that applies there.
// The undisturbed points say where an error applies.
func everyFault(w *world, c *tally, table []injection, points []supervisor.Point, check func(*world, supervisor.Fault) (*supervisor.Point, []string)) {
	c.t.Helper()
	for _, e := range table {
		for _, p := range points {
			if !e.applies(p) {
				continue
			}
			f := supervisor.Fault{At: p.N, Action: supervisor.Fail, Errno: e.errno, Sticky: e.sticky}
			w.reset()
			hit, lines := check(w, f)
			if hit == nil {
				c.t.Errorf("%v: %v was not reached", f, p)
				continue
			}
			if hit.Name != p.Name {
				c.t.Logf("%v: hit %v instead of %v", f, *hit, p)
			}
			c.add(f, hit, "", lines)
		}
	}
}

// TestFailingPrestart lets every point of prestart fail.
func TestFailingPrestart(t *testing.T) {
	w := newWorld(t)
	points, _ := w.learn()
	c := newTally(t, "fault loop, prestart")
	everyFault(w, c, errnos, points, failPrestart)
	c.log("the errors that apply")
}

// TestFailingPrestartPivoted does the same to a start by a runtime that has
// changed the root before.
func TestFailingPrestartPivoted(t *testing.T) {
	w := newWorld(t)
	w.options = []string{pivoted}
	points, _ := w.learn()
	c := newTally(t, "fault loop, prestart, pivoted")
	everyFault(w, c, errnos[:1], points, failPrestart)
	c.log("EIO")
}

// TestBlindPrestart lets prestart fail to open each thing that it wants to read.
func TestBlindPrestart(t *testing.T) {
	w := newWorld(t)
	w.classes = supervisor.Look
	points, _ := w.learn()
	listPoints(t, "prestart, of those that look,", points)
	c := newTally(t, "fault loop, prestart, reading")
	everyFault(w, c, lookErrnos, points, failPrestart)
	c.log("the errors that apply")
}

func failPrestart(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
	w.t.Helper()
	w.start()
	res := w.run("prestart", f)
	lines := slices.Concat(w.badEnd("prestart", res, 0, 1), w.dataTouched(), w.recordsDamaged(), w.unnoted())
	if res.Hit != nil && len(lines) == 0 {
		lines = append(lines, w.explained(f, res)...)
	}
	w.stop()
	return res.Hit, append(lines, w.cleanStop()...)
}

// liveness is the file that says whether a process lives. One that cannot be
// read is as good as none.
var liveness = regexp.MustCompile(`^"/proc/\d+/stat"`)

// explained checks that what prestart said fits what it did.
func (w *world) explained(f supervisor.Fault, res *supervisor.Result) []string {
	w.t.Helper()
	said := string(res.Stderr) + w.log()
	diff := w.reference.started.diff(w.snapshot())
	if res.ExitCode == 0 && len(diff) == 0 {
		return nil // it did not need the call, or made it again
	}
	var lines []string
	if f.Errno == unix.EINTR {
		lines = append(lines, fmt.Sprintf("an interrupted call was not repeated: %v, stderr %q", res, res.Stderr))
	}
	if !strings.Contains(said, f.Errno.Error()) && !liveness.MatchString(res.Hit.Args) {
		lines = append(lines, fmt.Sprintf("message does not give the reason %q: stderr %q log %q", f.Errno.Error(), res.Stderr, w.log()))
	}
	if res.ExitCode != 0 {
		lines = append(lines, notOneLine(res)...)
	}
	devices, binds := w.items()
	// A bind that fails is skipped and reported; nothing else is.
	for _, i := range append(devices, binds...) {
		absent, other := i.state(w.reference.started, diff)
		lines = append(lines, prefix("half made "+i.name, other)...)
		if absent && res.ExitCode == 0 && !strings.Contains(said, i.name) {
			lines = append(lines, fmt.Sprintf("%s is missing and nobody said so: stderr %q log %q", i.name, res.Stderr, w.log()))
		}
		if absent && res.ExitCode == 0 && slices.ContainsFunc(devices, func(d item) bool { return d.name == i.name }) {
			lines = append(lines, fmt.Sprintf("device %s is missing, exit 0", i.name))
		}
		diff = slices.DeleteFunc(diff, i.owns)
	}
	if res.ExitCode == 0 {
		lines = append(lines, prefix("container", diff)...)
	}
	return lines
}

// state tells from the differences to a whole start whether the item is absent,
// and lists its facts when it is there in part.
func (i item) state(whole facts, diff []string) (absent bool, half []string) {
	expected := 0
	for fact := range whole {
		if i.owns(fact) {
			expected++
		}
	}
	missing := 0
	for _, line := range diff {
		if !i.owns(line) {
			continue
		}
		if strings.HasPrefix(line, "- ") {
			missing++
		} else {
			half = append(half, line)
		}
	}
	if missing == expected && len(half) == 0 {
		return true, nil
	}
	if missing == 0 {
		return false, half
	}
	for fact := range whole {
		gone := slices.ContainsFunc(diff, func(line string) bool { return strings.HasPrefix(line, "- "+fact+": ") })
		if i.owns(fact) && !gone {
			half = append(half, "still there: "+fact)
		}
	}
	slices.Sort(half)
	return missing > 0, half
}

// notOneLine wants the one line that a user of the runtime gets to see, beside
// one warning when there is no log.
func notOneLine(res *supervisor.Result) []string {
	reasons, warnings := 0, 0
	for line := range strings.Lines(string(res.Stderr)) {
		if strings.Contains(line, logFile) {
			warnings++
		} else {
			reasons++
		}
	}
	if reasons != 1 || warnings > 1 {
		return []string{fmt.Sprintf("%v with %d reasons and %d warnings about the log on stderr: %q", res, reasons, warnings, res.Stderr)}
	}
	return nil
}

// TestFailingPoststop lets every point of poststop fail: it ends with 0 all the
// same, and a second run finds everything that is left.
func TestFailingPoststop(t *testing.T) {
	w := newWorld(t)
	_, points := w.learn()
	c := newTally(t, "fault loop, poststop")
	everyFault(w, c, errnos, points, failPoststop)
	c.log("the errors that apply")
}

// TestBlindPoststop lets poststop fail to open each thing that it wants to read.
func TestBlindPoststop(t *testing.T) {
	w := newWorld(t)
	w.classes = supervisor.Look
	_, points := w.learn()
	listPoints(t, "poststop, of those that look,", points)
	c := newTally(t, "fault loop, poststop, reading")
	everyFault(w, c, lookErrnos, points, failPoststop)
	c.log("the errors that apply")
}

func failPoststop(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
	w.t.Helper()
	w.start()
	lines := w.badEnd("prestart", w.run("prestart", supervisor.Fault{}), 0)
	w.stop()
	res := w.run("poststop", f)
	lines = append(lines, w.badEnd("poststop", res, 0)...)
	lines = append(lines, w.dataTouched()...)
	lines = append(lines, w.recordsDamaged()...)
	return res.Hit, append(lines, prefix("second", w.cleanStop())...)
}

// TestOlderKernel answers ENOSYS to each call that has a fallback: the container
// is the same.
func TestOlderKernel(t *testing.T) {
	w := newWorld(t)
	w.classes = supervisor.Change | supervisor.Guard | supervisor.Look
	points, _ := w.learn()
	c := newTally(t, "fault loop, older kernel")
	var names []string
	for _, p := range points {
		newer := []string{"openat2", "mount_setattr", "open_tree", "move_mount", "pidfd_open"}
		if !slices.Contains(newer, p.Name) || slices.Contains(names, p.Name) {
			continue
		}
		names = append(names, p.Name)
		f := supervisor.Fault{At: p.N, Action: supervisor.Fail, Errno: unix.ENOSYS, Sticky: true}
		w.reset()
		w.start()
		res := w.run("prestart", f)
		lines := w.badEnd("prestart", res, 0)
		lines = append(lines, w.notStarted()...)
		w.stop()
		lines = append(lines, w.cleanStop()...)
		c.add(f, &p, "", lines)
	}
	c.log(strings.Join(names, ", "))
}
