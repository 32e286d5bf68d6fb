package kmod

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The environments are those of the recorded runs of the old tool, by case name.
func TestRequestedReadsTheFirstEntry(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("m", 300)
	for _, c := range []struct {
		name string
		env  []string
		want []string
		bad  string
	}{
		{name: "no environment"},
		{name: "no entry", env: []string{"PATH=/bin", "KERNEL=x"}},
		{name: "hook-modules-one", env: []string{"PATH=/bin", "KERNEL_MODULES=ip_vs"}, want: []string{"ip_vs"}},
		{name: "hook-modules-empty-value", env: []string{"KERNEL_MODULES="}},
		{name: "hook-modules-only-commas", env: []string{"KERNEL_MODULES=,,"}},
		{name: "hook-modules-no-equals", env: []string{"KERNEL_MODULES"}},
		{name: "no equals, then real", env: []string{"KERNEL_MODULES", "KERNEL_MODULES=a1"}, want: []string{"a1"}},
		{name: "hook-modules-first-empty-second-set", env: []string{"KERNEL_MODULES=", "KERNEL_MODULES=b1"}},
		{name: "hook-modules-two-entries", env: []string{"KERNEL_MODULES=a1", "KERNEL_MODULES=b1"}, want: []string{"a1"}},
		{name: "hook-modules-prefix-then-real", env: []string{"MY_KERNEL_MODULES=a1", "KERNEL_MODULES=b1"}, want: []string{"b1"}},
		{name: "longer name", env: []string{"KERNEL_MODULES_X=a1"}},
		{name: "other case", env: []string{"kernel_modules=a1"}},
		{name: "hook-modules-long", env: []string{"KERNEL_MODULES=" + long}, want: []string{long}},
		{name: "hook-modules-invalid-name", env: []string{"KERNEL_MODULES=ip_vs,bad.name"}, bad: "bad.name"},
		{name: "hook-modules-invalid-space", env: []string{"KERNEL_MODULES=ip_vs, xt_nat"}, bad: " xt_nat"},
		{name: "hook-modules-newline", env: []string{"KERNEL_MODULES=a1\nb1"}, bad: "a1\nb1"},
		{name: "hook-modules-trailing-newline", env: []string{"KERNEL_MODULES=a1\n"}, bad: "a1\n"},
		{name: "hook-modules-unicode", env: []string{"KERNEL_MODULES=ünï"}, bad: "ünï"},
		{name: "hook-modules-value-with-equals", env: []string{"KERNEL_MODULES=a1=b1,c1"}, bad: "a1=b1"},
		{name: "option", env: []string{"KERNEL_MODULES=-r,ip_vs"}, bad: "-r"},
		{name: "option after a module", env: []string{"KERNEL_MODULES=ip_vs,--remove"}, bad: "--remove"},
		{name: "bad first entry, good second", env: []string{"KERNEL_MODULES=/x", "KERNEL_MODULES=a"}, bad: "/x"},
		{name: "path", env: []string{"KERNEL_MODULES=../a"}, bad: "../a"},
		{name: "too long", env: []string{"KERNEL_MODULES=" + strings.Repeat("m", maxName+1)}, bad: strings.Repeat("m", maxName+1)},
		{name: "empty items", env: []string{"KERNEL_MODULES=,a,,b,"}, want: []string{"a", "b"}},
		{name: "repetitions", env: []string{"KERNEL_MODULES=ip-vs,a,ip_vs,a,ip-vs"}, want: []string{"ip-vs", "a"}},
		{name: "inner dashes and digits", env: []string{"KERNEL_MODULES=8021q,nf-nat,_x-"}, want: []string{"8021q", "nf-nat", "_x-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Requested(c.env)
			var bad *NameError
			if errors.As(err, &bad) != (c.bad != "") || (bad != nil && bad.Name != c.bad) || (err != nil && bad == nil) {
				t.Errorf("%s: error %v, want one about %q", c.name, err, c.bad)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		})
	}
}

func TestRequestedBoundsTheNumber(t *testing.T) {
	t.Parallel()
	names := make([]string, maxNames+1)
	for i := range names {
		names[i] = "m" + strings.Repeat("x", i%7) + string(rune('0'+i/100%10)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
	}
	if got, err := Requested([]string{"KERNEL_MODULES=" + strings.Join(names[1:], ",")}); err != nil || len(got) != maxNames {
		t.Errorf("%d names: %d, %v", maxNames, len(got), err)
	}
	if got, err := Requested([]string{"KERNEL_MODULES=" + strings.Join(names, ",")}); err == nil {
		t.Errorf("%d names: %d accepted", len(names), len(got))
	}
}

func TestNameErrorIsOneLineInTheOldWording(t *testing.T) {
	t.Parallel()
	const before = "[module-hook] Failed to modprobe modules by module name is incorrect:"
	for name, want := range map[string]string{
		"bad.name":     "bad.name",
		" xt_nat":      " xt_nat",
		"ünï":          "ünï",
		"a1\nb1":       `a1\nb1`,
		"\x1b[31mred":  `\x1b[31mred`,
		"-r":           "-r",
		`say "x"`:      `say "x"`,
		"\u202egpj.x":  `\u202egpj.x`,
		"a\xff":        `a\xff`,
		"nul\x00after": `nul\x00after`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&NameError{name}).Error(); got != before+want {
				t.Errorf("%q: %q, want %q", name, got, before+want)
			}
		})
	}
	if got := (&NameError{strings.Repeat("x", 1<<20)}).Error(); len(got) > 2*maxName {
		t.Errorf("a long name makes a message of %d bytes", len(got))
	}
}

func FuzzRequested(f *testing.F) {
	for _, v := range []string{"ip_vs,ip_vs_wrr", "-r,ip_vs", ",,", "a=b", "ip-vs,ip_vs", "a1\nb1", "\xff"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		names, err := Requested([]string{"OTHER=1", "KERNEL_MODULES=" + value})
		if err != nil {
			if names != nil {
				t.Fatalf("%q: names %q beside error %v", value, names, err)
			}
			if i := strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
				t.Fatalf("%q: error %q is not printable at %d", value, err, i)
			}
			return
		}
		for _, name := range names {
			if name[0] == '-' || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
				t.Fatalf("%q: name %q", value, name)
			}
			if !slices.Contains(strings.Split(value, ","), name) {
				t.Fatalf("%q: name %q is none of its items", value, name)
			}
		}
		for _, item := range strings.Split(value, ",") {
			if item != "" && !slices.ContainsFunc(names, func(n string) bool { return canonical(n) == canonical(item) }) {
				t.Fatalf("%q: item %q lost", value, item)
			}
		}
	})
}
