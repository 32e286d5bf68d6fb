package golden

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"isula.org/isulad-tools/integration/sandbox"
)

// look is the world at one moment.
type look struct {
	ctrMounts, hostMounts, devices []string
	ctr                            map[string]sandbox.Node // by path in the container
	host                           map[string]sandbox.Node // /goldhost and /dev
	shared, run                    map[string]sandbox.Node
	rules                          string
	limits                         map[string][]string // I/O limits by control file
	ctrValue, hostValue            string              // of the kernel parameters of the case
	ctrLinks, hostLinks            map[string]*link
	ctrRoutes                      []string
}

// watched are the host trees in which every change counts.
var watched = []string{"/goldhost", "/dev"}

// take looks at the world. pid is the container's init, 0 for none; root is
// where the container's root is in its mount namespace.
func take(t *testing.T, c *testCase, pid int, root string) look {
	t.Helper()
	l := look{host: map[string]sandbox.Node{}}
	mounts, err := sandbox.Mounts(0)
	check(t, err)
	l.hostMounts = mountLines(mounts)
	for _, dir := range watched {
		maps.Copy(l.host, tree(t, dir))
	}
	l.shared, l.run = tree(t, "/.sharedpath"), tree(t, c.names.runDir())
	rules, err := os.ReadFile(c.names.rules())
	if !errors.Is(err, os.ErrNotExist) {
		check(t, err)
	}
	l.rules = string(rules)
	l.hostLinks, _ = networkOf(t, os.Getpid())
	if pid == 0 {
		return l
	}
	mounts, err = sandbox.Mounts(pid)
	check(t, err)
	l.ctrMounts = mountLines(sandbox.MountsBelow(mounts, root))
	l.ctr, err = sandbox.ContainerTree(pid, root)
	check(t, err)
	if !sandbox.Unified() {
		l.devices, err = sandbox.Devices(c.cgroup())
		check(t, err)
		l.limits, err = sandbox.IOLimits(c.cgroup())
		check(t, err)
	}
	l.ctrLinks, l.ctrRoutes = networkOf(t, pid)
	l.ctrValue, l.hostValue = parameters(t, c, pid), parameters(t, c, os.Getpid())
	return l
}

// parameters reads the kernel parameters of the case as process pid has them.
func parameters(t *testing.T, c *testCase, pid int) string {
	t.Helper()
	var text string
	for _, key := range slices.Sorted(maps.Keys(c.sysctls())) {
		file := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		out, err := exec.Command("nsenter", "--net", "--ipc", "--target", fmt.Sprint(pid), "cat", file).Output()
		check(t, err)
		text += string(out)
	}
	return text
}

// tree is every file of dir by its full path; none when there is no dir.
func tree(t *testing.T, dir string) map[string]sandbox.Node {
	t.Helper()
	if _, err := os.Lstat(dir); err != nil {
		return nil
	}
	below, err := sandbox.Tree(dir, func(p string) bool { return p == "/pts" })
	check(t, err)
	full := map[string]sandbox.Node{}
	for p, n := range below {
		full[filepath.Join(dir, p)] = n
	}
	return full
}

var netInode = regexp.MustCompile(`net:\[\d+\]`)

func mountLines(list []*mountinfo.Info) []string {
	var lines []string
	for _, m := range list {
		var prop []string
		for _, p := range []string{"shared", "master", "unbindable"} {
			if strings.Contains(m.Optional, p) {
				prop = append(prop, p)
			}
		}
		root := netInode.ReplaceAllString(m.Root, "net:[<INODE>]")
		lines = append(lines, fmt.Sprintf("%s root=%s opts=%s prop=%s fs=%s", m.Mountpoint, root, m.Options, strings.Join(prop, ","), m.FSType))
	}
	return lines
}

// observed is what a run did.
type observed struct {
	stdout, stderr string
	exit           int
	deviceHook     string // content afterwards
	hasDeviceHook  bool
	effects        effects
	ovsCalls       []string
	lsblkCalls     []string
	ctr, host      map[string]sandbox.Node // everything afterwards
	runtimeMounts  []string                // of the container, before the run
}

