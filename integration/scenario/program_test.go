package scenario

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
)

// group is a cgroup of v2, beside cgroup v1 too, and devices to try in it.
type group struct {
	t     *testing.T
	dir   string
	nodes []cgroup.DeviceRule // as rules, by the names n0, n1 … in at
	at    string
}

func newGroup(t *testing.T) *group {
	t.Helper()
	top := "/sys/fs/cgroup/unified"
	if sandbox.Unified() {
		top = "/sys/fs/cgroup"
	}
	g := &group{t: t, dir: filepath.Join(top, sandbox.CgroupParent(), strings.ToLower(t.Name()))}
	check(t, os.MkdirAll(g.dir, 0o755))
	t.Cleanup(func() { check(t, os.Remove(g.dir)) })
	var err error
	g.at, err = os.MkdirTemp("/dev", "try-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(g.at)) })
	d := theDisk(t).whole
	for _, n := range []struct {
		kind         string
		major, minor uint32
	}{{"c", 10, 229}, {"c", 10, 237}, {"c", 1, 5}, {"c", 1, 9}, {"b", d.major, d.minor}} {
		mode := map[string]uint32{"c": unix.S_IFCHR, "b": unix.S_IFBLK}[n.kind]
		check(t, sandbox.Mknod(fmt.Sprintf("%s/n%d", g.at, len(g.nodes)), mode|0o600, n.major, n.minor, 0, 0))
		g.nodes = append(g.nodes, cgroup.DeviceRule{Type: n.kind, Major: int64(n.major), Minor: int64(n.minor)})
	}
	return g
}

// sh runs a script in the cgroup and returns its output.
func (g *group) sh(script string) string {
	g.t.Helper()
	dir, err := os.Open(g.dir)
	check(g.t, err)
	defer dir.Close()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := cmd.Output()
	check(g.t, err)
	return strings.TrimSuffix(string(out), "\n")
}

// may tells what can be done with each node: "r", "w", "m", and "b" for both of
// the former at once.
func (g *group) may() []string {
	g.t.Helper()
	script := ""
	for i, n := range g.nodes {
		script += fmt.Sprintf(`n=%s/n%d; { true <$n; } && printf r; { true >$n; } && printf w; { true <>$n; } && printf b; mknod $n-made %s %d %d && printf m; echo; `,
			g.at, i, n.Type, n.Major, n.Minor)
	}
	return strings.Split(g.sh(script+"rm -f "+g.at+"/*-made"), "\n")
}

// means is what may should say of a node under these rules: the last one that
// matches wins, for each access.
func means(rules []cgroup.DeviceRule, node cgroup.DeviceRule) string {
	is := map[rune]bool{}
	for _, r := range rules {
		numbers := (r.Major == cgroup.Any || r.Major == node.Major) && (r.Minor == cgroup.Any || r.Minor == node.Minor)
		for _, letter := range "rwm" {
			if r.Type == "a" || r.Type == node.Type && numbers && strings.ContainsRune(r.Access, letter) {
				is[letter] = r.Allow
			}
		}
	}
	is['b'] = is['r'] && is['w']
	return strings.Map(func(letter rune) rune {
		if is[letter] {
			return letter
		}
		return -1
	}, "rwbm")
}

// set gives the cgroup a program and requires that it does what the rules mean.
func (g *group) set(rules []cgroup.DeviceRule) {
	g.t.Helper()
	check(g.t, cgroup.SetDevices(g.dir, rules))
	for i, got := range g.may() {
		if want := means(rules, g.nodes[i]); got != want {
			g.t.Errorf("of %v: %q, want %q, with the rules %v", g.nodes[i], got, want, rules)
		}
	}
	if n := g.programs(); n != 1 {
		g.t.Errorf("%d programs are attached, want 1", n)
	}
}

func TestAProgramOfTheKernelsDoesWhatItsRulesMean(t *testing.T) {
	g := newGroup(t)
	recorded, err := holder.Rules()
	check(t, err)
	fuse := func(access string) cgroup.DeviceRule {
		return cgroup.DeviceRule{Allow: true, Type: "c", Major: 10, Minor: 229, Access: access}
	}
	g.set(recorded)
	g.set(append(recorded[:len(recorded):len(recorded)], fuse("r")))
	g.set(append(recorded[:len(recorded):len(recorded)], fuse("w"), fuse("r")))
	g.set(recorded)

	random := rand.New(rand.NewPCG(1, 2))
	pick := func(numbers ...int64) int64 { return numbers[random.IntN(len(numbers))] }
	lists := 200
	if inVM() { // where all takes long
		lists = 10
	}
	for range lists {
		rules := make([]cgroup.DeviceRule, random.IntN(20))
		for i := range rules {
			n := g.nodes[random.IntN(len(g.nodes))]
			rules[i] = cgroup.DeviceRule{
				Allow: random.IntN(2) == 0, Type: n.Type, Major: pick(n.Major, n.Major, cgroup.Any), Minor: pick(n.Minor, n.Minor, cgroup.Any),
				Access: []string{"r", "w", "m", "rw", "rm", "wm", "rwm", ""}[random.IntN(8)],
			}
			if random.IntN(15) == 0 {
				rules[i].Type = "a"
			}
		}
		g.set(rules)
	}
}

// The verifier's work grows with the number of rules, not with their square: it
// gives a program up after a million steps, and before 5.2 after 131072.
func TestAContainerMayHaveManyDevices(t *testing.T) {
	g := newGroup(t)
	rules, err := holder.Rules()
	check(t, err)
	for i := range int64(5000) {
		rules = append(rules, cgroup.DeviceRule{Allow: i%3 > 0, Type: "cb"[i%2:][:1], Major: 300 + i/256, Minor: i, Access: []string{"rwm", "rw", "r", "m"}[i%4]})
	}
	g.set(append(rules, cgroup.DeviceRule{Allow: true, Type: "c", Major: 10, Minor: 229, Access: "rw"}))
}

// Whatever is attached to the cgroup goes: it would forbid what is allowed now.
func TestAllOlderProgramsAreDetached(t *testing.T) {
	everything := []cgroup.DeviceRule{{Allow: true, Type: "a"}}
	for name, flags := range map[string][]uint32{
		"none":                          nil,
		"one":                           {unix.BPF_F_ALLOW_MULTI},
		"several":                       {unix.BPF_F_ALLOW_MULTI, unix.BPF_F_ALLOW_MULTI, unix.BPF_F_ALLOW_MULTI},
		"one that must stay the only":   {0},
		"one that is for itself":        {unix.BPF_F_ALLOW_OVERRIDE},
		"as many as leave room for one": slices.Repeat([]uint32{unix.BPF_F_ALLOW_MULTI}, 63),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			for _, f := range flags {
				g.attachRefusal(f)
			}
			g.set(everything)
		})
	}
}

