package house

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const executable = "bin/isulad-tools"

// tree copies the tree as it stands to dir, so that changes not committed yet are
// tested too.
func tree(t *testing.T, dir string) {
	t.Helper()
	from := top(t)
	for name, content := range sources(t, "") {
		info, err := os.Stat(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// commit makes a repository of a copy of the tree.
func commit(t *testing.T, dir string) {
	t.Helper()
	tree(t, dir)
	output(t, dir, "git", "init", "-q")
	output(t, dir, "git", "add", "-A")
	output(t, dir, "git", "-c", "user.name=house", "-c", "user.email=house@example.org", "commit", "-q", "-m", "the tree")
}

// shell is this process's environment without variables that the surrounding make
// or a developer's shell happens to set, and without those named.
func shell(without ...string) []string {
	without = append(without, "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VERSION")
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(without, name)
	})
}

// build runs the build that a person runs, with an own cache when one is named.
func build(t *testing.T, dir string, env ...string) [sha256.Size]byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), "make", "build")
	c.Dir = dir
	c.Env = append(shell(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("make in %s: %v\n%s", dir, err, out)
	}
	content, err := os.ReadFile(filepath.Join(dir, executable))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

func TestTwoClonesOfACommitGiveTheSameSmallStaticExecutable(t *testing.T) {
	t.Parallel()
	one := filepath.Join(t.TempDir(), "one")
	two := filepath.Join(t.TempDir(), "a/longer/path/to/two")
	commit(t, one)
	output(t, "/", "git", "clone", "-q", one, two)

	// The second build shares nothing with the first, neither the cache nor
	// what a shell may have set; else it would only link the first one's objects.
	first := build(t, one)
	second := build(t, two, "GOCACHE="+t.TempDir(), "GOFLAGS=-v", "GOAMD64=v2", "CGO_ENABLED=1", "TZ=Asia/Tokyo", "USER=nobody")
	if first != second {
		t.Errorf("two builds of one commit differ: %x, %x", first, second)
	}

	binary := filepath.Join(one, executable)
	isStatic(t, binary)
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	const most = 9_000_000
	t.Logf("%d bytes", info.Size())
	if info.Size() > most {
		t.Errorf("%d bytes, more than %d", info.Size(), most)
	}

	// It says which commit it is, and holds no path of the machine it was built on.
	hash := strings.TrimSpace(output(t, one, "git", "rev-parse", "--short=12", "HEAD"))
	if said := output(t, one, binary, "--version"); !strings.Contains(said, hash) {
		t.Errorf("--version says %q, not %s", said, hash)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{one, strings.TrimSpace(output(t, one, "go", "env", "GOROOT")), strings.TrimSpace(output(t, one, "go", "env", "GOMODCACHE"))} {
		if strings.Contains(string(content), path+"/") {
			t.Errorf("holds the path %s", path)
		}
	}
}

// isStatic: no program interpreter and no library, so that it runs in any root.
func isStatic(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s has a %v segment", path, p.Type)
		}
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s: libraries %v, %v", path, libraries, err)
	}
	if f.Type != elf.ET_EXEC {
		t.Errorf("%s is %v, not an ordinary executable", path, f.Type)
	}
}

func TestMakeHelpNamesEveryTarget(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(top(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	help := output(t, top(t), "make", "--no-print-directory", "help")
	for _, line := range lines(string(makefile)) {
		target, ok := strings.CutPrefix(line, ".PHONY: ")
		if ok && !strings.Contains(target, " ") && !strings.Contains("\n"+help, fmt.Sprintf("\n%s ", target)) {
			t.Errorf("make help does not name %q", target)
		}
	}
}
