package golden

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"isula.org/isulad-tools/integration/sandbox"
)

// wanted is what a run must show; it starts as the recording.
type wanted struct {
	exit           int
	stdout, stderr string // of commands; a hook's are not compared
	says           string // part of a hook's one line of standard error
	deviceHook     json.RawMessage
	effects        effects
}

func (c *testCase) recorded() wanted {
	return wanted{exit: c.Exit, stdout: c.Stdout, stderr: c.Stderr, deviceHook: c.DeviceHookAfter, effects: c.Effects}
}

// differences lists where a run does not show what is wanted.
func (c *testCase) differences(w wanted, o *observed) []string {
	var d diffs
	if o.exit != w.exit {
		d.add("exit status %d, want %d", o.exit, w.exit)
	}
	if c.Kind == "cli" {
		compareOutput(&d, "stdout", w.stdout, o.stdout)
		compareOutput(&d, "stderr", w.stderr, o.stderr)
	} else {
		c.compareHookOutput(&d, w, o)
	}
	d.compare("device_hook.json", parsed(string(w.deviceHook)), c.parsedResourceFile(o))
	c.compareEffects(&d, w, o)
	return d
}

// compareHookOutput holds a hook to one line: the runtime shows it to people.
func (c *testCase) compareHookOutput(d *diffs, w wanted, o *observed) {
	lines := strings.Count(o.stderr, "\n")
	if o.exit == 1 && (lines != 1 || strings.TrimSpace(o.stderr) == "") {
		d.add("exit status 1 with %d lines on stderr, want 1", lines)
	}
	if !strings.Contains(o.stderr, w.says) {
		d.add("stderr does not say %q", w.says)
	}
}

// parsedResourceFile is device_hook.json as the recorder kept it: what is no
// JSON as its text, no file and null as nothing.
func (c *testCase) parsedResourceFile(o *observed) any {
	if !o.hasDeviceHook {
		return nil
	}
	if !json.Valid([]byte(o.deviceHook)) {
		return map[string]any{"raw_unparsable": o.deviceHook}
	}
	return parsed(o.deviceHook)
}

// parsed decodes JSON, without what is new in it; {} is as good as nothing.
func parsed(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if ok {
		dropPartitions(m)
	}
	if ok && len(m) == 0 {
		return nil
	}
	return v
}

func (c *testCase) compareEffects(d *diffs, w wanted, o *observed) {
	want, got := w.effects, o.effects
	if c.userNamespace() {
		want.CtrMounts.Added = withoutRuntimeNodes(want.CtrMounts.Added, o.runtimeMounts)
	}
	d.lines("ctr_mounts", want.CtrMounts.lines(), got.CtrMounts.lines())
	d.lines("host_mounts", withOwnGroups(want.HostMounts, strings.Contains(string(c.DeviceHookAfter), ":ro,rslave")).lines(), got.HostMounts.lines())
	d.lines("cgroup_devices", want.CgroupDevices.lines(), got.CgroupDevices.lines())
	d.compare("cgroup_blkio", limitLines(want.CgroupBlkio), limitLines(got.CgroupBlkio))
	compareLinks(d, "ctr_links", want.CtrLinks, got.CtrLinks)
	compareLinks(d, "host_links", want.HostLinks, got.HostLinks)
	d.lines("ctr_routes", want.CtrRoutes.withoutLinkLocal().lines(), got.CtrRoutes.lines())
	d.compare("afterwards", want.afterwards, got.afterwards)
	d.compare("kernel parameters in the container", want.CtrValue, got.CtrValue)
	d.compare("kernel parameters of the host", want.HostValue, got.HostValue)
	d.lines("sharedpath", treeLines(want.SharedPath), treeLines(got.SharedPath))
	c.compareRunDir(d, want.RunDir, got.RunDir)

	// Of the container's nodes the recorder watched some; any other change
	// must follow from what is recorded for the container.
	for p, n := range want.CtrNodes {
		compareNode(d, "ctr_nodes", p, n, o.nodeAt(o.ctr, p))
	}
	for p, n := range got.CtrNodes {
		if _, ok := want.CtrNodes[p]; !ok && !c.follows(p, w) {
			d.add("ctr_nodes: %s is %v, want no change", p, n)
		}
	}
	for p, n := range want.HostNodes {
		compareNode(d, "host_nodes", p, n, o.nodeAt(o.host, p))
	}
	for p, n := range got.HostNodes {
		if _, ok := want.HostNodes[p]; !ok && !c.isLog(p) {
			d.add("host_nodes: %s is %v, want no change", p, n)
		}
	}
	c.compareCalls(d, want, got)
	compareOvs(d, want.OvsCalls, o.ovsCalls)
	if len(o.lsblkCalls) > 0 {
		d.add("lsblk is executed: %q", o.lsblkCalls)
	}
}

