package golden

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// expectation is what a case of COMPAT.md must show instead of its recording.
type expectation struct {
	exit    int
	says    string                    // part of the hook's one line of standard error
	stdout  string                    // a command's, in the recording's words, or sameOutput
	stderr  string                    // the same
	hook    string                    // device_hook.json afterwards; "": as recorded, "before": as it was
	loads   bool                      // modprobe loads what it is asked for
	effects func(c *testCase) effects // nil: nothing changes at all
}

// sameOutput is for what a case of COMPAT.md prints as v0.9 did.
const sameOutput = "as recorded"

// wanted is the recording with what we do on purpose put in.
func (e expectation) wanted(c *testCase) wanted {
	w := c.recorded()
	w.exit, w.says = e.exit, e.says
	if e.stdout != sameOutput {
		w.stdout = c.local(e.stdout)
	}
	if e.stderr != sameOutput {
		w.stderr = c.local(e.stderr)
	}
	switch e.hook {
	case "":
	case "before":
		w.deviceHook = c.Setup.DeviceHook
	default:
		w.deviceHook = json.RawMessage(c.local(e.hook))
	}
	w.effects = effects{}
	if e.effects != nil {
		w.effects = e.effects(c)
	}
	return w
}

// deliberate finds what a case of COMPAT.md must show; there is an entry for
// every one.
func deliberate(name string) (expectation, bool) {
	for _, table := range expectations {
		if e, ok := table[name]; ok {
			return e, true
		}
	}
	return expectation{}, false
}

var expectations = []map[string]expectation{hookExpectations, commandExpectations, pathExpectations, deviceExpectations, networkExpectations}

// hookExpectations are those of hooks.
var hookExpectations = map[string]expectation{
	// Modules come first, and are checked before anything is done.
	"hook-modules-invalid-name":      {exit: 1, says: "module name is incorrect:bad.name"},
	"hook-modules-invalid-space":     {exit: 1, says: "module name is incorrect: xt_nat"},
	"hook-modules-newline":           {exit: 1, says: `module name is incorrect:a1\nb1`},
	"hook-modules-trailing-newline":  {exit: 1, says: `module name is incorrect:a1\n`},
	"hook-modules-unicode":           {exit: 1, says: "module name is incorrect:"},
	"hook-modules-value-with-equals": {exit: 1, says: "module name is incorrect:a1=b1"},
	"hook-modules-modprobe-fails":    {exit: 1, says: `"nosuch": `, effects: onlyModprobe("nosuch")},
	"hook-modules-modprobe-fails-3":  {exit: 1, says: `"nosuch": `, effects: onlyModprobe("nosuch")},

	// A module counts as loaded when it is there. The recorder's modprobe
	// loaded nothing; see also replayWithModprobe.
	"hook-modules-one":                         {exit: 1, says: `"ip_vs": `, effects: onlyModprobe("ip_vs")},
	"hook-modules-long":                        {exit: 1, says: `"` + longModule + `": `, effects: onlyModprobe(longModule)},
	"hook-modules-prefix-then-real":            {exit: 1, says: `"b1": `, effects: onlyModprobe("b1")},
	"hook-modules-two-entries":                 {exit: 1, says: `"a1": `, effects: onlyModprobe("a1")},
	"hook-spec-flat-capabilities-modules":      {exit: 1, says: `"ip_vs": `, effects: onlyModprobe("ip_vs")},
	"hook-modules-modprobe-missing":            {loads: true, effects: with(ordinary, askedFor("ip_vs"))},
	"hook-modules-no-path":                     {loads: true, effects: with(ordinary, askedFor("ip_vs"))},
	"hook-no-state":                            {exit: 1, says: "--state"},
	"hook-unknown-state":                       {exit: 1, says: `"prestop"`},
	"hook-state-pid-dead":                      {exit: 1, says: "399999"},
	"hook-state-pid-negative":                  {exit: 1, says: "pid: -5"},
	"hook-state-pid-string":                    {exit: 1, says: "pid: "},
	"hook-state-missing-config-json":           {exit: 1, says: "config.json"},
	"hook-spec-bad-json":                       {exit: 1, says: "config.json"},
	"hook-direct-no-lcr-dir":                   {exit: 1, says: "/goldhost/runcbundle/config.json"},
	"hook-state-missing-bundle":                {effects: ordinary},
	"hook-state-other-id":                      {effects: with(recordedEffects, device("0o640", 1000, 1001))},
	"hook-spec-empty-object":                   {effects: ordinary},
	"hook-spec-no-linux":                       {effects: ordinary},
	"hook-prestart-corrupt-config":             {exit: 1, says: "device_hook.json"},
	"hook-prestart-empty-config-file":          {exit: 1, says: "device_hook.json: empty file"},
	"hook-prestart-null-config":                {exit: 1, says: "device_hook.json: not a JSON object"},
	"hook-prestart-config-dup-bind":            {exit: 1, says: "bindToAdd: Mount more than one host paths to a single path in container"},
	"hook-cgroup-wrong":                        {exit: 1, says: "/origgold/none/devices.allow", effects: with(recordedEffects, without("/dev/n1"))},
	"hook-prestart-bind-file":                  {effects: with(recordedEffects, mountpointMode)},
	"hook-prestart-bind-dir-onto-file-skipped": {effects: with(ordinary, hostnameStays)},

	// Facts about disks come from sysfs, and no node of the host's changes.
	"hook-prestart-lsblk-missing":     {effects: with(ordinary, device("0o660", 0, 0))},
	"hook-userns-other-graph-devices": {effects: with(ordinary, boundNode)},

	"hook-prestart-disk-udev-rule-exists": {effects: with(recordedEffects, diskRuleComes)},

	// Leftovers of a start that nobody cleaned up are recognised.
	"hook-prestart-leftover-midpath":  {effects: with(recordedEffects, rightTree)},
	"hook-prestart-private-root":      {effects: ordinary},
	"hook-prestart-stale-netns-mount": {effects: recordedEffects},

	// poststop cleans what the id alone allows, and never through a mount.
	"hook-poststop-corrupt-device-hook":           {effects: cleaned},
	"hook-poststop-eth":                           {effects: with(recordedEffects, comesBackUp)},
	"hook-poststop-missing-config-json":           {effects: cleaned},
	"hook-poststop-config-lost-deletes-host-data": {effects: with(recordedEffects, dataStays)},
}

