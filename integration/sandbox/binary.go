package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Binary is the isulad-tools binary under test. Tests that need it fail with
// the reason when it could not be built.
func Binary(t testing.TB) string {
	t.Helper()
	if why := os.Getenv(envNoBin); why != "" {
		t.Fatalf("no binary under test: %s", why)
	}
	bin := os.Getenv(envBinary)
	if bin == "" {
		t.Fatalf("no binary under test: %s is not set", envBinary)
	}
	return bin
}

// Module is the root of the source tree, found upwards from the working
// directory (go test runs in the package's folder).
func Module() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", errors.New("find go.mod: no such file above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// binaryEnv says where the binary under test is: where the environment says,
// else built once here, on the host, so that the build cache is kept. A failed
// build is not fatal yet, for many tests do not need the binary.
func binaryEnv(stage string) []string {
	if bin := os.Getenv(envBinary); bin != "" {
		// A folder without links is at the same place in the sandbox.
		dir, err := filepath.EvalSymlinks(filepath.Dir(bin))
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			return []string{envNoBin + "=" + err.Error()}
		}
		return []string{envBinary + "=" + filepath.Join(dir, filepath.Base(bin)), envNoBin + "="}
	}
	out := filepath.Join(stage, "isulad-tools")
	if err := buildBinary(out); err != nil {
		return []string{envNoBin + "=" + err.Error()}
	}
	return []string{envBinary + "=" + out, envNoBin + "="}
}

func buildBinary(out string) error {
	dir, err := Module()
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", out, "./cmd/isulad-tools")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, msg)
	}
	return nil
}
