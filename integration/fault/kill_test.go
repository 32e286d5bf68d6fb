//go:build linux && amd64

package fault

import (
	"testing"

	"isula.org/isulad-tools/integration/fault/supervisor"
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
	for _, s := range scenarios {
		for n := 1; ; n++ {
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
		everyPoint(w, c, action, []scenario{
			{"stopped and started anew", killedThenStopped},
			{"started anew at once", killedThenStarted},
			{"the hook again for the same start", killedThenRepeated},
		})
	}
	c.log("before/after × 3 sequels")
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

// TestKilledPoststop kills poststop at every point.
func TestKilledPoststop(t *testing.T) {
	w := newWorld(t)
	_, points := w.learn()
	listPoints(t, "poststop", points)
	c := newTally(t, "kill loop, poststop")
	disturbed := func(sequel func(*world) []string) func(*world, supervisor.Fault) (*supervisor.Point, []string) {
		return func(w *world, f supervisor.Fault) (*supervisor.Point, []string) {
			w.start()
			lines := w.badEnd("prestart", w.run("prestart", supervisor.Fault{}), 0)
			w.stop()
			res := w.run("poststop", f)
			lines = append(lines, w.dataTouched()...)
			lines = append(lines, w.recordsDamaged()...)
			return res.Hit, append(lines, sequel(w)...)
		}
	}
	for _, action := range kills {
		everyPoint(w, c, action, []scenario{
			{"stopped again", disturbed((*world).cleanStop)},
			{"started anew at once", disturbed((*world).wholeLife)},
		})
	}
	c.log("before/after × 2 sequels")
}
