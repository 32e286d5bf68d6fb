//go:build vmguest

package selinux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
)

// share is the host's folder with the binary under test and its installer.
const share = "/share"

func TestMain(m *testing.M) {
	holder.Main()
	if os.Getenv("ISULAD_VM") != "1" {
		fmt.Fprintln(os.Stderr, "guest: this is not the test machine: run `go test ./integration/vm`")
		os.Exit(1)
	}
	if out, err := exec.Command(share+"/isulad-tools", "install").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "guest: install isulad-tools: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), mode))
	must(t, os.Chmod(path, mode))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func requireMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	if info.Mode() != want {
		t.Errorf("%s is %v, want %v", path, info.Mode(), want)
	}
}

// label is what the kernel takes for the file's label.
func label(t *testing.T, path string) string {
	t.Helper()
	b := make([]byte, 200)
	n, err := unix.Lgetxattr(path, "security.selinux", b)
	if err != nil {
		t.Fatalf("label of %s: %v", path, err)
	}
	return strings.TrimRight(string(b[:n]), "\x00")
}

// enforcing is the running kernel's mode: 1 or 0.
func enforcing(t *testing.T) string {
	t.Helper()
	return read(t, "/sys/fs/selinux/enforce")
}

func enforce(t *testing.T, mode string) {
	t.Helper()
	must(t, os.WriteFile("/sys/fs/selinux/enforce", []byte(mode), 0))
}

// relabel runs the command, with programs that are looked for in bin first.
func relabel(bin string, args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command("/usr/local/bin/isulad-tools", append([]string{"relabel"}, args...)...)
	cmd.Env = []string{"PATH=" + bin + ":/usr/sbin:/usr/bin:/sbin:/bin"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return out.String(), errs.String(), code
}
