package container

import (
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
		if got := ValidName(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// nameGrammar and idGrammar are the rules as deployments and runtimes know them.
var (
	nameGrammar = regexp.MustCompile(`\A/?[a-zA-Z0-9][a-zA-Z0-9_.-]+\z`)
	idGrammar   = regexp.MustCompile(`\A[a-zA-Z0-9][a-zA-Z0-9_.+-]*\z`)
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
		if got := ValidID(s); got && !idGrammar.MatchString(s) || !got && idGrammar.MatchString(s) && len(s) <= 128 {
			t.Fatalf("id %q: %v", s, got)
		}
	})
}
