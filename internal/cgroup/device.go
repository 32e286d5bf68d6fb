package cgroup

import (
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // sets cgroups.DevicesSetV2
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/sirupsen/logrus"
)

// Any is a major or minor number that stands for all.
const Any = -1

// DeviceRule is a rule of the device controller, as in an OCI specification.
type DeviceRule struct {
	Allow        bool
	Type         string // "a", "b" or "c"
	Major, Minor int64  // Any: all of them
	Access       string // a subset of "rwm"
}

// runtimeRules are what runc and lxc allow every container besides its
// specification: the usual character devices, and making any node.
var runtimeRules = [...]DeviceRule{
	{true, "c", Any, Any, "m"},
	{true, "b", Any, Any, "m"},
	{true, "c", 1, 3, "rwm"},
	{true, "c", 1, 5, "rwm"},
	{true, "c", 1, 7, "rwm"},
	{true, "c", 1, 8, "rwm"},
	{true, "c", 1, 9, "rwm"},
	{true, "c", 5, 0, "rwm"},
	{true, "c", 5, 1, "rwm"},
	{true, "c", 5, 2, "rwm"},
	{true, "c", 10, 200, "rwm"},
	{true, "c", 136, Any, "rwm"},
}

// WithDefaults are the rules of a specification with what runtimes always allow:
// that comes after the specification's deny-all, which is its first rule, and
// before all others.
func WithDefaults(rules []DeviceRule) []DeviceRule {
	first := min(1, len(rules))
	return slices.Concat(rules[:first], runtimeRules[:], rules[first:])
}

// SetDevices replaces the device programs of a cgroup v2 directory by one for
// these rules, the last of which wins, and for what runtimes always allow. The
// new program is attached before the old ones are detached.
func SetDevices(dir string, rules []DeviceRule) error {
	log := logrus.StandardLogger() // to which the library writes
	out := log.Out
	log.SetOutput(io.Discard)
	defer log.SetOutput(out)

	var set []*devices.Rule
	for _, r := range WithDefaults(rules) {
		rule := &devices.Rule{
			Type:        devices.Type(r.Type[0]),
			Major:       r.Major,
			Minor:       r.Minor,
			Permissions: devices.Permissions(r.Access),
			Allow:       r.Allow,
		}
		if r.Type == "a" {
			rule.Major, rule.Minor = Any, Any
		}
		set = append(set, rule)
	}
	if err := cgroups.DevicesSetV2(dir, &cgroups.Resources{Devices: set}); err != nil {
		return fmt.Errorf("device program of %s: %w", dir, err)
	}
	return nil
}
