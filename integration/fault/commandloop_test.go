//go:build linux && amd64

package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
)

// TestKilledCommands kills each command at every point. Then the command is
// repeated, and taken back, or the container is started anew, or it is repaired.
func TestKilledCommands(t *testing.T) {
	newCommandWorld(t).killAll(t, changes)
}

// TestKilledAddPathCutOff is that for a container that has a shared path, of which its runtime
// has cut it off: it is served directly.
func TestKilledAddPathCutOff(t *testing.T) {
	w := newCommandWorld(t)
	w.cutOff = true
	i := slices.IndexFunc(changes, func(c change) bool { return c.name == "add-path" })
	w.killAll(t, changes[i:i+1])
}

func (w *world) killAll(t *testing.T, changes []change) {
	for i := range changes {
		c := &changes[i]
		t.Run(c.name, func(t *testing.T) {
			defer w.on(t)()
			e, points := w.whole(c)
			listPoints(t, c.name, points)
			count := newTally(t, "kill loop, "+c.name)
			for j, action := range kills {
				for n := 1; n <= len(points); n++ {
					f := supervisor.Fault{At: n, Action: action}
					sequel, name := w.repeated, "repeated and taken back"
					switch (n + j) % 3 {
					case 0:
						sequel, name = w.startedAnew, "started anew"
					case 1:
						sequel, name = w.repaired, "repaired"
					}
					w.up(c)
					res := w.tool(c.args, f)
					if res.Hit == nil {
						t.Errorf("%v: not reached", f)
						continue
					}
					lines := slices.Concat(e.between(w.now().file), w.dataTouched(), w.unnoted())
					lines = append(lines, sequel(c, &e)...)
					count.add(f, res.Hit, name, append(lines, w.end()...))
				}
			}
			count.log("before/after, one of 3 sequels each")
		})
	}
}

// on has the world's failures be those of a part of a test.
func (w *world) on(t testing.TB) (back func()) {
	outer := w.t
	w.t = t
	return func() { w.t = outer }
}

// repeated runs a killed command again. It completes what is missing; where it
// says that nothing is, that is so. Then it can be taken back.
func (w *world) repeated(c *change, e *expected) []string {
	w.t.Helper()
	res := w.tool(c.args, supervisor.Fault{})
	lines := w.badEnd(c.name+", repeated", res, 0, 1)
	now := w.now()
	if res.ExitCode == 0 {
		lines = append(lines, same("repeated", e.after, now)...)
	} else {
		lines = append(lines, notOneLine(res)...)
		lines = append(lines, prefix("repeated, "+string(res.Stderr), e.between(now.file))...)
	}
	if res = w.takeBack(c); res.ExitCode != 0 {
		return append(lines, fmt.Sprintf("taken back: %v: %s", res, res.Stderr))
	}
	return append(lines, prefix("taken back", e.before.facts.diff(w.now().facts))...)
}

// startedAnew starts the container once more: it has all that the file says.
func (w *world) startedAnew(_ *change, e *expected) []string {
	w.t.Helper()
	w.again()
	lines := w.unlike()
	now := w.now()
	before, after := e.started.diff(now.facts), e.anew.diff(now.facts)
	switch {
	case cmp.Equal(now.file, e.before.file):
		return append(lines, prefix("started with what was recorded before", before)...)
	case cmp.Equal(now.file, e.after.file):
		return append(lines, prefix("started with what is recorded after", after)...)
	}
	return append(lines, e.between(now.file)...)
}

// repaired has the container repaired: then it has exactly what the file says, and a second
// repair has nothing to do.
func (w *world) repaired(_ *change, e *expected) []string {
	w.t.Helper()
	_, lines := w.mended()
	now := w.now()
	for f := range now.facts { // goes with the next rule that is written
		if strings.Contains(f, "/.99-isulad-tools.rules.new") {
			delete(now.facts, f)
		}
	}
	switch {
	case cmp.Equal(now.file, e.before.file):
		return append(lines, prefix("repaired with what was recorded before", e.before.facts.diff(now.facts))...)
	case cmp.Equal(now.file, e.after.file):
		return append(lines, prefix("repaired with what is recorded after", e.after.facts.diff(now.facts))...)
	}
	return append(lines, e.between(now.file)...)
}

