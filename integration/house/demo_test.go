package house

import (
	"os/exec"
	"strings"
	"testing"
)

// The demo checks every fact it shows, and that this machine is as it was; a
// test runs it so that it stays true.
func TestTheDemoHolds(t *testing.T) {
	c := exec.CommandContext(t.Context(), "make", "demo")
	c.Dir = top(t)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("make demo: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "Everything above was checked as it was shown") || !strings.Contains(string(out), "This machine is as it was") {
		t.Errorf("make demo ended early:\n%s", out)
	}
}