// longModule is the name of hook-modules-long.
var longModule = strings.Repeat("m", 300)

// recordedEffects are those of the case itself.
func recordedEffects(c *testCase) effects { return c.Effects }

// onlyModprobe is a start that failed at its modules, with these names asked for.
func onlyModprobe(names ...string) func(*testCase) effects {
	return with(func(*testCase) effects { return effects{} }, askedFor(names...))
}

func askedFor(names ...string) func(*testCase, *effects) {
	return func(_ *testCase, e *effects) {
		e.ModprobeArgv = [][]string{append([]string{"modprobe", "-a"}, names...)}
	}
}

// ordinary is a start with nothing recorded: the shared path and the pinned
// network namespace.
func ordinary(c *testCase) effects {
	pins := c.names.runDir() + "/netns"
	return effects{
		CtrMounts: change{Added: []string{"/.sharedpath root=/" + containerID + " opts=ro,relatime prop=master fs=tmpfs"}},
		HostMounts: change{Added: []string{
			"/.sharedpath/master root=/ opts=rw,relatime prop=shared fs=tmpfs", pinMount(c),
		}},
		SharedPath: list("/.sharedpath", "d 0o600 0:0", "/.sharedpath/master", "d 0o1777 0:0", "/.sharedpath/master/"+containerID, "d 0o600 0:0"),
		RunDir:     list(c.names.runDir(), "d 0o644 0:0", pins, "d 0o600 0:0", pins+"/"+containerID, "f 0o444 0:0"),
	}
}

// cleaned is what poststop does after an ordinary start.
func cleaned(c *testCase) effects {
	return effects{
		HostMounts: change{Removed: []string{pinMount(c)}},
		SharedPath: map[string]*string{"/.sharedpath/master/" + containerID: nil},
		RunDir:     map[string]*string{c.names.runDir() + "/netns/" + containerID: nil},
	}
}

func pinMount(c *testCase) string {
	return c.names.runDir() + "/netns/" + containerID + " root=net:[<INODE>] opts=rw prop=shared fs=nsfs"
}

// without is a start that leaves no such node.
func without(path string) func(*testCase, *effects) {
	return func(_ *testCase, e *effects) { e.CtrNodes[path] = nil }
}

// device is the one that is recorded, as a node of this mode and owner and a
// rule of the cgroup.
func device(mode string, uid, gid int) func(*testCase, *effects) {
	return func(c *testCase, e *effects) {
		d := c.resources().Devices[0]
		number := fmt.Sprintf("%d:%d", d.Major, d.Minor)
		e.CgroupDevices.Added = []string{d.Type + " " + number + " " + d.CgroupPermissions}
		if e.CtrNodes == nil {
			e.CtrNodes = map[string]*node{}
		}
		e.CtrNodes[d.PathInContainer] = &node{Type: d.Type, Mode: mode, UID: uid, GID: gid, Rdev: number}
	}
}

