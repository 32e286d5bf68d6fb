//go:build linux && amd64

package fault

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/internal/place"
)

var kills = []supervisor.Action{supervisor.KillBefore, supervisor.KillAfter}

// scenario is what happens around a disturbed hook.
type scenario struct {
	name string
	run  func(*world, supervisor.Fault) (*supervisor.Point, []string)
}

// everyPoint runs the scenarios for every point of a hook until one is reached
// no more.
func everyPoint(w *world, c *tally, action supervisor.Action, scenarios []scenario) {
	c.t.Helper()
	everyPointFrom(w, c, action, 1, scenarios)
}

func everyPointFrom(w *world, c *tally, action supervisor.Action, first int, scenarios []scenario) {
	c.t.Helper()
	for _, s := range scenarios {
		for n := first; ; n++ {
			f := supervisor.Fault{At: n, Action: action}
			w.reset()
			hit, lines := s.run(w, f)
			if hit == nil {
				break
			}
			c.add(f, hit, s.name, lines)
		}
	}
}

// TestKilledPrestart kills prestart at every point.
func TestKilledPrestart(t *testing.T) {
	w := newWorld(t)
	points, _ := w.learn()
	listPoints(t, "prestart", points)
	c := newTally(t, "kill loop, prestart")
	for _, action := range kills {
		everyPoint(w, c, action, prestartSequels(action))
	}
	c.log("before/after × 3 sequels")
}

// prestartSequels are what may follow. What is so after one call is so before the next: the
// last two share the points.
func prestartSequels(action supervisor.Action) []scenario {
	last := scenario{"the hook again for the same start", killedThenRepeated}
	if action == supervisor.KillAfter {
		last = scenario{"repaired", killedThenRepaired}
	}
	return []scenario{{"stopped and started anew", killedThenStopped}, {"started anew at once", killedThenStarted}, last}
}

// TestKilledPrestartPivoted kills prestart at every point of a start by a runtime
// that has changed the root before: nothing propagates into the container.
func TestKilledPrestartPivoted(t *testing.T) {
	w := newWorld(t)
	w.options = []string{pivoted}
	points, _ := w.learn()
	listPoints(t, "prestart, pivoted,", points)
	c := newTally(t, "kill loop, prestart, pivoted")
	for _, action := range kills {
		everyPoint(w, c, action, []scenario{{"stopped and started anew", killedThenStopped}})
	}
	c.log("before/after")
}

// killedThenStopped is what runtimes do: a failed prestart is followed by
// poststop. Nothing may be left, and the next start must be whole.
func killedThenStopped(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
	w.t.Helper()
	w.start()
	res := w.run("prestart", f)
	lines := append(w.recordsDamaged(), w.unnoted()...)
	lines = append(lines, w.dataTouched()...)
	w.stop()
	lines = append(lines, w.cleanStop()...)
	lines = append(lines, w.recordsDamaged()...)
	lines = append(lines, w.wholeLife()...)
	return res.Hit, lines
}

// killedThenStarted is a host on which poststop did not run: what the dead start
// left is stale and must not be taken for the new one's.
func killedThenStarted(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
	w.t.Helper()
	w.start()
	res := w.run("prestart", f)
	lines := w.unnoted()
	w.stop()
	return res.Hit, append(lines, w.wholeLife()...)
}

// killedThenRepeated is a hook listed twice: the second run comes for the same
// process. It has to finish the work or to say why not.
func killedThenRepeated(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
	w.t.Helper()
	w.start()
	res := w.run("prestart", f)
	again := w.run("prestart", supervisor.Fault{})
	lines := w.badEnd("second prestart", again, 0, 1)
	if again.ExitCode == 0 {
		lines = append(lines, w.notStarted()...)
	} else {
		lines = append(lines, notOneLine(again)...)
	}
	w.stop()
	return res.Hit, append(lines, w.cleanStop()...)
}

// killedThenRepaired is a container that goes on although its start was not whole: check
// names what it lacks, and repair gives it that.
func killedThenRepaired(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
	w.t.Helper()
	w.start()
	w.known()
	defer func() { must(w.t, os.RemoveAll(runcRoot)) }()
	res := w.run("prestart", f)
	lacked := w.lacks()
	found, lines := w.mended()
	if len(lacked) > 0 && !found {
		lines = append(lines, prefix("check finds nothing", lacked)...)
	}
	lines = slices.Concat(lines, prefix("repaired", w.lacks()), w.dataTouched(), w.recordsDamaged(), w.unnoted())
	unpinned := w.wired && w.pin() != "the container's"
	w.stop()
	after := w.cleanStop()
	// Then what is lent goes with the namespace, unless it is hardware. The kernel ends that later:
	// until then the link, the ledger and the file of the pin, on which nothing is mounted, stay.
	if unpinned {
		after = slices.DeleteFunc(after, func(l string) bool {
			return strings.Contains(l, "link "+lent) || strings.Contains(l, "link "+cable) || strings.Contains(l, "."+id+".granted") || strings.Contains(l, "/netns/"+id)
		})
	}
	return res.Hit, append(lines, after...)
}