// withOwnGroups gives the recorded staging mounts the propagation that they have
// now: each receives from the host, a read-only one only when its options say so, and
// that on master has a peer group of its own. Private ones stay private.
func withOwnGroups(c change, receives bool) change {
	now := func(lines []string) []string {
		lines = slices.Clone(lines)
		for i, l := range lines {
			lines[i] = transferLine.ReplaceAllStringFunc(l, func(m string) string {
				groups := "master"
				if strings.Contains(m, " opts=ro,") && !receives {
					groups = ""
				}
				if strings.HasPrefix(m, "/.sharedpath/master/") {
					groups = strings.Trim("shared,"+groups, ",")
				}
				return propagation.ReplaceAllString(m, " prop="+groups+" ")
			})
		}
		return lines
	}
	removed := now(c.Removed)
	for i, l := range c.Removed { // what somebody else left there is as it was
		if strings.Contains(l, "/midpath/") {
			removed[i] = l
		}
	}
	return change{Added: now(c.Added), Removed: removed}
}

var (
	transferLine = regexp.MustCompile(`^/\.sharedpath/(master|midpath)/\w+/\w{64} .*`)
	propagation  = regexp.MustCompile(` prop=(master|shared) `)
)

// limitLines makes one sorted list of I/O limits.
func limitLines(limits map[string][]string) []string {
	var list []string
	for file, lines := range limits {
		for _, l := range lines {
			list = append(list, file+": "+l)
		}
	}
	slices.Sort(list)
	return list
}

// withoutRuntimeNodes drops the nodes that runc binds into a container with a
// user namespace, where it cannot make them. The recorder compared with a
// container without one, so to it they came; here they are there before the
// hook, and a hook that touched them would show. Their options are those of
// the host's /dev.
func withoutRuntimeNodes(recorded, before []string) []string {
	without := func(line string) string { return mountOptions.ReplaceAllString(line, " ") }
	return slices.DeleteFunc(slices.Clone(recorded), func(line string) bool {
		return strings.HasPrefix(line, "/dev/") && slices.ContainsFunc(before, func(b string) bool { return without(b) == without(line) })
	})
}

var mountOptions = regexp.MustCompile(` opts=\S+ `)

func (o *observed) nodeAt(all map[string]sandbox.Node, p string) *node {
	if n, ok := all[p]; ok {
		return nodeOf(n)
	}
	return nil
}

func compareNode(d *diffs, what, path string, want, got *node) {
	if !got.equal(want) {
		d.add("%s: %s is %v, want %v", what, path, got, want)
	}
}

