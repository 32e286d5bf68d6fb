// Package house checks what the compiler does not: that imports only go down,
// that the tree stays in its shape, and that the build gives one small static
// executable whose bytes depend on the commit alone. It knows nothing of what
// the program does.
package house

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "isula.org/isulad-tools"

// tags are the build's; without them other files would be listed.
const tags = "-tags=urfave_cli_no_docs"

// top is the root of the tree; go test runs in the package's folder.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// output runs a program in dir and returns what it prints on stdout.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// lines splits what a program printed.
func lines(out string) []string {
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// shipped are the folders that end up in the executable.
var shipped = []string{"cmd", "hooks", "container", "inspection", "devices", "mounts", "network", "kmod", "resource", "config", "internal", "selinux", "sysctl", "udev", "install"}
