package packages

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

const arch = runtime.GOARCH

// Where packages are, below the module's folder: those that ship, and the same in
// a compression that costs less, for what does not depend on it.
const (
	shipped = "bin/packages"
	light   = "bin/packages-light"
)

// The packages are made on the host, where the build cache is kept.
func TestMain(m *testing.M) {
	if os.Getenv("PACKAGES_MADE") == "" {
		if err := errors.Join(makePackages(shipped), makePackages(light)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Setenv("PACKAGES_MADE", "1")
	}
	sandbox.Main(m)
}

func makePackages(folder string, env ...string) error {
	dir, err := sandbox.Module()
	if err != nil {
		return err
	}
	cmd := exec.Command("make", "packages", "ARCHES="+arch, "PACKAGES="+folder)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if folder != shipped {
		cmd.Env = append(cmd.Env, "COMPRESSION=gzip:1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make packages: %w\n%s", err, out)
	}
	return nil
}

// made is the package of a kind, "deb" or "rpm", in a folder.
func made(t *testing.T, folder, kind string) string {
	t.Helper()
	dir, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, folder, "isulad-tools*."+kind))
	if err != nil || len(found) != 1 {
		t.Fatalf("got %q, %v, want one %s", found, err, kind)
	}
	return found[0]
}

// run executes a program, which is to succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
