package cgroup

import (
	"slices"
	"strings"
)

// Any is a major or minor number that stands for all.
const Any = -1

// DeviceRule is a rule of the device controller, as in an OCI specification. Of
// the rules in a list the last that matches wins. A rule of type "a" matches every
// device and every access, whatever else is in it.
type DeviceRule struct {
	Allow        bool
	Type         string // "a", "b" or "c"
	Major, Minor int64  // Any: all of them
	Access       string // a subset of "rwm"
}

// all is a rule for every device.
const all = "a"

// runcDefaults are the rules that runc adds to every list (AllowedDevices of
// libcontainer/specconv). One with a path is for a node that runc makes.
var runcDefaults = [...]struct {
	path string
	rule DeviceRule
}{
	{"", DeviceRule{true, "c", Any, Any, "m"}},
	{"", DeviceRule{true, "b", Any, Any, "m"}},
	{"/dev/null", DeviceRule{true, "c", 1, 3, "rwm"}},
	{"/dev/random", DeviceRule{true, "c", 1, 8, "rwm"}},
	{"/dev/full", DeviceRule{true, "c", 1, 7, "rwm"}},
	{"/dev/tty", DeviceRule{true, "c", 5, 0, "rwm"}},
	{"/dev/zero", DeviceRule{true, "c", 1, 5, "rwm"}},
	{"/dev/urandom", DeviceRule{true, "c", 1, 9, "rwm"}},
	{"", DeviceRule{true, "c", 136, Any, "rwm"}},
	{"", DeviceRule{true, "c", 5, 2, "rwm"}},
	{"", DeviceRule{true, "c", 10, 200, "rwm"}},
}

// RuncRules returns the rules of a container of runc whose specification has the
// rules spec and, in linux.devices, nodes at these paths. runc puts its defaults
// last, except those for nodes that the specification makes itself.
func RuncRules(spec []DeviceRule, nodes []string) []DeviceRule {
	rules := slices.Clone(spec)
	for _, d := range runcDefaults {
		if d.path == "" || !slices.Contains(nodes, d.path) {
			rules = append(rules, d.rule)
		}
	}
	return asRunc(rules)
}

// asRunc converts a list from runc's meaning to one in which the last match wins. On
// cgroup v2 runc still works as the v1 controller did. The last rule of type "a" is the
// default. A rule that differs from the default is an exception. A rule that equals the
// default removes exceptions of exactly its own numbers. runc does not start a list that
// would remove a part of an exception, so such a list keeps its order.
func asRunc(rules []DeviceRule) []DeviceRule {
	list := []DeviceRule{{Type: all}}
	for _, r := range rules {
		switch {
		case r.Type == all:
			list = []DeviceRule{r}
		case r.Allow != list[0].Allow:
			list = append(list, r)
		default:
			for i, e := range list[1:] {
				switch {
				case e.Type != r.Type || !strings.ContainsAny(e.Access, r.Access):
				case e.Major == r.Major && e.Minor == r.Minor:
					list[i+1].Access = Without(e.Access, r.Access)
				case e.covers(r):
					return rules
				}
			}
		}
	}
	return list
}

// AllowsAll tells whether rules allow every device that they do not deny.
func AllowsAll(rules []DeviceRule) bool {
	for _, r := range slices.Backward(rules) {
		if r.Type == all {
			return r.Allow
		}
	}
	return false
}

// covers tells whether r is for all the numbers of o.
func (r DeviceRule) covers(o DeviceRule) bool {
	return (r.Major == Any || r.Major == o.Major) && (r.Minor == Any || r.Minor == o.Minor)
}

// Without returns the letters of access that are not in other.
func Without(access, other string) string {
	return strings.Map(func(letter rune) rune {
		if strings.ContainsRune(other, letter) {
			return -1
		}
		return letter
	}, access)
}
