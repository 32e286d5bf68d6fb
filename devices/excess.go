package devices

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/resource"
)

// programKind is, in the ledger, the one record of the device program that was attached to
// the container's cgroup v2, and program what it says of it.
const programKind = "device program"

type program struct{ Tag string }

// attach makes a program of the rules the container's only one, and notes which it is:
// what others attach in its place later is told by that. Without a device, nobody cares.
func attach(t *resource.Target, dir string, rules []cgroup.DeviceRule, devices bool) error {
	if !devices {
		t.Ledger.Revoke(programKind, cgroup.Unified)
		return cgroup.SetDevices(dir, rules)
	}
	if err := t.Ledger.Intend(programKind, nil, cgroup.Unified); err != nil {
		return err
	}
	if err := cgroup.SetDevices(dir, rules); err != nil {
		return err
	}
	if tags, err := cgroup.DeviceTags(dir); err == nil && len(tags) == 1 {
		t.Ledger.Make(programKind, cgroup.Unified, program{tags[0]})
	}
	return nil
}

// Permission is what a container may use, besides what its devices' records say.
type Permission struct {
	Rule string `json:"rule,omitempty"` // of cgroup v1
	Tag  string `json:"tag,omitempty"`  // of the program of cgroup v2
}

func (p Permission) String() string {
	if p.Tag != "" {
		return "program " + p.Tag
	}
	return p.Rule
}

// Permissions looks at what a running container may use and nobody asked for. records are
// all its devices, and those that it was granted and that are recorded no more. Nobody asks
// for a number that a device has no more.
func Permissions(t *resource.Target, records []Device) ([]resource.View, error) {
	list, err := allowed(t)
	if err != nil || list == nil {
		return programs(t), err
	}
	var views []resource.View
	if t.DeviceRules == nil || cgroup.AllowsAll(t.DeviceRules) {
		return nil, nil
	}
	wanted := slices.Clone(t.DeviceRules)
	for _, d := range records {
		if now, gone := d.Current(); !gone {
			wanted = append(wanted, now.deviceRule())
		}
	}
	for line := range strings.Lines(string(list)) {
		rule := strings.TrimSpace(line)
		excess := excessAccess(rule, wanted)
		if excess == "" {
			continue
		}
		rule = rule[:strings.LastIndexByte(rule, ' ')+1] + excess
		v := resource.View{Name: rule, Real: Permission{Rule: rule}}
		if rule[0] == 'a' {
			v.DifferForGood("permission wider", "the container's cgroup allows every device, and its specification does not: restart the container")
		} else {
			v.Differ("permission wider", "the container's cgroup allows %s, which neither its specification nor a record asks for", rule)
		}
		views = append(views, v)
	}
	return views, nil
}

// excessAccess returns the access that a line of devices.list gives and none of the rules does.
func excessAccess(line string, wanted []cgroup.DeviceRule) string {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return ""
	}
	major, minor, _ := strings.Cut(fields[1], ":")
	is := cgroup.DeviceRule{Type: fields[0], Major: number(major), Minor: number(minor), Access: fields[2]}
	for _, r := range wanted {
		if r.Allow && r.Type == is.Type && (r.Major == cgroup.Any || r.Major == is.Major) && (r.Minor == cgroup.Any || r.Minor == is.Minor) {
			is.Access = cgroup.Without(is.Access, r.Access)
		}
	}
	return is.Access
}

// number reads a number of a rule, "*" being all of them.
func number(s string) int64 {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return cgroup.Any
}

// programs looks whether the program that was attached last still is. Another one counts
// only where we attached one: the runtime's own, and systemd's, are no difference.
func programs(t *resource.Target) []resource.View {
	var is program
	if !t.Ledger.Made(programKind, cgroup.Unified, &is) {
		return nil
	}
	dir, err := t.Cgroups.V2()
	if err != nil {
		return nil
	}
	tags, err := cgroup.DeviceTags(dir)
	if err != nil {
		return nil
	}
	v := resource.View{Name: "device program", Granted: []byte(strconv.Quote(is.Tag))}
	if len(tags) > 0 {
		v.Real = Permission{Tag: strings.Join(tags, " ")}
	}
	if !slices.Contains(tags, is.Tag) {
		v.Differ("permission missing or wider", "the cgroup's device program is not the one that was attached for the recorded devices: somebody attached another one (runc update does), or detached it")
	}
	return []resource.View{v}
}

// RepairPermission takes away what a view of Permissions says is too much, and attaches the
// program for all records anew.
func RepairPermission(_ context.Context, t *resource.Target, v resource.View, records []Device) error {
	is, ok := v.Real.(Permission)
	if v.Granted != nil || !ok {
		return reconcileV2(t, withCurrentNumbers(records))
	}
	return denyRule(t, is.Rule)
}