// observe compares two looks and collects the other traces.
func observe(t *testing.T, c *testCase, before, after look, o *observed) {
	t.Helper()
	e := &o.effects
	e.CtrMounts = difference(before.ctrMounts, after.ctrMounts)
	e.HostMounts = difference(before.hostMounts, after.hostMounts)
	e.CgroupDevices = difference(before.devices, after.devices)
	e.CtrNodes, e.HostNodes = changedNodes(before.ctr, after.ctr), changedNodes(before.host, after.host)
	e.SharedPath, e.RunDir = changedTree(before.shared, after.shared), changedTree(before.run, after.run)
	if before.rules != after.rules {
		e.UdevRules = &after.rules
	}
	if !maps.EqualFunc(before.limits, after.limits, slices.Equal) {
		e.CgroupBlkio = after.limits
	}
	if before.ctrValue != after.ctrValue || before.hostValue != after.hostValue {
		e.CtrValue, e.HostValue = after.ctrValue, after.hostValue
	}
	e.CtrLinks, e.HostLinks = changedLinks(before.ctrLinks, after.ctrLinks), changedLinks(before.hostLinks, after.hostLinks)
	e.CtrRoutes = difference(before.ctrRoutes, after.ctrRoutes)
	o.ctr, o.host = after.ctr, after.host
	o.runtimeMounts = before.ctrMounts

	var err error
	e.ModprobeArgv, err = calls("modprobe")
	check(t, err)
	for name, list := range map[string]*[]string{
		"udevadm": &e.UdevadmCalls, "isula": &e.IsulaCalls, "ovs-vsctl": &o.ovsCalls, "lsblk": &o.lsblkCalls,
	} {
		argvs, err := calls(name)
		check(t, err)
		for _, argv := range argvs {
			*list = append(*list, strings.Join(argv, " "))
		}
	}
	if i := slices.Index(c.Argv, "--log"); i >= 0 {
		e.LogFile = logFile(t, c.Argv[i+1])
	}
	data, err := os.ReadFile(filepath.Join(c.dir(), "device_hook.json"))
	if !errors.Is(err, os.ErrNotExist) {
		check(t, err)
		o.deviceHook, o.hasDeviceHook = string(data), true
	}
	if strings.Contains(c.Stdout, recordedRandomPart) {
		o.hideRandomNames()
	}
}

// logFile is the log as recorded: the text, then a line with its mode.
func logFile(t *testing.T, path string) *string {
	t.Helper()
	n, err := sandbox.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	check(t, err)
	if n.Type != "f" {
		return nil // "." is standard output
	}
	data, err := os.ReadFile(path)
	check(t, err)
	text := fmt.Sprintf("%s%o\n", data, n.Mode)
	return &text
}

// difference compares lists in which a line may stand several times.
func difference(before, after []string) change {
	count := map[string]int{}
	for _, l := range after {
		count[l]++
	}
	for _, l := range before {
		count[l]--
	}
	var c change
	for _, l := range slices.Sorted(maps.Keys(count)) {
		for range count[l] {
			c.Added = append(c.Added, l)
		}
		for range -count[l] {
			c.Removed = append(c.Removed, l)
		}
	}
	return c
}

func changedNodes(before, after map[string]sandbox.Node) map[string]*node {
	diff := map[string]*node{}
	for p, n := range after {
		if old, ok := before[p]; !ok || old != n {
			diff[p] = nodeOf(n)
		}
	}
	for p := range before {
		if _, ok := after[p]; !ok {
			diff[p] = nil
		}
	}
	return diff
}

func changedTree(before, after map[string]sandbox.Node) map[string]*string {
	diff := map[string]*string{}
	for p, n := range after {
		if old, ok := before[p]; !ok || brief(old) != brief(n) {
			s := brief(n)
			diff[p] = &s
		}
	}
	for p := range before {
		if _, ok := after[p]; !ok {
			diff[p] = nil
		}
	}
	return diff
}
