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
	"slices"
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
	buildGuest(t, root, share)

	only := os.Getenv("GUEST_RUN") // like go test's -run, for the one who writes a test
	v1 := []string{"--cgroup", "v1", "--append", blacklisted}
	out := boot(t, root, share, "1", v1, "-test.run", only, "-test.skip", secondBoot+"|"+systemdBoot)
	compress(t, filepath.Join(share, "modules"))
	second := secondBoot
	if strings.Contains(only, secondBoot) {
		second = only
	}
	if only == "" || second == only {
		out += boot(t, root, share, "2", v1, "-test.run", second)
	}
	if only == "" {
		requireTests(t, out, func(name string) bool { return !strings.HasPrefix(name, systemdBoot) })
	}
}

// secondBoot is how the tests begin that a second boot runs: with a disk as new,
// and in the shared folder what the first left there.
const secondBoot = "TestSecondBoot"

// boot starts the machine, with options of hack/vm/run, and runs tests in it.
func boot(t *testing.T, root, share, name string, options []string, flags ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "hack/vm/run"), slices.Concat([]string{"--timeout", strconv.Itoa(int(limit.Seconds()))}, options, []string{
		"--share", share, "--env", "GUEST_BOOT=" + name,
		// A program started from the shared folder is read through 9p, page by page.
		"--", "sh", "-c", `cp guest.test /run/ && exec $AS /run/guest.test -test.v "$@"`, "sh",
	}, flags)...)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(t.Output(), &out)
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	err := cmd.Run()
	t.Logf("boot %s: the machine ran for %.0f s", name, time.Since(start).Seconds())
	if err != nil {
		t.Fatalf("tests in the guest: %v", err)
	}
	return out.String()
}

// compress makes the second boot's modules: Debian 12's are plain, and those of
// other distributions are not.
func compress(t *testing.T, dir string) {
	t.Helper()
	for name, args := range map[string][]string{
		"ip_vs": {"xz", "--check=crc32", "-1", "-k"}, "ip_vs_wrr": {"zstd", "-q"}, "ifb": {"zstd", "-q"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], append(args[1:], filepath.Join(dir, name+".ko"))...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
}

// requireTests fails when the guest left out one of its tests that are wanted, or
// ran nothing: an empty test binary exits with 0 too.
func requireTests(t *testing.T, out string, wanted func(name string) bool) {
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
		for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(text, -1) {
			if wanted(string(f[1])) {
				declared++
			}
		}
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