// mended has the container checked and repaired: then check finds nothing, and a second repair
// has nothing to do. found tells whether it did before.
func (w *world) mended() (found bool, lines []string) {
	w.t.Helper()
	res := w.tool([]string{"check", id}, supervisor.Fault{})
	found, lines = res.ExitCode == 1, w.badEnd("check", res, 0, 1)
	if res := w.tool([]string{"repair", id}, supervisor.Fault{}); res.ExitCode != 0 {
		lines = append(lines, fmt.Sprintf("repair: %v: %s", res, res.Stderr))
	}
	lines = append(lines, w.unlike()...)
	if res := w.tool([]string{"repair", id}, supervisor.Fault{}); res.ExitCode != 0 || len(res.Stdout) > 0 {
		lines = append(lines, fmt.Sprintf("a second repair: %v: %s%s", res, res.Stdout, res.Stderr))
	}
	return found, lines
}

// cleanChecks counts the looks at containers that are as they should be.
var cleanChecks int

// unlike tells where check finds the container not as it is recorded.
func (w *world) unlike() []string {
	w.t.Helper()
	res := w.tool([]string{"check", id}, supervisor.Fault{})
	if res.ExitCode == 0 && len(res.Stdout) == 0 {
		cleanChecks++
		return nil
	}
	return []string{fmt.Sprintf("check: %v: %s%s", res, res.Stdout, res.Stderr)}
}

// TestFailingCommands lets every point of each command fail: it says so and has
// done nothing, or it has done all.
func TestFailingCommands(t *testing.T) {
	newCommandWorld(t).failAll(t, changes)
}

func (w *world) failAll(t *testing.T, changes []change) {
	for i := range changes {
		c := &changes[i]
		t.Run(c.name, func(t *testing.T) {
			defer w.on(t)()
			e, points := w.whole(c)
			count := newTally(t, "fault loop, "+c.name)
			for _, table := range []injection{errnos[0], errnos[2], errnos[5]} {
				for _, p := range points {
					if !table.applies(p) {
						continue
					}
					f := supervisor.Fault{At: p.N, Action: supervisor.Fail, Errno: table.errno, Sticky: table.sticky}
					w.up(c)
					res := w.tool(c.args, f)
					if res.Hit == nil {
						t.Errorf("%v: %v was not reached", f, p)
						continue
					}
					lines := append(w.failed(c, &e, f, res), w.dataTouched()...)
					count.add(f, res.Hit, "", append(lines, w.end()...))
				}
			}
			count.log("EIO, ENOSPC, EINTR where they apply")
		})
	}
}

// failed judges a command of which a call has failed.
func (w *world) failed(c *change, e *expected, f supervisor.Fault, res *supervisor.Result) []string {
	w.t.Helper()
	now := w.now()
	lines := slices.Concat(w.badEnd(c.name, res, 0, 1), e.between(now.file), w.unnoted())
	switch {
	case res.ExitCode == 0:
		if string(res.Stdout) != e.said {
			lines = append(lines, fmt.Sprintf("exit 0, printed %q", res.Stdout))
		}
		// A node that cannot be removed is of no use any more, which is said.
		for _, l := range same("exit 0", e.after, now) {
			if node, _, _ := strings.Cut(strings.TrimPrefix(l, "exit 0: + container "), ":"); !strings.Contains(string(res.Stderr), "remove node "+node+":") {
				lines = append(lines, l)
			}
		}
		return lines
	case errors.Is(f.Errno, unix.EINTR):
		return append(lines, fmt.Sprintf("an interrupted call was not repeated: %s", res.Stderr))
	}
	if !strings.Contains(string(res.Stderr), f.Errno.Error()) {
		lines = append(lines, fmt.Sprintf("the message does not give the reason %q: %q", f.Errno.Error(), res.Stderr))
	}
	if f.Sticky {
		// What cannot be written cannot be taken back either. It is said, and the
		// next start makes it right.
		return append(lines, w.startedAnew(c, e)...)
	}
	lines = append(lines, notOneLine(res)...)
	half := e.either(now)
	if len(half) == 0 || strings.HasPrefix(c.name, "add-") {
		return append(lines, half...)
	}
	// What is half taken away is not put back, but taken away by the next try.
	if again := w.tool(c.args, supervisor.Fault{}); again.ExitCode != 0 {
		return append(lines, fmt.Sprintf("repeated: %v: %s", again, again.Stderr))
	}
	return append(lines, same("repeated", e.after, w.now())...)
}