// boundNode: nodes do not work in a /dev that was mounted in the container's
// user namespace, so ours is bound there from the shared path.
func boundNode(c *testCase, e *effects) {
	device("0o640", 100000, 100000)(c, e)
	const name = "/node-14c12e25091f64c1" // of the path in the container
	e.CtrMounts.Added = append(e.CtrMounts.Added, "/dev/n1 root=/"+containerID+name+" opts=ro,relatime prop=master fs=tmpfs")
	maps.Copy(e.SharedPath, list("/.sharedpath/master/"+containerID+name, "c 0o640 100000:100000"))
}

// mountpointMode: made directories can be entered.
func mountpointMode(_ *testCase, e *effects) { e.CtrNodes["/y"] = &node{Type: "d", Mode: "0o755"} }

// hostnameStays: the file in the way stays, and of the failed bind only what
// any bind needs and poststop removes.
func hostnameStays(c *testCase, e *effects) {
	e.CtrNodes = c.Effects.CtrNodes
	maps.Copy(e.SharedPath, list("/.sharedpath/midpath", "d 0o600 0:0", "/.sharedpath/midpath/"+containerID, "d 0o600 0:0"))
}

// rightTree: the container gets the directory that is recorded for it, and
// not the one that a forgotten staging mount leads to.
func rightTree(c *testCase, e *effects) {
	const sha = "102420385b5defcef6f0e3a9d24e18d2a5cba3575b3cd233868194f74273f814"
	mid, master := "/.sharedpath/midpath/"+containerID, "/.sharedpath/master/"+containerID
	mount := " root=/goldhost/dir opts=rw,relatime prop=master fs=overlay"
	*e = ordinary(c)
	e.CtrMounts.Added = append(e.CtrMounts.Added, "/.sharedpath/"+sha+mount, "/x"+mount)
	e.HostMounts.Added = append(e.HostMounts.Added, mid+"/"+sha+mount, master+"/"+sha+mount)
	e.HostMounts.Removed = []string{mid + "/" + sha + " root=/goldhost/dir2 opts=rw,relatime prop=shared fs=overlay"}
	e.CtrNodes = map[string]*node{"/x": {Type: "d", Mode: "0o755"}, "/x/f": {Type: "f", Mode: "0o644"}}
	delete(e.SharedPath, "/.sharedpath") // there before
	maps.Copy(e.SharedPath, list(mid, "d 0o600 0:0", mid+"/"+sha+"/f", "f 0o644 0:0", master+"/"+sha, "d 0o755 0:0", master+"/"+sha+"/f", "f 0o644 0:0"))
}

// dataStays: every mount and mountpoint goes, nothing of the host's does.
func dataStays(_ *testCase, e *effects) {
	const sha = "c8ed59b1eeece86e06e4a88df2646f8664d9c045aa2b43ad22a4d387e96603ee"
	for _, dir := range []string{"/.sharedpath/midpath/" + containerID, "/.sharedpath/master/" + containerID} {
		e.HostMounts.Removed = append(e.HostMounts.Removed, dir+"/"+sha+" root=/goldhost/newdir opts=rw,relatime prop=master fs=overlay")
		e.SharedPath[dir], e.SharedPath[dir+"/"+sha] = nil, nil
	}
	size := int64(len("precious\n"))
	e.HostNodes["/goldhost/newdir/sub"] = &node{Type: "d", Mode: "0o755"}
	e.HostNodes["/goldhost/newdir/sub/data"] = &node{Type: "f", Mode: "0o644", Size: &size}
}

// with adjusts the effects that from describes.
func with(from func(*testCase) effects, adjust ...func(*testCase, *effects)) func(*testCase) effects {
	return func(c *testCase) effects {
		e := from(c)
		e.CtrNodes, e.HostNodes = maps.Clone(e.CtrNodes), maps.Clone(e.HostNodes)
		e.SharedPath, e.RunDir = maps.Clone(e.SharedPath), maps.Clone(e.RunDir)
		e.CtrMounts.Added = slices.Clone(e.CtrMounts.Added)
		e.HostMounts = change{slices.Clone(e.HostMounts.Added), slices.Clone(e.HostMounts.Removed)}
		for _, do := range adjust {
			do(c, &e)
		}
		return e
	}
}

// list makes a map of the pairs of paths and descriptions.
func list(pairs ...string) map[string]*string {
	m := map[string]*string{}
	for p := range slices.Chunk(pairs, 2) {
		m[p[0]] = &p[1]
	}
	return m
}
