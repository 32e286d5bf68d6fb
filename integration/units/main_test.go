// Package units tests, by what they export, the packages whose work needs root:
// mounts, device nodes, namespaces. A test has as little of a container as it
// needs, and runs in a world of its own.
package units

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

func init() {
	// As the program does; see internal/nsenter.
	runtime.LockOSThread()
}

func TestMain(m *testing.M) {
	if os.Args[0] == holderName {
		if err := holderMain(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if release := os.Getenv(envKernel); release != "" {
		if err := pretendKernel(release); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	sandbox.Main(m)
}

// must is for what the test itself needs.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// gone checks that nothing has this name.
func gone(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there: %v", path, err)
	}
}

// node checks what is at path, by lstat: "d 0755 0:0".
func node(t testing.TB, path, want string) {
	t.Helper()
	n, err := sandbox.Lstat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if got := n.String(); got != want {
		t.Errorf("%s is %s, want %s", path, got, want)
	}
}

// tree is everything below dir, one line each, with the content of files.
func tree(t testing.TB, dir string) string {
	t.Helper()
	nodes, err := sandbox.Tree(dir, nil)
	must(t, err)
	var all []string
	for path, n := range nodes {
		line := path + " " + n.String()
		if n.Type == "f" {
			line += " " + read(t, filepath.Join(dir, path))
		}
		all = append(all, line)
	}
	sort.Strings(all)
	return strings.Join(all, "\n")
}

// allMounts is this process's mount table, one line each.
func allMounts(t testing.TB) string { return mountsOf(t, 0) }

func mountsOf(t testing.TB, pid int) string {
	t.Helper()
	list, err := sandbox.Mounts(pid)
	must(t, err)
	var all []string
	for _, m := range list {
		all = append(all, sandbox.MountLine(m))
	}
	sort.Strings(all)
	return strings.Join(all, "\n")
}

// victim is a directory outside of every container, and a check that it is as
// it was.
func victim(t testing.TB) (dir string, untouched func()) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "victim")
	write(t, filepath.Join(dir, "file"), "mine")
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o711))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o711))
	write(t, filepath.Join(dir, "dir", "deep"), "mine too")
	must(t, sandbox.Mknod(filepath.Join(dir, "node"), 0o020600, 1, 9, 7, 7))
	before, had := tree(t, dir), allMounts(t)
	return dir, func() {
		t.Helper()
		if after := tree(t, dir); after != before {
			t.Errorf("outside was\n%s\nand is\n%s", before, after)
		}
		for line := range strings.Lines(allMounts(t)) {
			if strings.HasPrefix(line, dir) && !strings.Contains(had, line) {
				t.Errorf("mounted outside: %s", line)
			}
		}
	}
}
