package resource

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
)

type entry string

func (w entry) String() string { return string(w) }

var entries = Kind[entry]{Name: "entry", Key: config.KernelModules, Check: func(list []entry) error {
	for _, w := range list {
		if w == "bad" {
			return errors.New("bad entry")
		}
	}
	return nil
}}

func TestChangeKeepsBothWhileItRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want          string
		fail          error
		during, after string
	}{
		{"b c", nil, `["a","b","c"]`, `["b","c"]`},
		{"b c", errors.New("no"), `["a","b","c"]`, `["a","b"]`},
		{"a", nil, `["a","b"]`, `["a"]`},
		{"a", errors.New("no"), `["a","b"]`, `["a","b"]`},
		{"a b", nil, `["a","b"]`, `["a","b"]`},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, config.Name)
		if err := os.WriteFile(file, []byte(`{"kernelModules":["a","b"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := config.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		var want []entry
		for w := range strings.FieldsSeq(c.want) {
			want = append(want, entry(w))
		}
		holds := func(when, list string) {
			t.Helper()
			got, err := os.ReadFile(file)
			if w := fmt.Sprintf(`{"kernelModules":%s}`, list); err != nil || strings.TrimSpace(string(got)) != w {
				t.Errorf("%s, %v: %s is %s, %v, want %s", c.want, c.fail, when, got, err, w)
			}
		}
		err = entries.Change(d, want, func() error {
			holds("during", c.during)
			return c.fail
		})
		if !errors.Is(err, c.fail) {
			t.Errorf("%s: %v", c.want, err)
		}
		holds("after", c.after)
		if err := entries.Change(d, []entry{"x", "bad"}, func() error { t.Error("done"); return nil }); err == nil {
			t.Error("a bad record is accepted")
		}
		holds("after a refusal", c.after)
	}
}
