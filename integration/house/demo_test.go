package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// demoHolds checks what `make demo` printed.
func demoHolds(t *testing.T, out string) {
	t.Helper()
	if !strings.Contains(out, "Everything above was checked as it was shown") || !strings.Contains(out, "This machine is as it was") {
		t.Errorf("make demo ended early:\n%s", out)
	}
}

// The demo checks every fact it shows, and that this machine is as it was; a
// test runs it so that it stays true.
func TestTheDemoHolds(t *testing.T) {
	c := exec.CommandContext(t.Context(), "make", "demo")
	c.Dir = top(t)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("make demo: %v\n%s", err, out)
	}
	demoHolds(t, string(out))
}

// Tests and the demo see nothing of what a host has of ours, and take nothing for
// their own doing that others do there meanwhile. Nor does it matter where the
// tree lies, that it has no history, or that nobody has a home. `make
// test-operator` runs all tests so.
func TestTheSuiteHoldsOnAnOperatorsHost(t *testing.T) {
	t.Parallel()
	if os.Getenv("ON_OPERATOR_HOST") != "" {
		return // all tests run so
	}
	dir := filepath.Join(t.TempDir(), "an operator's tree, and: spaces")
	tree(t, dir)
	output(t, dir, "env", "CGO_ENABLED=0", "go", "test", tags, "-trimpath", "-c", "-o", "bin/",
		"./integration/sandbox", "./integration/golden", "./integration/scenario")

	c := exec.CommandContext(t.Context(), "hack/operator-host", "bash", "-e", "-c", `
		make demo
		(cd integration/sandbox && ../../bin/sandbox.test)
		(cd integration/golden && ../../bin/golden.test -test.run '^TestGolden$/^isulad-tools$/^add-path-')
		(cd integration/scenario && ../../bin/scenario.test -test.run '^TestContainerHasItsResources$')
		[ "$(wc -l </var/log/hyperagent/isulad-tools.log)" -gt 1 ] && echo 'iSulad was at work'`)
	c.Dir = dir
	c.Env = append(shell("HOME", "GOCACHE", "GOMODCACHE"), "ISULAD_TOOLS_BIN="+filepath.Join(dir, executable),
		"GOCACHE="+strings.TrimSpace(output(t, dir, "go", "env", "GOCACHE")),
		"GOMODCACHE="+strings.TrimSpace(output(t, dir, "go", "env", "GOMODCACHE")))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	demoHolds(t, string(out))
	for _, want := range []string{"iSulad was at work", "PASS\nPASS\nPASS\n"} {
		if !strings.Contains(string(out), want) || strings.Contains(string(out), "no tests to run") {
			t.Errorf("it does not say %q, or ran no tests:\n%s", want, out)
		}
	}
}
