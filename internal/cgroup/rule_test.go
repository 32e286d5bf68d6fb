package cgroup

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What runc 1.1.5 does with these lists is asked of itself in
// integration/scenario.
func TestRuncsRulesAreReadAsRuncDoes(t *testing.T) {
	t.Parallel()
	none, every := deny("a *:* rwm"), allow("a *:* rwm")
	for name, c := range map[string]struct{ rules, want []DeviceRule }{
		"what is before the last for all is over": {
			[]DeviceRule{allow("c 1:11 rwm"), every, deny("c 1:7 rwm"), none, allow("c 10:229 r")},
			[]DeviceRule{none, allow("c 10:229 r")},
		},
		"an exception is taken back by its own numbers": {
			[]DeviceRule{none, allow("c 10:229 rwm"), allow("c 10:229 rw"), deny("c 10:229 w")},
			[]DeviceRule{none, allow("c 10:229 rm"), allow("c 10:229 r")},
		},
		"a denied device stays so when its class is allowed": {
			[]DeviceRule{every, deny("c 10:229 rwm"), allow("c 10:* rwm"), allow("c *:229 rwm")},
			[]DeviceRule{every, deny("c 10:229 rwm")},
		},
		"an allowed device stays so when its class is denied": {
			[]DeviceRule{none, allow("c 10:229 rwm"), allow("b 10:* rwm"), deny("c 10:* rwm")},
			[]DeviceRule{none, allow("c 10:229 rwm"), allow("b 10:* rwm")},
		},
		"what cannot be taken from a class was never given": {
			[]DeviceRule{none, allow("c 10:* r"), deny("c 10:229 w")},
			[]DeviceRule{none, allow("c 10:* r")},
		},
		"a list that runc refuses keeps its order": {
			[]DeviceRule{none, allow("c 10:* rwm"), deny("c 10:229 w")},
			[]DeviceRule{none, allow("c 10:* rwm"), deny("c 10:229 w")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(c.rules)
			if diff := cmp.Diff(c.want, asRunc(c.rules)); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
			if diff := cmp.Diff(before, c.rules); diff != "" {
				t.Error("the given list changed:\n" + diff)
			}
		})
	}
}

func TestRuncsDefaultsComeLast(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec       []DeviceRule
		nodes      []string
		null, fuse string
	}{
		"no rule":                        {nil, nil, "rwm", "m"},
		"after all are denied":           {[]DeviceRule{allow("c 1:3 rwm"), deny("a *:* rwm")}, nil, "rwm", "m"},
		"after one of them is denied":    {[]DeviceRule{deny("a *:* rwm"), deny("c 1:3 w")}, nil, "rwm", "m"},
		"where all are allowed":          {[]DeviceRule{allow("a *:* rwm"), deny("c 1:3 w")}, nil, "rwm", "rwm"},
		"not for a node of the spec's":   {nil, []string{"/dev/null"}, "m", "m"},
		"but for others":                 {nil, []string{"/dev/zero", "", "dev/null"}, "rwm", "m"},
		"whose rules are the spec's own": {[]DeviceRule{allow("c 1:3 r")}, []string{"/dev/null"}, "rm", "m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := RuncRules(c.spec, c.nodes)
			for d, want := range map[device]string{null: c.null, fuse: c.fuse} {
				got := ""
				for _, letter := range []string{"r", "w", "m"} {
					if model(rules, d, letter) {
						got += letter
					}
				}
				if got != want {
					t.Errorf("%v may be used for %q, want %q", d, got, want)
				}
			}
		})
	}
}
