package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// unified has cgroup v2 where a machine has all its cgroups, as if there were no
// other, until the test ends.
func unified(t *testing.T) {
	t.Helper()
	if sandbox.Unified() {
		return
	}
	check(t, unix.Mount("/sys/fs/cgroup/unified", "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, ""))
	t.Cleanup(func() { check(t, unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH)) })
}

// tried are the devices that are tried in a container: two that runtimes allow by
// themselves, and three that they do not.
var tried = []string{"c 1:5", "c 1:9", "c 10:229", "c 10:237", "b 7:0"}

// may tells what a container may do with the devices tried: "r", "w" and "m".
func (b *box) may() map[string]string {
	b.t.Helper()
	script := `allowed() { case $(eval "$1" 2>&1) in *permitted*) ;; *) printf $2 ;; esac; }
try() { printf :; allowed "true <$1" r; allowed "true >$1" w; allowed "mknod $1-made $2 $3 $4" m; echo; }
`
	for i, d := range tried {
		var letter string
		var major, minor uint32
		_, err := fmt.Sscanf(d, "%1s %d:%d", &letter, &major, &minor)
		check(b.t, err)
		n := fmt.Sprintf("/dev/try%d", i)
		check(b.t, sandbox.Mknod(b.inside()+n, map[string]uint32{"c": unix.S_IFCHR, "b": unix.S_IFBLK}[letter]|0o600, major, minor, 0, 0))
		script += fmt.Sprintln("try", n, letter, major, minor)
	}
	lines := strings.Split(b.works(script+"rm -f /dev/try*"), "\n")
	if len(lines) != len(tried) {
		b.t.Fatalf("of %d devices, inside: %q", len(tried), lines)
	}
	found := map[string]string{}
	for i, d := range tried {
		found[d] = strings.TrimPrefix(lines[i], ":")
	}
	return found
}

// On cgroup v2 all rules of a container are one program, and each device that is
// added or removed replaces it. What the container may do with other devices stays
// as it was. For runc that is what runc itself made of the rules, which are some
// that it starts. For lcr it is what the rules say in their order.
func TestOtherDevicesStayAsTheyAre(t *testing.T) {
	unified(t)
	install(t)
	const (
		none  = `{"access":"rwm"}`
		every = `{"allow":true,"access":"rwm"}`
		one   = `{"type":"c","major":10,"minor":229,"access":"rwm"}`
		class = `{"type":"c","major":10,"minor":-1,"access":"rwm"}`
		zero  = `{"type":"c","major":1,"minor":5,"access":"rwm"}`
		null  = `{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}` // which every command needs
	)
	allow := func(rule string) string { return `{"allow":true,` + rule[1:] }
	const allLetters = "rwm"
	for _, c := range []struct {
		name       string
		lcr        bool
		rules      []string // nil: those that iSulad wrote
		nodes      string   // linux.devices
		device     string   // "c 10:229" is added, otherwise "c 10:237"
		access     string   // that it gets, otherwise all
		fuse, zero string   // what the container may do with them at first
	}{
		{name: "an ordinary container's rules", fuse: "m", zero: allLetters},
		{name: "runc's defaults come after a denial of everything", rules: []string{allow(one), none}, fuse: "m", zero: allLetters},
		{name: "and after one of a device", rules: []string{none, zero}, fuse: "m", zero: allLetters},
		{name: "but not in place of a node of the specification's", rules: []string{none}, nodes: `[{"path":"/dev/zero","type":"c","major":1,"minor":5}]`, fuse: "m", zero: "m"},
		{name: "no rule", rules: []string{}, fuse: "m", zero: allLetters},
		{name: "everything", rules: []string{every}, device: "c 10:229", access: "r", fuse: allLetters, zero: allLetters},
		{name: "everything, for a single access", rules: []string{`{"allow":true,"type":"a","major":1,"minor":5,"access":"r"}`}, fuse: allLetters, zero: allLetters},
		{name: "everything but a device, which is added", rules: []string{every, one}, device: "c 10:229", access: "rw", fuse: "", zero: allLetters},
		{name: "runc denies a device although its class is allowed later", rules: []string{every, one, allow(class)}, fuse: "", zero: allLetters},
		{name: "runc allows a device although its class is denied later", rules: []string{none, allow(one), class}, fuse: allLetters, zero: allLetters},
		{name: "a device that the specification allows", rules: []string{none, allow(strings.Replace(one, "rwm", "r", 1))}, device: "c 10:229", access: "w", fuse: "rm", zero: allLetters},
		{name: "by its minor number", rules: []string{none, `{"allow":true,"type":"c","minor":229,"access":"rw"}`}, fuse: allLetters, zero: allLetters},
		{name: "access rule by rule", rules: []string{none, allow(one), strings.Replace(one, "rwm", "w", 1)}, fuse: "rm", zero: allLetters},

		{name: "a system container's rules", lcr: true, fuse: "", zero: allLetters},
		{name: "a system container gets what they deny", lcr: true, device: "c 10:229", access: "r", fuse: "", zero: allLetters},
		{name: "lcr, a device of a class is denied", lcr: true, rules: []string{none, null, allow(class), one}, fuse: "", zero: ""},
		{name: "lcr, a class of a device is denied", lcr: true, rules: []string{none, null, allow(one), class}, fuse: "", zero: ""},
		{name: "lcr, no rule", lcr: true, rules: []string{}, fuse: allLetters, zero: allLetters},
		{name: "lcr, everything", lcr: true, rules: []string{every}, fuse: allLetters, zero: allLetters},
		{name: "lcr, a minor number that is left out is 0", lcr: true, rules: []string{none, null, `{"allow":true,"type":"c","major":10,"access":"rw"}`}, fuse: "", zero: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, kind{real: !c.lcr}, id)
			b.linux = map[string]any{}
			if c.rules != nil {
				b.linux["resources"] = map[string]any{"devices": json.RawMessage("[" + strings.Join(c.rules, ",") + "]")}
			}
			if c.nodes != "" {
				b.linux["devices"] = json.RawMessage(c.nodes)
			}
			b.ends()
			check(t, b.start())
			before := b.may()
			if fuse, zero := before["c 10:229"], before["c 1:5"]; fuse != c.fuse || zero != c.zero {
				t.Fatalf("at first, it may use fuse for %q, want %q, and zero for %q, want %q", fuse, c.fuse, zero, c.zero)
			}
			device, host := "c 10:237", "/dev/loop-control"
			if c.device != "" {
				device, host = c.device, "/dev/fuse"
			}
			if c.access == "" {
				c.access = allLetters
			}
			added := maps.Clone(before)
			added[device] = union(added[device], c.access)
			b.does([]string{"add-device", NAME, host + ":/dev/added:" + c.access}, "Add device ("+host+") to container(NAME,/dev/added) done.")
			b.requires("after add-device", added)
			if !inVM() { // where all takes long
				b.stop()
				check(t, b.start())
				b.requires("after another start", added)
			}
			b.does([]string{"remove-device", NAME, host + ":/dev/added"}, "Remove device ("+host+") from container(NAME,/dev/added) done.")
			b.requires("after remove-device", before)
		})
	}
}

func (b *box) requires(when string, want map[string]string) {
	b.t.Helper()
	if d := cmp.Diff(want, b.may()); d != "" {
		b.t.Errorf("%s, the container may use (-want +got):\n%s", when, d)
	}
}

// union is the letters of "rwm" that are in a or b.
func union(a, b string) (both string) {
	for _, letter := range "rwm" {
		if strings.ContainsRune(a+b, letter) {
			both += string(letter)
		}
	}
	return both
}
