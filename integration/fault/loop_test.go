//go:build linux && amd64

package fault

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/fault/supervisor"
)

// tally counts what a loop has tried and found.
type tally struct {
	t          testing.TB
	what       string
	begin      time.Time
	points     int
	tries      int
	violations int
}

func newTally(t testing.TB, what string) *tally {
	return &tally{t: t, what: what, begin: time.Now()}
}

// add reports the violations found at one point.
func (c *tally) add(f supervisor.Fault, hit *supervisor.Point, variant string, lines []string) {
	c.t.Helper()
	c.tries++
	c.points = max(c.points, hit.N)
	if len(lines) == 0 {
		return
	}
	c.violations += len(lines)
	const most = 8
	more := ""
	if len(lines) > most {
		more = fmt.Sprintf("\n\t… and %d more", len(lines)-most)
		lines = lines[:most]
	}
	if variant != "" {
		variant = ", then " + variant
	}
	c.t.Error(short(fmt.Sprintf("%v: %v%s:\n\t%s%s", f, *hit, variant, strings.Join(lines, "\n\t"), more)))
}

// log prints the figures.
func (c *tally) log(how string) {
	c.t.Logf("%s: %d points × %s, %d tries in %s, %d violations; check has found nothing, as it should, %d times so far",
		c.what, c.points, how, c.tries, time.Since(c.begin).Round(100*time.Millisecond), c.violations, cleanChecks)
}

// listPoints prints the points of an undisturbed run.
func listPoints(t testing.TB, stage string, points []supervisor.Point) {
	t.Helper()
	lines := make([]string, len(points))
	for i, p := range points {
		lines[i] = p.String()
	}
	t.Log(short(fmt.Sprintf("%s has %d points:\n%s", stage, len(points), strings.Join(lines, "\n"))))
}

// short makes a text with many paths readable.
func short(s string) string {
	return strings.NewReplacer(bundle, "BUNDLE", image, "IMAGE", id, "ID").Replace(s)
}
