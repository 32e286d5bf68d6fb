// Package vm runs the tests of package guest on a stock Debian kernel: it
// builds them and isulad-tools, boots the machine of hack/vm once and hands on
// what the guest says.
package vm

import (
	"bytes"
	"errors"
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

// limit is three times what a run took on two cores with six other jobs, 140 s;
// alone it takes 60.
const limit = 420 * time.Second

// blacklisted is on the guest's kernel command line; package guest expects it.
const blacklisted = "module_blacklist=nlmon"

func TestCgroupV1(t *testing.T) {
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dependOn(t, root)
	buildImage(t, root)
	share := t.TempDir()
	build(t, root, "build", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(share, "isulad-tools"), "./cmd/isulad-tools")
	build(t, root, "build", "-o", filepath.Join(share, "install"), "./hack/install")
	build(t, root, "test", "-c", "-tags", "vmguest", "-o", filepath.Join(share, "guest.test"), "./integration/vm/guest")

	only := os.Getenv("GUEST_RUN") // like go test's -run, for the one who writes a test
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "hack/vm/run"),
		"--cgroup", "v1", "--append", blacklisted, "--share", share, "--timeout", strconv.Itoa(int(limit.Seconds())),
		// A program started from the shared folder is read through 9p, page by page.
		"--", "sh", "-c", `cp guest.test /run/ && exec /run/guest.test -test.v -test.run "$1"`, "sh", only)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(t.Output(), &out)
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	err = cmd.Run()
	t.Logf("the machine ran for %.0f s of at most %.0f", time.Since(start).Seconds(), limit.Seconds())
	if err != nil {
		t.Fatalf("tests in the guest: %v", err)
	}
	if only == "" {
		requireTests(t, out.String())
	}
}

// requireTests fails when the guest ran nothing or left something out: an empty
// test binary exits with 0 too.
func requireTests(t *testing.T, out string) {
	t.Helper()
	passed := len(regexp.MustCompile(`(?m)^--- PASS: `).FindAllString(out, -1))
	declared := 0
	files, err := filepath.Glob("guest/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		declared += len(regexp.MustCompile(`(?m)^func Test\w+\(t \*testing\.T\)`).FindAll(text, -1))
	}
	if declared == 0 || passed != declared {
		t.Errorf("%d of %d tests passed in the guest", passed, declared)
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
