package bench

import (
	"fmt"
	"os"

	specimen "isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/internal/cgroup"
)

// programDevices are character devices in the container's /dev, allowed by a
// program of cgroup v2.
var programDevices = deviceKind(charDevice, bareProgramDevices)

// bareProgramDevices makes each node by the least of calls, and one program for
// all, of the rules that the hook has. The program comes from the hook's own
// function, for its size decides what the kernel does with it.
func bareProgramDevices(w *world, all []device) (func() error, error) {
	rules, err := specimen.Rules()
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		rules = append(rules, cgroup.DeviceRule{Allow: true, Type: d.letter(), Major: int64(d.major), Minor: int64(d.minor), Access: "rw"})
	}
	dir, err := os.Open(w.inside("/dev"))
	if err != nil {
		return nil, err
	}
	return func() error {
		defer dir.Close()
		for _, d := range all {
			if err := bareNode(int(dir.Fd()), d); err != nil {
				return fmt.Errorf("device %s: %w", d.name, err)
			}
		}
		return cgroup.SetDevices(w.cgroup, rules)
	}, nil
}
