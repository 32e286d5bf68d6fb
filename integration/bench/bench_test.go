package bench

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// One round of everything, with all its checks: the table is of work that has
// been done.
func TestRowsDoTheirWork(t *testing.T) {
	w, err := newWorld(t)
	if err != nil {
		t.Fatal(err)
	}
	r := report{out: io.Discard}
	for _, g := range groups {
		rounds, err := g.measure(w, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.group(g, rounds)
		for name, s := range rounds[0] {
			if s.wall <= 0 {
				t.Errorf("%s, %s: took %v", g.name, name, s.wall)
			}
		}
	}
	if err := r.footprint(w); err != nil {
		t.Fatal(err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
}

// A check that sees nothing would let a hook win that does nothing.
func TestChecksSeeWhatIsMissing(t *testing.T) {
	w, err := newWorld(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		setting setting
		kind    kind
		nodes   func(w *world, i int) device // made, but not allowed
	}{
		{"devices", plain, charDevices, charDevice},
		{"block devices", plain, blockDevices, blockDevice},
		{"binds", plain, binds, nil},
		{"interfaces", plain, veths, nil},
		{"devices", userNS, boundDevices, nil}, // nodes cannot be made there
		{"devices", unified, programDevices, charDevice},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.use(c.setting); err != nil {
				t.Fatal(err)
			}
			_, err := w.started(nil, func(hook invocation) (sample, error) {
				s, err := hook.run()
				if err != nil {
					return s, err
				}
				if c.kind.check(w, 1) == nil {
					t.Errorf("%s%s: nothing is taken for one", c.name, c.setting)
				}
				if c.nodes == nil {
					return s, nil
				}
				d := c.nodes(w, 0)
				if err := sandbox.Mknod(w.inside(d.path()), d.mode, d.major, d.minor, 0, 0); err != nil {
					return s, err
				}
				if err := c.kind.check(w, 1); err == nil || !strings.Contains(err.Error(), unix.EPERM.Error()) {
					t.Errorf("%s%s: a node without permission is taken for one: %v", c.name, c.setting, err)
				}
				return s, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
}

// The program that only decodes must decode what the hook does.
func TestDecodeHasTheHooksStructs(t *testing.T) {
	t.Parallel()
	theirs := structs(t, "../../hooks/state.go", "../../container/spec.go")
	for name, ours := range structs(t, "testdata/decode/structs.go") {
		if d := cmp.Diff(theirs[name], ours); d != "" {
			t.Errorf("%s is another struct in what ships:\n%s", name, d)
		}
	}
}

// structs are the struct types in files, printed without comments.
func structs(t *testing.T, files ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	set := token.NewFileSet()
	for _, name := range files {
		file, err := parser.ParseFile(set, filepath.FromSlash(name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if _, ok := spec.Type.(*ast.StructType); ok {
				var text bytes.Buffer
				if err := printer.Fprint(&text, token.NewFileSet(), spec.Type); err != nil {
					t.Fatal(err)
				}
				found[spec.Name.Name] = text.String()
			}
			return true
		})
	}
	if len(found) == 0 {
		t.Fatalf("no struct in %v", files)
	}
	return found
}

func TestQuartiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{1, 2, 3, 4, 5}, spread{2, 3, 4}},
		{[]float64{1, 2}, spread{1.25, 1.5, 1.75}},
	} {
		got := spread{quantile(c.values, 0.25), quantile(c.values, 0.5), quantile(c.values, 0.75)}
		if got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}
