package devices

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// rule is d in the language of the cgroup v1 device controller. Written to
// devices.allow it lets the container use d: the controller keeps all other
// rules, and there is no moment without them.
func rule(d Device) string {
	return d.Type + " " + strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10) + " " + d.access()
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
// controller of cgroup v1. Where there is none, settle does it for all devices
// at once.
func permission(t *resource.Target, d Device) (grant func() error, err error) {
	f, err := t.Cgroups.File("devices", "devices.allow")
	if errors.Is(err, cgroup.ErrNoV1) {
		return func() error { return nil }, nil
	}
	return func() error { return open.WriteTo(f, rule(d)) }, err
}

// settle lets the container use all of its recorded devices, on cgroup v2: a
// program can only be replaced as a whole, so it is made of the rules that the
// container was started with and of ours.
func settle(_ context.Context, t *resource.Target, all, _ []Device) error {
	if len(all) == 0 {
		return nil
	}
	if _, err := t.Cgroups.V1("devices"); !errors.Is(err, cgroup.ErrNoV1) {
		return err
	}
	dir, err := t.Cgroups.V2()
	if err != nil {
		return err
	}
	rules := t.DeviceRules
	for _, d := range all {
		rules = append(rules, cgroup.DeviceRule{Allow: true, Type: d.Type, Major: d.Major, Minor: d.Minor, Access: d.access()})
	}
	return cgroup.SetDevices(dir, rules)
}

// verifyAllowed returns nil when the container may use d.
func verifyAllowed(t *resource.Target, d Device) error {
	dir, err := t.Cgroups.V1("devices")
	if errors.Is(err, cgroup.ErrNoV1) {
		return nil // what a program allows cannot be read back
	}
	if err != nil {
		return err
	}
	list, err := open.Read(dir+"/devices.list", 1<<20)
	if err != nil {
		return err
	}
	want := rule(d)
	missing := want[strings.LastIndexByte(want, ' ')+1:]
	for line := range strings.Lines(string(list)) {
		if have, ok := grants(strings.Fields(line), d); ok {
			missing = strings.Map(func(c rune) rune {
				if strings.ContainsRune(have, c) {
					return -1
				}
				return c
			}, missing)
		}
	}
	if missing != "" {
		return fmt.Errorf("%s does not allow %q", dir, want)
	}
	return nil
}

// grants returns the permissions that a line of devices.list, such as
// "c 1:* rm" or "a *:* rwm", gives for d.
func grants(line []string, d Device) (string, bool) {
	if len(line) != 3 || line[0] != "a" && line[0] != d.Type {
		return "", false
	}
	major, minor, _ := strings.Cut(line[1], ":")
	if major != "*" && major != fmt.Sprint(d.Major) || minor != "*" && minor != fmt.Sprint(d.Minor) {
		return "", false
	}
	return line[2], true
}