// lacks lists which recorded devices, permissions and paths the container does not have,
// whichever way it would have got them.
func (w *world) lacks() (lines []string) {
	w.t.Helper()
	devices, binds := w.items()
	for _, line := range w.reference.started.diff(w.snapshot()) {
		fact := strings.TrimLeft(line, "-+~ ")
		what, rest, _ := strings.Cut(fact, " ")
		real := what == "rule" || what == "inside" || what == "container" && !strings.HasPrefix(rest, place.SharedPath+"/")
		if real && slices.ContainsFunc(slices.Concat(devices, binds), func(i item) bool { return i.owns(fact) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// wholeLife starts and stops a container without interference.
func (w *world) wholeLife() []string {
	w.t.Helper()
	w.start()
	res := w.run("prestart", supervisor.Fault{})
	lines := w.badEnd("next prestart", res, 0)
	if res.ExitCode == 0 {
		lines = append(lines, w.notStarted()...)
	}
	lines = append(lines, w.dataTouched()...)
	w.stop()
	return append(lines, w.cleanStop()...)
}

// cleanStop runs poststop without interference; nothing may be left.
func (w *world) cleanStop() []string {
	w.t.Helper()
	res := w.run("poststop", supervisor.Fault{})
	lines := w.badEnd("poststop", res, 0)
	lines = append(lines, w.leftBehind()...)
	return append(lines, w.dataTouched()...)
}

// cleared removes the container after a poststop that was not whole: doctor names what is left,
// and repair --orphans removes that.
func (w *world) cleared() (lines []string) {
	w.t.Helper()
	must(w.t, removeTree(bundle))
	left := func() []string {
		return slices.DeleteFunc(w.leftBehind(), func(l string) bool { return strings.Contains(l, bundle) })
	}
	before := left()
	res := w.tool([]string{"doctor"}, supervisor.Fault{})
	if named := strings.Contains(string(res.Stdout), "container "+id+" is gone"); named != (len(before) > 0) {
		lines = append(prefix(fmt.Sprintf("doctor names leftovers: %v", named), before), string(res.Stderr))
	}
	for _, says := range []string{"Remove leftovers of container " + id, ""} {
		res := w.tool([]string{"repair", "--orphans"}, supervisor.Fault{})
		if len(before) == 0 {
			says = ""
		}
		if res.ExitCode != 0 || !strings.HasPrefix(string(res.Stdout), says) || (says == "") != (len(res.Stdout) == 0) {
			lines = append(lines, fmt.Sprintf("repair --orphans: %v: %s%s", res, res.Stdout, res.Stderr))
		}
	}
	return append(lines, left()...)
}

// TestKilledPoststop kills poststop at every point.
func TestKilledPoststop(t *testing.T) {
	w := newWorld(t)
	_, points := w.learn()
	listPoints(t, "poststop", points)
	c := newTally(t, "kill loop, poststop")
	for _, action := range kills {
		everyPoint(w, c, action, poststopSequels(action))
	}
	c.log("before/after × 2 sequels")
}

// poststopSequels are a killed poststop, and what may follow, as prestartSequels.
func poststopSequels(action supervisor.Action) []scenario {
	killed := func(sequel func(*world) []string) func(*world, supervisor.Fault) (*supervisor.Point, []string) {
		return func(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
			w.t.Helper()
			w.start()
			lines := w.badEnd("prestart", w.run("prestart", supervisor.Fault{}), 0)
			w.stop()
			res := w.run("poststop", f)
			lines = append(lines, w.dataTouched()...)
			lines = append(lines, w.recordsDamaged()...)
			return res.Hit, append(lines, sequel(w)...)
		}
	}
	last := scenario{"started anew at once", killed((*world).wholeLife)}
	if action == supervisor.KillAfter {
		last = scenario{"removed", killed((*world).cleared)}
	}
	return []scenario{{"stopped again", killed((*world).cleanStop)}, last}
}
