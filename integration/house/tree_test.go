package house

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sources are the files of the tree, by extension, with their content: without
// what .gitignore names, and whether or not this is a clone of git's.
func sources(t *testing.T, extension string) map[string][]byte {
	t.Helper()
	ignored, err := os.ReadFile(filepath.Join(top(t), ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	apart := []string{".git"}
	for _, line := range lines(string(ignored)) {
		apart = append(apart, strings.Trim(line, "/"))
	}
	files := map[string][]byte{}
	err = fs.WalkDir(os.DirFS(top(t)), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case slices.Contains(apart, name) && d.IsDir():
			return fs.SkipDir
		case slices.Contains(apart, name) || !d.Type().IsRegular() || !strings.HasSuffix(name, extension):
			return nil
		}
		files[name], err = os.ReadFile(filepath.Join(top(t), name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no %s file found", extension)
	}
	return files
}

// isShipped tells product code from its tests and from what only builds or tests it.
func isShipped(name string) bool {
	folder, _, _ := strings.Cut(name, "/")
	return slices.Contains(shipped, folder) && !strings.HasSuffix(name, "_test.go")
}

func TestFilesStaySmall(t *testing.T) {
	t.Parallel()
	const most = 400
	for name, content := range sources(t, ".go") {
		if n := bytes.Count(content, []byte("\n")); isShipped(name) && n > most {
			t.Errorf("%s has %d lines, more than %d", name, n, most)
		}
	}
}

func TestFoldersAreNouns(t *testing.T) {
	t.Parallel()
	unsaying := []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "lib", "pkg"}
	for name := range sources(t, "") {
		for _, part := range strings.Split(filepath.Dir(name), "/") {
			if slices.Contains(unsaying, part) {
				t.Errorf("%s: %q says nothing of what is in it", name, part)
			}
		}
	}
}

// habits are names that shipped code does not use, and where it may after all.
var habits = []struct{ name, except, why string }{
	{"os.Exit", "cmd/isulad-tools/", "only main exits"},
	{"panic", "", "input never panics"},
	{"os.Create", "", "files are written atomically or with O_EXCL|O_NOFOLLOW"},
	{"os.Open", "", "internal/open reads what is a file, and waits for nothing else"},
	{"os.ReadFile", "", "internal/open reads what is a file, and waits for nothing else"},
	{"os.OpenFile", "internal/logging/", "internal/open opens what is a file, and waits for nothing else"},
	{"os.RemoveAll", "", "nothing is removed recursively: a mount may lie below"},
	{"logrus.Fatal", "", "only main exits"},
	{"logrus.Fatalf", "", "only main exits"},
	{"log.Fatal", "", "only main exits"},
	{"exec.Command", "internal/command/", "one place executes programs"},
	{"exec.CommandContext", "internal/command/", "one place executes programs"},
	{"unix.Setns", "internal/nsenter/", "one place enters namespaces"},
	{"fmt.Println", "", "libraries never print"},
	{"fmt.Printf", "", "libraries never print"},
	{"os.Stdout", "cmd/isulad-tools/", "one place writes what people read: internal/terminal"},
	{"os.Stderr", "cmd/isulad-tools/", "one place writes what people read: internal/terminal"},
}

func TestShippedCodeKeepsTheHabits(t *testing.T) {
	t.Parallel()
	files := token.NewFileSet()
	for name, content := range sources(t, ".go") {
		if !isShipped(name) {
			continue
		}
		file, err := parser.ParseFile(files, name, content, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			expr, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			for _, h := range habits {
				if spelling(expr) == h.name && (h.except == "" || !strings.HasPrefix(name, h.except)) {
					t.Errorf("%s uses %s: %s", files.Position(expr.Pos()), h.name, h.why)
				}
			}
			return true
		})
	}
}

// spelling is a name as written: panic, os.Exit.
func spelling(expr ast.Expr) string {
	switch f := expr.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, line := range lines(output(t, top(t), "go", "list", tags, "-f", "{{.ImportPath}}\t{{if .GoFiles}}{{.Doc}}{{else}}-{{end}}", "./...")) {
		if pkg, doc, _ := strings.Cut(line, "\t"); doc == "" {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

func TestTheLicenceIsTheStandardText(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(top(t), "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	const apache = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
	if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != apache {
		t.Errorf("LICENSE is not Apache-2.0 as published: %s", got)
	}
}

// Each line about what a container cannot do names tests, and these exist.
func TestWhatSecurityPromisesIsTested(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(top(t), "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, promises, _ := strings.Cut(string(content), "| it cannot |")
	promises, _, _ = strings.Cut(promises, "\n\n")
	exist := output(t, top(t), "grep", "-rhoE", "--include=*_test.go", "^func Test[A-Za-z0-9_]+", ".")
	named := regexp.MustCompile("`(Test\\w+)`")
	rows := lines(promises)[2:]
	if len(rows) < 10 {
		t.Fatalf("only %d rows: %q", len(rows), rows)
	}
	for _, row := range rows {
		if !named.MatchString(row) {
			t.Errorf("no test is named: %s", row)
		}
	}
	for _, m := range named.FindAllStringSubmatch(string(content), -1) {
		if !slices.Contains(lines(exist), "func "+m[1]) {
			t.Errorf("%s is named, and is no test", m[1])
		}
	}
}

// Every direct dependency and tool has its line, and no line is of one that went.
func TestDependenciesAreWrittenDown(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(top(t), "docs/DEPENDENCIES.md"))
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, line := range lines(string(content)) {
		cell, ok := strings.CutPrefix(line, "| ")
		if name, _, _ := strings.Cut(cell, " "); ok && strings.Contains(name, "/") {
			written = append(written, name)
		}
	}
	needed := lines(output(t, top(t), "go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all"))
	needed = append(needed, lines(output(t, top(t), "go", "list", "-modfile=hack/tools.mod", "-f", "{{.Module.Path}}", "tool"))...)
	slices.Sort(written)
	slices.Sort(needed)
	if diff := cmp.Diff(needed, written); diff != "" {
		t.Errorf("docs/DEPENDENCIES.md (-needed +written):\n%s", diff)
	}
}

// A link from one document to another leads to a file of the tree.
func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	files := sources(t, "")
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	seen := 0
	for name, content := range sources(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(string(content), -1) {
			to := filepath.Join(filepath.Dir(name), m[1])
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			if files[to] == nil {
				t.Errorf("%s: got a link to %s, want one to a file of the tree", name, m[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("got %d links, want those of README.md at least", seen)
	}
}

// Whoever opens a document sees one screen: it has what they came for.
func TestDocumentsBeginWithWhatTheirReadersWant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		screen int
		want   []string
	}{
		{"README.md", 25, []string{"COMPAT.md", "add-device", "add-path", "check", "who", "make install", "rpm -U", "isula run", "runc run"}},
		{"CONTRIBUTING.md", 60, []string{"make quick", "make test PKG=", "make check", "resource.Kind", "example.go", "messages.txt"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := string(sources(t, c.name)[c.name])
			if all := strings.SplitAfter(text, "\n"); len(all) > c.screen {
				text = strings.Join(all[:c.screen], "")
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("the first %d lines: got no %q in\n%s", c.screen, want, text)
				}
			}
		})
	}
}
