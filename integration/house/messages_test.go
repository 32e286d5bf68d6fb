package house

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the texts of the shipped packages into testdata/messages.txt")

// All that a person can be told stands in one file, so that it is read as one text:
// a change to it shows in a review, beside its neighbours.
func TestMessagesAreReadAsOneText(t *testing.T) {
	t.Parallel()
	const file = "testdata/messages.txt"
	byPackage := map[string][]string{}
	for name, content := range sources(t, ".go") {
		if isShipped(name) {
			pkg := filepath.Dir(name)
			byPackage[pkg] = append(byPackage[pkg], textsOf(t, name, content)...)
		}
	}
	var text strings.Builder
	for _, pkg := range slices.Sorted(maps.Keys(byPackage)) {
		texts := byPackage[pkg]
		slices.Sort(texts)
		if texts = slices.Compact(texts); len(texts) > 0 {
			text.WriteString("== " + pkg + "\n" + strings.Join(texts, "\n") + "\n\n")
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, now := lines(string(recorded)), lines(text.String())
	for _, line := range was {
		if !slices.Contains(now, line) {
			t.Errorf("it is recorded, and said no more: %s", line)
		}
	}
	for _, line := range now {
		if !slices.Contains(was, line) {
			t.Errorf("it is not recorded: %s", line)
		}
	}
	if t.Failed() || !slices.Equal(was, now) {
		t.Errorf("read the new texts (what was to be done, what failed, what to do), then go test ./integration/house -run Messages -update")
	}
}

// errorsOf are functions whose text is an error or a warning, also of one word.
var errorsOf = []string{"errors.New", "fmt.Errorf"}

var (
	verb     = regexp.MustCompile(`%[-+# 0\[\d\].*]*[a-zA-Z]`)
	word     = regexp.MustCompile(`\pL\pL`)
	sentence = regexp.MustCompile(`\pL[\pL'-]*[^\n ]? +[^\n ]?\pL\pL`)
	roff     = regexp.MustCompile(`^\.[A-Z][a-z] `)
)

// textsOf are the literals of a file that a person reads: errors, and whatever else has
// several words. A script of many lines is none.
func textsOf(t *testing.T, name string, content []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	add := func(text string, isError bool) {
		bare := verb.ReplaceAllString(text, "")
		if strings.Count(text, "\n") < 4 && !roff.MatchString(text) && (isError && word.MatchString(bare) || sentence.MatchString(bare)) {
			texts = append(texts, strings.ReplaceAll(text, "\n", `\n`))
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.CallExpr:
			if slices.Contains(errorsOf, spelling(n.Fun)) {
				if text, ok := literal(n.Args[0]); ok {
					add(text, true)
				}
			}
		case *ast.BinaryExpr:
			if text, ok := literal(n); ok {
				add(text, false)
				return false
			}
		case *ast.BasicLit:
			if text, ok := literal(n); ok {
				add(text, false)
			}
		}
		return true
	})
	return texts
}

// literal is a string as it is written, … in the place of what only a run knows; false: it
// has no literal.
func literal(expr ast.Expr) (string, bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, isLeft := literal(e.X)
		right, isRight := literal(e.Y)
		if e.Op != token.ADD || !isLeft && !isRight {
			return "", false
		}
		if !isLeft {
			left = "…"
		}
		if !isRight {
			right = "…"
		}
		return left + right, true
	}
	return "", false
}
