package kmod

import (
	"context"
	"encoding/json"
	"os"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/place"
)

func TestPolicyIsParsedStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                     "ends in the middle",
		`{`:                                    "ends in the middle",
		`{"default":"allow"`:                   "ends in the middle",
		`[]`:                                   "not a JSON object",
		`null`:                                 "not a JSON object",
		`"deny"`:                               "not a JSON object",
		`{}`:                                   `"default" is missing`,
		`{"allow":["x"]}`:                      `"default" is missing`,
		`{"default":"Deny"}`:                   `want "allow" or "deny"`,
		`{"default":null}`:                     `want "allow" or "deny"`,
		`{"default":["deny"]}`:                 `want "allow" or "deny"`,
		`{"Default":"deny"}`:                   `unknown key "Default"`,
		`{"default":"deny","denny":[]}`:        `unknown key "denny"`,
		`{"default":"deny","default":"allow"}`: `"default" stands twice`,
		`{"default":"deny","deny":["a"],"\u0064eny":[]}`: `"deny" stands twice`,
		`{"default":"deny","deny":"x"}`:                  "deny: not a list",
		`{"default":"deny","deny":null}`:                 "deny: not a list",
		`{"default":"deny","deny":[1]}`:                  "deny[0]: not a string",
		`{"default":"deny","deny":["a",null]}`:           "deny[1]: not a string",
		`{"default":"deny","allow":[["a"]]}`:             "allow[0]: not a string",
		`{"default":"deny"} {}`:                          "something follows",
		`{"default":"deny"}x`:                            "something follows",
		`{"default":"deny",}`:                            "invalid character",
		`{"default":"deny","deny":[""]}`:                 "want 1 to 512 characters",
		`{"default":"deny","deny":["a b"]}`:              "no module's name has such a character",
		`{"default":"deny","deny":["net/x"]}`:            "no module's name has such a character",
		`{"default":"deny","deny":["x.ko"]}`:             "no module's name has such a character",
		`{"default":"deny","deny":["a\\*"]}`:             "no module's name has such a character",
		`{"default":"deny","deny":["Ａ"]}`:                "no module's name has such a character",
		`{"default":"deny","deny":["{a,b}"]}`:            "no module's name has such a character",
		`{"default":"deny","deny":["a["]}`:               "a [ without its ]",
		`{"default":"deny","deny":["a]"]}`:               "a ] without its [",
		`{"default":"deny","deny":["a[]"]}`:              "brackets with nothing in them",
		`{"default":"deny","deny":["a[!]"]}`:             "brackets with nothing in them",
		`{"default":"deny","deny":["a[-_]"]}`:            "brackets hold letters",
		`{"default":"deny","deny":["a[z-a]"]}`:           "a range that has no end",
		`{"default":"deny","deny":["a[a-]"]}`:            "a range that has no end",
		`{"default":"deny","deny":["a[[:digit:]]"]}`:     "brackets hold letters",
	} {
		t.Run(text, func(t *testing.T) {
			p, err := parsePolicy([]byte(text))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %+v, %v, want an error with %q", text, p, err, want)
			}
		})
	}
}

func TestPolicyDecides(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy, allowed, denied string
	}{
		{`{"default":"allow"}`, "a ip_vs", ""},
		{`{"default":"deny"}`, "", "a ip_vs"},
		{`{"default":"deny","allow":["ip-vs*","nf_?at","x[0-9a]"]}`, "ip_vs ip_vs_rr nf_nat x0 xa", "ipvs nf_naat x xb IP_VS nf_conntrack"},
		{`{"default":"allow","deny":["*"],"allow":["a"]}`, "", "a b"},
		{`{"deny":["a"],"allow":["*"],"default":"deny"}`, "b A", "a"},
		{`{"default":"allow","deny":["[!a]b","[^c]d"]}`, "ab cd", "bb dd"},
	} {
		t.Run(c.policy, func(t *testing.T) {
			p, err := parsePolicy([]byte(c.policy))
			if err != nil {
				t.Errorf("%s: %v", c.policy, err)
				return
			}
			for name := range strings.FieldsSeq(c.allowed) {
				if why := p.denial(name); why != "" {
					t.Errorf("%s: %s: %s", c.policy, name, why)
				}
			}
			for name := range strings.FieldsSeq(c.denied) {
				if p.denial(name) == "" {
					t.Errorf("%s: %s is allowed", c.policy, name)
				}
			}
		})
	}
}

