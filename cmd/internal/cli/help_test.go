package cli

import "testing"

func TestTheNearestWordIsMeantIfFewLettersDiffer(t *testing.T) {
	t.Parallel()
	known := []string{"add-device", "add-path", "remove-path", "list-path", "list"}
	for name, c := range map[string]struct{ word, want string }{
		"a letter too many":       {"add-devicee", "add-device"},
		"a letter missing":        {"ad-path", "add-path"},
		"another letter":          {"add-devise", "add-device"},
		"two letters change":      {"add-deviec", "add-device"},
		"a short word is no hint": {"ls", ""},
		"something else":          {"frobnicate", ""},
		"nothing":                 {"", ""},
		"the nearer of two":       {"list-pat", "list-path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := nearest(c.word, known); got != c.want {
				t.Errorf("%q: got %q, want %q", c.word, got, c.want)
			}
		})
	}
}
