package devices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// v1Rule is d in the language of the cgroup v1 device controller. Written to
// devices.allow it lets the container use d: the controller keeps all other
// rules, and there is no moment without them.
func v1Rule(d Device) string { return v1RuleFor(d, d.access()) }

func v1RuleFor(d Device, access string) string {
	return d.Type + " " + strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10) + " " + access
}

// access is what d's recorded permissions mean: they may be empty, that is all
// of them.
func (d Device) access() string {
	if d.CgroupPermissions == "" {
		return "rwm"
	}
	return d.CgroupPermissions
}

// permission returns what lets the container use d: one rule more for the
// controller of cgroup v1, all of it or nothing. Where there is none, reconcile does
// it for all devices at once.
func permission(t *resource.Target, d Device) (grant func() error, err error) {
	f, err := t.Cgroups.File("devices", "devices.allow")
	if errors.Is(err, cgroup.ErrNoV1) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	dir, err := t.Cgroups.Dir("devices")
	if err != nil {
		return nil, err
	}
	return func() error {
		rest := d.access()
		if cgroup.HasBelow(dir) { // what can fail after the first write is of these
			if rest, err = accessToAdd(dir.Name(), d); err != nil {
				return err
			}
		}
		if err := open.WriteTo(f, v1Rule(d)); err != nil {
			return err
		}
		err := allowBelow(dir, v1Rule(d))
		if err != nil && rest != "" {
			err = errors.Join(err, deny(t, d, rest))
		}
		return err
	}, nil
}

// accessToAdd returns d's permissions that the rule of exactly its numbers does not
// give the container: those that a grant adds. A container that may use
// everything gets none.
func accessToAdd(dir string, d Device) (string, error) {
	list, err := open.Read(filepath.Join(dir, "devices.list"), maxList)
	if err != nil || strings.HasPrefix(string(list), "a ") {
		return "", err
	}
	return missingAccess(string(list), d, accessByOwnLine), nil
}

// deny takes permissions away. The kernel takes them from the cgroups below, too.
func deny(t *resource.Target, d Device, access string) error {
	return denyRule(t, v1RuleFor(d, access))
}

func denyRule(t *resource.Target, rule string) error {
	f, err := t.Cgroups.File("devices", "devices.deny")
	if err != nil {
		return err
	}
	return open.WriteTo(f, rule)
}

// allowBelow writes a rule to the cgroups that the container made below its own:
// those that exist do not inherit it. What goes away meanwhile, or denies the
// device to itself, is the container's own affair.
func allowBelow(dir *os.File, rule string) error {
	if !cgroup.HasBelow(dir) {
		return nil
	}
	below, err := cgroup.Below(dir.Name())
	if err != nil {
		return err
	}
	for _, dir := range below {
		f, err := open.File(filepath.Join(dir, "devices.allow"), unix.O_WRONLY, 0)
		if err == nil {
			err = open.WriteTo(f, rule)
			f.Close()
		}
		if err != nil && !cgroup.Gone(err) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

// reconcile makes the container's permissions follow the list of its devices: now
// are those that it has, gone those that it lost.
func reconcile(_ context.Context, t *resource.Target, now, gone []Device) error {
	if len(now)+len(gone) == 0 {
		return nil
	}
	dir, err := t.Cgroups.V1("devices")
	if errors.Is(err, cgroup.ErrNoV1) {
		return reconcileV2(t, withCurrentNumbers(now))
	}
	if err != nil || len(gone) == 0 {
		return err
	}
	list, err := open.Read(filepath.Join(dir, "devices.list"), maxList)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(list), "a ") && !cgroup.AllowsAll(t.DeviceRules) {
		return nil // since its start it has been allowed everything
	}
	now = withCurrentNumbers(now)
	for _, d := range gone {
		if rest := revocable(d, t.DeviceRules, now); rest != "" {
			if err := deny(t, d, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// revocable returns the permissions of d that nothing else gives the container:
// neither the rules that it was started with, spec, nor another of its devices.
// devices.deny takes a permission only from the rule of exactly these numbers, so
// only such rules and those for all devices matter.
func revocable(d Device, spec []cgroup.DeviceRule, others []Device) string {
	rules := slices.Clone(spec)
	if spec == nil { // unknown: what any container may use stays
		rules = cgroup.RuncRules(nil, nil)
	}
	for _, o := range others {
		rules = append(rules, o.deviceRule())
	}
	needed := ""
	for _, r := range rules { // the last one wins
		switch {
		case r.Type == "a" && r.Allow:
			needed = "rwm"
		case r.Type == "a":
			needed = ""
		case r.Type != d.Type || r.Major != d.Major || r.Minor != d.Minor:
		case r.Allow:
			needed += r.Access
		default:
			needed = cgroup.Without(needed, r.Access)
		}
	}
	return cgroup.Without(d.access(), needed)
}

// reconcileV2 lets the container use all of its recorded devices, on cgroup v2: a
// program can only be replaced as a whole, so it is made of the rules that the
// container was started with and of ours.
func reconcileV2(t *resource.Target, all []Device) error {
	if t.DeviceRules == nil {
		return errors.New("the container has no config.json: its other permissions are not known, and cgroup v2 would lose them; restore the file")
	}
	dir, err := t.Cgroups.V2()
	if err != nil {
		return err
	}
	rules := slices.Clone(t.DeviceRules)
	for _, d := range all { // last, so that they win
		rules = append(rules, d.deviceRule())
	}
	return attach(t, dir, rules, len(all) > 0)
}

func (d Device) deviceRule() cgroup.DeviceRule {
	return cgroup.DeviceRule{Allow: true, Type: d.Type, Major: d.Major, Minor: d.Minor, Access: d.access()}
}

// maxList bounds what is read of a list of rules.
const maxList = 1 << 20

// verifyAllowed returns nil when the container may use d.
func verifyAllowed(t *resource.Target, d Device) error {
	dir, err := t.Cgroups.V1("devices")
	if errors.Is(err, cgroup.ErrNoV1) {
		return nil // what a program allows cannot be read back
	}
	if err != nil {
		return err
	}
	list, err := open.Read(filepath.Join(dir, "devices.list"), maxList)
	if err != nil {
		return err
	}
	if missingAccess(string(list), d, accessByLine) != "" {
		return fmt.Errorf("%s does not allow %q", dir, v1Rule(d))
	}
	return nil
}

// missingAccess returns d's permissions that no line of a list of rules gives, of which
// gives understands one.
func missingAccess(list string, d Device, gives func(line []string, d Device) (string, bool)) string {
	missing := d.access()
	for line := range strings.Lines(list) {
		if have, ok := gives(strings.Fields(line), d); ok {
			missing = cgroup.Without(missing, have)
		}
	}
	return missing
}

// accessByLine returns the permissions that a line of devices.list, such as
// "c 1:* rm" or "a *:* rwm", gives for d.
func accessByLine(line []string, d Device) (string, bool) {
	if len(line) != 3 || line[0] != "a" && line[0] != d.Type {
		return "", false
	}
	major, minor, _ := strings.Cut(line[1], ":")
	if major != "*" && major != fmt.Sprint(d.Major) || minor != "*" && minor != fmt.Sprint(d.Minor) {
		return "", false
	}
	return line[2], true
}

// accessByOwnLine is accessByLine of a line for d's numbers and no others.
func accessByOwnLine(line []string, d Device) (string, bool) {
	access, ok := accessByLine(line, d)
	return access, ok && line[0] == d.Type && !strings.Contains(line[1], "*")
}