func TestPolicyLooksAtWhatANameStandsFor(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{
		"/etc/modprobe.d/a.conf": "alias mine dummy\nalias mine nlmon\nalias two dummy\nalias two veth\nblacklist veth\n",
		place.ModulePolicy:       `{"default":"allow","deny":["nlmon","nf-conntrack","padlock*"]}`,
	})
	secure(t, root)
	executed := 0
	l := Loader{Root: root, Release: release, Run: func(_ context.Context, names []string) ([]byte, error) {
		executed++
		insert(t, root, "dummy", "ip_vs")
		return nil, nil
	}}
	for name, want := range map[string]string{
		"nlmon":        `load kernel module "nlmon": denied by "nlmon" in "deny" of /etc/isulad-tools/kmod.json`,
		"mine":         `load kernel module "mine": alias for nlmon (/etc/modprobe.d/a.conf:2): denied by "nlmon"`,
		"fs-nl3":       `alias for nlmon`,
		"nf_conntrack": `denied by "nf_conntrack"`, // loaded already
		"ip-conntrack": `alias for nf_conntrack`,
		"crypto-aes":   `alias for padlock_aes`, // one of two alternatives
	} {
		t.Run(name, func(t *testing.T) {
			err := load(t, l, []string{"veth", name, "dummy"})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		})
	}
	if executed > 0 {
		t.Errorf("modprobe was executed %d times", executed)
	}
	// A target that is blacklisted is not loaded by the alias; what ip_vs needs is
	// not asked for by the container.
	if err := load(t, l, []string{"two", "ip_vs"}); err != nil {
		t.Error(err)
	}
}

// secure gives a test's policy to root, which the test may be or not.
func secure(t testing.TB, root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the policy must belong to root")
	}
	if err := os.Chmod(root+place.ModulePolicy, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyFileMustBeRoots(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		spoil      func(file string) error
	}{
		{"group", "mode 0620", func(f string) error { return os.Chmod(f, 0o620) }},
		{"all", "mode 0602", func(f string) error { return os.Chmod(f, 0o602) }},
		{"owner", "belongs to user 65534", func(f string) error { return os.Chown(f, 65534, 0) }},
		{"fifo", "not a regular file", func(f string) error { _ = os.Remove(f); return unix.Mkfifo(f, 0o600) }},
		{"folder", "not a regular file", func(f string) error { _ = os.Remove(f); return os.Mkdir(f, 0o700) }},
		{"link", "symbolic link", func(f string) error { _ = os.Remove(f); return os.Symlink("/dev/null", f) }},
		{"large", "larger than", func(f string) error {
			return os.WriteFile(f, []byte(`{"default":"allow"}`+strings.Repeat(" ", policyLimit)), 0)
		}},
		{"closed", "", func(f string) error { return os.Chmod(f, 0o400) }},
		{"readable", "", func(f string) error { return os.Chmod(f, 0o644) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := machine(t, map[string]string{place.ModulePolicy: `{"default":"allow"}`})
			secure(t, root)
			if err := c.spoil(root + place.ModulePolicy); err != nil {
				t.Fatal(err)
			}
			l := Loader{Root: root, Release: release}
			err := load(t, l, []string{"nf_conntrack"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), place.ModulePolicy)) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
			if err := load(t, l, nil); err != nil {
				t.Errorf("%s, nothing asked for: %v", c.name, err)
			}
		})
	}
}

func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		`{"default":"allow"}`, `{"default":"deny","allow":["ip_vs*","nf-[a-z]*"],"deny":["x?","[!a-c_]"]}`, `{"deny":[],"default":"deny"}`,
		`{"default":"deny","allow":["*"]} `, `{"default":"allow","deny":["a[b"]}`, `{"a":1}`, `[`, "\xff",
	} {
		f.Add(s, "ip-vs_wrr")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := parsePolicy([]byte(text))
		if err != nil {
			if p != nil {
				t.Errorf("%q: %v, and a policy", text, err)
			}
			if m := err.Error(); m == "" || !utf8.ValidString(m) {
				t.Errorf("%q: the error is %q", text, m)
			}
			return
		}
		// What is accepted is JSON, and means what encoding/json takes it for.
		var plain struct {
			Default     string
			Allow, Deny []string
		}
		if err := json.Unmarshal([]byte(text), &plain); err != nil {
			t.Fatalf("%q is accepted: %v", text, err)
		}
		if p.byDefault != (plain.Default == "allow") || len(p.allow) != len(plain.Allow) || len(p.deny) != len(plain.Deny) {
			t.Errorf("%q is taken for %+v", text, p)
		}
		if !valid(name) {
			return
		}
		// deny always counts; a pattern matches as the shell does.
		module := canonical(name)
		for i, pattern := range p.deny {
			ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), module)
			if err != nil || ok != match(pattern, module) {
				t.Errorf("pattern %q of %q and %q: %v, the library says %v, %v", pattern, plain.Deny[i], module, !ok, ok, err)
			}
			if ok && p.denial(module) == "" {
				t.Errorf("%q: %s is allowed", text, module)
			}
		}
		if !p.byDefault && len(p.allow) == 0 && p.denial(module) == "" {
			t.Errorf("%q: %s is allowed", text, module)
		}
		if p.denial(canonical(strings.ReplaceAll(name, "_", "-"))) != p.denial(module) {
			t.Errorf("%q: the spelling of %s decides", text, name)
		}
	})
}
