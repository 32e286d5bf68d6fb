package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// machine is one boot of the machine of hack/vm, and the tests that it runs.
type machine struct {
	name    string
	options []string // of hack/vm/run
	// limit is three times what the boot took on a busy machine, or more.
	limit   time.Duration
	script  string   // of the guest's shell, in the shared folder: runs the tests, "$@" are their flags
	flags   []string // more of them
	sources string   // the files that declare the tests
	wanted  func(test string) bool
}

// only is for the one who writes a test: like go test's -run, in the guest.
var only = os.Getenv("GUEST_RUN")

// tests runs a test program, with a copy in memory: one started from the shared
// folder is read through 9p, page by page.
func tests(program string) string {
	return "cp " + program + ".test /run/ && exec $AS /run/" + program + `.test -test.v "$@"`
}

// product is the program under test, which is its own installer, too.
var product string

// prepare makes what all machines have: their image, and the program under test.
func prepare(t *testing.T) {
	t.Helper()
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dependOn(t, root)
	buildImage(t, root)
	product = filepath.Join(t.TempDir(), "isulad-tools")
	build(t, root, "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", product, "./cmd/isulad-tools")
}

// share makes the folder that the machine and the guest share: with the program
// under test and test programs, by the names of their packages.
func share(t *testing.T, programs ...string) string {
	t.Helper()
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Link(product, filepath.Join(dir, filepath.Base(product))); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		build(t, root, "test", "-trimpath", "-c", "-tags", "vmguest", "-o", filepath.Join(dir, filepath.Base(p)+".test"), "./integration/"+p)
	}
	return dir
}

// boot starts the machine, hands on what the guest says, and requires of each of
// its tests that it ran and passed.
func (m *machine) boot(t *testing.T, share string) {
	t.Helper()
	run, err := filepath.Abs("../../hack/vm/run")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--timeout", strconv.Itoa(int(m.limit.Seconds()))}, m.options...)
	args = append(args, "--share", share, "--env", "GUEST_BOOT="+m.name, "--", "sh", "-c", m.script, "sh")
	wanted, others := m.declared(t)
	args = append(args, m.flags...)
	args = append(args, "-test.run", only, "-test.skip", "^("+strings.Join(others, "|")+")$")
	cmd := exec.CommandContext(t.Context(), run, args...)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(t.Output(), &out)
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	err = cmd.Run()
	took := time.Since(start)
	if cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", run, err)
	}
	processor := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("boot %s: the machine ran for %.0f s of at most %.0f, %.0f s of it on the processor", m.name, took.Seconds(), m.limit.Seconds(), processor.Seconds())
	noteTime(t, m.name, took, processor)
	if err != nil {
		t.Fatalf("tests in the guest: %v", err)
	}
	if only == "" {
		requireTests(t, wanted, out.String())
	}
}

// noteTime adds a line to the build's summary, see hack/stage.
func noteTime(t *testing.T, boot string, took, processor time.Duration) {
	t.Helper()
	file := os.Getenv("STAGES")
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "%.1f\t    boot %s\t%.0f s of processor\n", took.Seconds(), boot, processor.Seconds()); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// declared are the tests of the sources, those that are wanted and the others.
func (m *machine) declared(t *testing.T) (wanted, others []string) {
	t.Helper()
	files, err := filepath.Glob(m.sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(text, -1) {
			if name := string(f[1]); m.wanted == nil || m.wanted(name) {
				wanted = append(wanted, name)
			} else {
				others = append(others, name)
			}
		}
	}
	if len(wanted) == 0 {
		t.Fatalf("%s declares no test", m.sources)
	}
	return wanted, others
}

// requireTests fails when the guest left out one of the tests that are wanted: an empty
// test binary exits with 0 too.
func requireTests(t *testing.T, wanted []string, out string) {
	t.Helper()
	for _, name := range wanted {
		if !strings.Contains("\n"+out, "\n--- PASS: "+name+" (") {
			t.Errorf("%s did not pass in the guest", name)
		}
	}
}

// buildImage has hack/vm/build make what is missing. No machine is a failure,
// never a skip: these tests are the only ones that see modules load.
func buildImage(t *testing.T, root string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(root, "hack/vm/build")).CombinedOutput()
	if err == nil {
		return
	}
	hint := "see why with `make vm-image`"
	if os.Getenv("CI") == "true" {
		hint = "it needs root, apt-get with a Debian package source, and: apt-get install dpkg tar xz-utils util-linux"
	}
	t.Fatalf("build the test machine: %v\n%s%s", err, out, hint)
}

// build runs the go command; what it makes runs in the guest, so it is static.
func build(t *testing.T, root string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// dependOn looks at every folder below root, so that go test, which only knows
// what this process itself opens, does not take an old result for a new tree.
func dependOn(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil && d.IsDir() && (d.Name() == ".git" || path == filepath.Join(root, "bin")):
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