// compareCalls compares what other programs and places got to see.
func (c *testCase) compareCalls(d *diffs, want, got effects) {
	d.compare("modprobe_argv", withoutDashes(want.ModprobeArgv), withoutDashes(got.ModprobeArgv))
	var reloads []string
	if len(want.UdevadmCalls) > 0 {
		reloads = []string{"udevadm control --reload --timeout=3"} // however often v0.9 did
	}
	d.compare("udevadm_calls", reloads, got.UdevadmCalls)
	d.compare("udev_rules", want.UdevRules, withoutDiskRules(got.UdevRules))
	if c.Kind != "cli" && len(got.IsulaCalls) > 0 {
		d.add("a hook must not call isula: %q", got.IsulaCalls)
	}
	if len(got.IsulaCalls) > 1 {
		d.add("one answer of isula has everything: %q", got.IsulaCalls)
	}
	// The wording of a log is free.
	d.compare("mode of the log file", lastLine(want.LogFile), lastLine(got.LogFile))
}

// compareRunDir compares the run directory without its start records and what is
// remembered of modules, which are new, and its udev lock, which need not be made. A run directory that was
// made for nothing but that lock need not be either.
func (c *testCase) compareRunDir(d *diffs, want, got map[string]*string) {
	own := func(p string, _ *string) bool {
		rel, _ := filepath.Rel(c.names.runDir(), p)
		return rel == "udevd_config_locker" || rel == "containers" || strings.HasPrefix(rel, "containers/") ||
			rel == "modules" || strings.HasPrefix(rel, "modules/")
	}
	want, got = maps.Clone(want), maps.Clone(got)
	maps.DeleteFunc(want, own)
	maps.DeleteFunc(got, own)
	if _, ok := got[c.names.runDir()]; !ok && len(want) == 1 {
		delete(want, c.names.runDir())
	}
	if _, ok := want[c.names.runDir()]; !ok && len(got) == 1 {
		delete(got, c.names.runDir())
	}
	d.lines("run_dir", treeLines(want), treeLines(got))
}

// follows tells whether a change of path in the container follows from its
// resource file, before or after, or from the shared path, though the recorder
// did not watch it.
func (c *testCase) follows(path string, w wanted) bool {
	if path == "/.sharedpath" || strings.HasPrefix(path, "/.sharedpath/") {
		return true
	}
	for _, r := range []resources{c.resources(), readResources(w.deviceHook)} {
		for _, d := range r.Devices {
			if path == d.PathInContainer || strings.HasPrefix(d.PathInContainer, path+"/") {
				return true
			}
		}
		for _, bind := range r.Binds {
			target := strings.Split(bind, ":")[1]
			if path == target || strings.HasPrefix(target, path+"/") || strings.HasPrefix(path, target+"/") {
				return true
			}
		}
	}
	return false
}

func (c *testCase) isLog(path string) bool {
	i := slices.Index(c.Argv, "--log")
	return i >= 0 && c.Argv[i+1] == path
}

// withoutDashes drops the "--" before the names.
func withoutDashes(argvs [][]string) [][]string {
	var list [][]string
	for _, argv := range argvs {
		list = append(list, slices.DeleteFunc(slices.Clone(argv), func(a string) bool { return a == "--" }))
	}
	return list
}

func lastLine(text *string) string {
	if text == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(*text), "\n")
	return lines[len(lines)-1]
}

// lines makes one list of what came and went.
func (c change) lines() []string {
	var list []string
	for _, l := range c.Added {
		list = append(list, "came: "+l)
	}
	for _, l := range c.Removed {
		list = append(list, "went: "+l)
	}
	return list
}

func treeLines(tree map[string]*string) []string {
	var list []string
	for p, n := range tree {
		if n == nil {
			list = append(list, p+": gone")
		} else {
			list = append(list, p+": "+*n)
		}
	}
	return list
}

// diffs collects differences in words.
type diffs []string

func (d *diffs) add(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func (d *diffs) compare(what string, want, got any) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		d.add("%s (-want +got):\n%s", what, diff)
	}
}

// lines compares lists whose order does not matter.
func (d *diffs) lines(what string, want, got []string) {
	change := difference(want, got)
	for _, l := range change.Removed {
		d.add("%s: missing: %s", what, l)
	}
	for _, l := range change.Added {
		d.add("%s: unexpected: %s", what, l)
	}
}
