package golden

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// compatCases reads which cases COMPAT.md lists: the names in backticks in the
// first column of its tables.
func compatCases(t *testing.T) map[string]bool {
	t.Helper()
	dir, err := sandbox.Module()
	check(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "COMPAT.md"))
	check(t, err)
	listed := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		row, ok := strings.CutPrefix(line, "| ")
		if !ok {
			continue
		}
		cell, _, _ := strings.Cut(row, " | ")
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			if listed[m[1]] {
				t.Errorf("COMPAT.md lists %s twice", m[1])
			}
			listed[m[1]] = true
		}
	}
	return listed
}

// judge compares one run with the recording, or with what COMPAT.md says
// instead; a listed case that agrees with the recording is listed wrongly.
func judge(t *testing.T, c *testCase, o *observed, listed bool) {
	t.Helper()
	d := c.differences(c.recorded(), o)
	if !listed {
		report(t, o, "differs from the recording", d)
		return
	}
	if len(d) == 0 {
		t.Error("agrees with the recording: take it out of COMPAT.md and of the table of deliberate differences")
	}
	e, ok := deliberate(c.Name)
	if !ok {
		t.Fatalf("COMPAT.md lists %s, but the table of deliberate differences does not say what to expect", c.Name)
	}
	report(t, o, "differs from what COMPAT.md promises", c.differences(e.wanted(c), o))
}

func report(t *testing.T, o *observed, what string, d []string) {
	t.Helper()
	if len(d) > 0 {
		t.Errorf("%s:\n%s\nstdout: %q\nstderr: %q", what, strings.Join(d, "\n"), o.stdout, o.stderr)
	}
}
