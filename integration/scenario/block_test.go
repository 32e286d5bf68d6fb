package scenario

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// facts are what both we and lsblk tell of a block device.
type facts struct {
	Name, Type, Parent string
	Partitions         []string
}

// What sysfs tells us is what lsblk says of every block device of the machine;
// in the test machine integration/vm/disks.sh has made one of each kind.
func TestBlockFactsAreThoseOfLsblk(t *testing.T) {
	entries, err := os.ReadDir("/sys/class/block")
	check(t, err)
	types := map[string]int{}
	for _, e := range entries {
		n := node{path: filepath.Join("/dev", strings.ReplaceAll(e.Name(), "!", "/"))}
		n.number(t)
		size, err := os.ReadFile(filepath.Join("/sys/class/block", e.Name(), "size"))
		check(t, err)
		if strings.TrimSpace(string(size)) == "0" {
			continue // lsblk leaves out what has no medium
		}
		paths := []string{n.path}
		if name, err := os.ReadFile(filepath.Join("/sys/class/block", e.Name(), "dm/name")); err == nil {
			// Without it lsblk takes a mapped device for one that is just being made.
			paths = append(paths, filepath.Join("/dev/mapper", strings.TrimSpace(string(name))))
		}
		for _, p := range paths {
			if _, err := os.Lstat(p); err != nil {
				check(t, sandbox.Mknod(p, unix.S_IFBLK|0o600, n.major, n.minor, 0, 0))
				t.Cleanup(func() { check(t, os.Remove(p)) })
			}
		}
		b, err := devices.FindBlock(int64(n.major), int64(n.minor))
		check(t, err)
		parts, err := b.Partitions()
		check(t, err)
		got := facts{b.Name, b.Type, b.Parent(), parts}
		want := lsblk(t, n.path)
		if len(got.Partitions) == 0 {
			got.Partitions = nil
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-lsblk +we):\n%s", n.path, d)
		}
		t.Logf("%+v", got)
		types[digits.ReplaceAllString(b.Name, "N")+" "+b.Type]++
	}
	if !inVM() {
		return
	}
	for _, want := range []string{
		"sda disk", "sdaN part", "vda disk", "vdbN part", "nvmeNnN disk", "nvmeNnNpN part",
		"loopN loop", "loopNpN part", "dm-N dm", "dm-N lvm", "mdN raid1",
	} {
		if types[want] == 0 {
			t.Errorf("the machine has no %q: %v", want, types)
		}
	}
}

var digits = regexp.MustCompile("[0-9]+")

// lsblk is the real one.
func lsblk(t *testing.T, path string) facts {
	t.Helper()
	column := func(args ...string) [][]string {
		args = append([]string{"-n", "-r", "-a", "-o", "KNAME,TYPE"}, append(args, path)...)
		out, err := exec.Command("lsblk", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("lsblk %q: %v: %s", args, err, out)
		}
		var rows [][]string
		for line := range strings.Lines(string(out)) {
			rows = append(rows, strings.Fields(line))
		}
		return rows
	}
	up, down := column("-s"), column()
	f := facts{Name: up[0][0], Type: up[0][1]}
	if len(up) > 1 {
		f.Parent = up[1][0]
	}
	for _, r := range down[1:] {
		if r[1] == "part" && !slices.Contains(f.Partitions, r[0]) {
			f.Partitions = append(f.Partitions, r[0])
		}
	}
	return f
}
