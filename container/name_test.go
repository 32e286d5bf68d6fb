package container

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestNamesAreWhatTheGrammarSays(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"gold": true, "/gold": true, "g1": true, "0_.-": true, "A.B": true, strings.Repeat("x", 500): true, "a..": true,
		"": false, "/": false, "a": false, "/a": false, "//gold": false, "gold/x": false, "gold/": false, "-gold": false, ".gold": false,
		"_gold": false, "/.x": false, "go ld": false, "gold\n": false, "gold+": false, "góld": false, "g\x00": false, "..": false,
	} {
		t.Run(name, func(t *testing.T) {
			if got := ValidName(name); got != want {
				t.Errorf("%q: %v, want %v", name, got, want)
			}
		})
	}
}

// nameGrammar and idGrammar are the rules as deployments and runtimes know them.
var (
	nameGrammar = regexp.MustCompile(`\A/?[a-zA-Z0-9][a-zA-Z0-9_.-]+\z`)
	idGrammar   = regexp.MustCompile(`\A[a-zA-Z0-9_.+-]+\z`)
)

func FuzzName(f *testing.F) {
	for _, name := range []string{"gold", "/gold", "", "/", "a", "//a", "..", "a+b", "a\n", lcrID, strings.Repeat("a", 256), "é", "a/b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := ValidName(s), nameGrammar.MatchString(s); got != want {
			t.Fatalf("name %q: %v, want %v", s, got, want)
		}
		// How long an id may be is hooks' test: it must have a record.
		want := idGrammar.MatchString(s) && filepath.Clean("/"+s) == "/"+s && !strings.HasSuffix(s, ".new")
		if got := ValidID(s); got && !idGrammar.MatchString(s) || !got && want && len(s) <= 128 {
			t.Fatalf("id %q: %v", s, got)
		}
	})
}

func TestAWordInARuleMeansOneContainer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		word, id string
		want     bool
	}{
		"a whole id":                     {"web1", "web1", true},
		"the beginning of another":       {"web1", "web10", false},
		"a letter":                       {"w", "web1", false},
		"nothing":                        {"", "web1", false},
		"iSulad's, as a rule has it":     {lcrID[:8], lcrID, true},
		"iSulad's, whole":                {lcrID, lcrID, true},
		"iSulad's, less of it":           {lcrID[:7], lcrID, false},
		"iSulad's, more of it":           {lcrID[:12], lcrID, false},
		"the beginning of what is alike": {"00000000", strings.Repeat("0", 63), false},
		"no digits":                      {"zzzzzzzz", strings.Repeat("z", 64), false},
		"a longer one":                   {"web10", "web1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := WordMeans(c.word, c.id); got != c.want {
				t.Errorf("got %v that %q means %q, want %v", got, c.word, c.id, c.want)
			}
		})
	}
}