// While programs are replaced there is no moment without one.
func TestDeviceProgramIsReplacedWithoutAGap(t *testing.T) {
	g := newGroup(t)
	rules, err := holder.Rules()
	check(t, err)
	check(t, cgroup.SetDevices(g.dir, rules))
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
				err = cgroup.SetDevices(g.dir, rules)
			}
		}
		done <- err
	}()
	out := g.sh("n=0; while [ $n -lt 20000 ]; do n=$((n+1)); { true <" + g.at + "/n1 && echo opened; } 2>/dev/null; done; echo $n")
	close(stop)
	check(t, <-done)
	if out != "20000" {
		t.Errorf("a forbidden device: %s", out)
	}
}

// bpf is bpf(2).
func bpf[T any](t *testing.T, command uintptr, attr *T) uintptr {
	t.Helper()
	n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		t.Fatalf("bpf command %d: %v", command, errno)
	}
	return n
}

// attachRefusal attaches a program that refuses everything.
func (g *group) attachRefusal(flags uint32) {
	g.t.Helper()
	dir, err := os.Open(g.dir)
	check(g.t, err)
	defer dir.Close()
	program := [...]uint64{0xb7, 0x95} // r0 = 0; exit
	license := [...]byte{0}
	fd := bpf(g.t, unix.BPF_PROG_LOAD, &struct {
		kind, count uint32
		code        *[2]uint64
		license     *[1]byte
	}{unix.BPF_PROG_TYPE_CGROUP_DEVICE, 2, &program, &license})
	defer unix.Close(int(fd))
	bpf(g.t, unix.BPF_PROG_ATTACH, &[...]uint32{uint32(dir.Fd()), uint32(fd), unix.BPF_CGROUP_DEVICE, flags})
}

// programs counts the device programs of the cgroup.
func (g *group) programs() int {
	g.t.Helper()
	dir, err := os.Open(g.dir)
	check(g.t, err)
	defer dir.Close()
	var ids [64]uint32
	query := struct {
		target, attachType, queryFlags, attachFlags uint32
		ids                                         *[64]uint32
		count, _                                    uint32
		_                                           [4]uint64
	}{target: uint32(dir.Fd()), attachType: unix.BPF_CGROUP_DEVICE, ids: &ids, count: uint32(len(ids))}
	bpf(g.t, unix.BPF_PROG_QUERY, &query)
	return int(query.count)
}
