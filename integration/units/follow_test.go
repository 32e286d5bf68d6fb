package units

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
)

// adapters are serial adapters of the host, as udevd shows them: a node by the kernel's
// number, and the link of the one that is ours.
type adapters struct{ t testing.TB }

const ours = "/dev/serial/by-id/usb-Ours-if00"

func newAdapters(t testing.TB) adapters {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(ours), 0o755))
	t.Cleanup(func() {
		nodes, _ := filepath.Glob("/dev/ttyUSB*")
		for _, node := range append(nodes, "/dev/serial") {
			must(t, os.RemoveAll(node))
		}
	})
	return adapters{t}
}

func (a adapters) name(n int) string { return fmt.Sprintf("ttyUSB%d", n) }

// plug puts an adapter in, ours or another.
func (a adapters) plug(n int, isOurs bool) {
	a.t.Helper()
	must(a.t, sandbox.Mknod("/dev/"+a.name(n), unix.S_IFCHR|0o660, 188, uint32(n), 0, 20))
	if isOurs {
		must(a.t, os.Symlink("../../"+a.name(n), ours))
	}
}

func (a adapters) pull(n int) {
	a.t.Helper()
	must(a.t, os.Remove("/dev/"+a.name(n)))
	if to, _ := os.Readlink(ours); filepath.Base(to) == a.name(n) {
		must(a.t, os.Remove(ours))
	}
}

// modem requires the container to have and to be allowed an adapter, or none (-1).
func (b *deviceFixture) modem(want int) {
	b.t.Helper()
	got := -1
	var st unix.Stat_t
	switch err := unix.Lstat(b.root+"/dev/modem", &st); {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK: // that nobody makes a file there
		if to, err := os.Readlink(b.root + "/dev/modem"); err != nil || to != "/.isulad-tools/away" {
			b.t.Errorf("it has a link to %s, %v", to, err)
		}
	case err == nil:
		got = int(unix.Minor(st.Rdev))
	}
	if got != want {
		b.t.Errorf("it has adapter %d, want %d", got, want)
	}
	for n := range 4 {
		if may := strings.Contains(b.allowed(b.t), fmt.Sprintf("c 188:%d ", n)); may != (n == want) {
			b.t.Errorf("it may use adapter %d: %v, want it to have %d", n, may, want)
		}
	}
}

// withRules is inBundle of a running container whose devices have rules, which go at the
// test's end; udevd is told of nothing.
func withRules(t testing.TB, records string) (*fakeContainer, *bundle) {
	t.Helper()
	h := hold(t, nil, pivoted)
	b := inBundle(t, h, records)
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	return h, b
}

func char(host string) devices.Device {
	return devices.Device{Type: "c", Major: 188, PathOnHost: host, PathInContainer: "/dev/modem", CgroupPermissions: "rw"}
}

func TestACharacterDeviceOfALinkIsGoneWhenItIsGoneAndBackUnderAnyNumber(t *testing.T) {
	either(t, func(t *testing.T, options ...option) {
		host := newAdapters(t)
		host.plug(0, true)
		b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{char(ours)}}, options...)
		b.start()
		b.modem(0)
		host.pull(0)
		for range 2 { // an event that comes twice
			b.do("/dev/modem", "ttyUSB0")
			b.modem(-1)
		}
		if got := b.records(); got != "/dev/modem="+ours+"<(rw)188:0" {
			t.Errorf("recorded %s", got)
		}
		host.plug(0, false) // another has its name and number
		b.do("/dev/modem", "ttyUSB0")
		b.modem(-1)
		host.plug(1, true)
		for range 2 {
			b.do("/dev/modem", "ttyUSB1")
			b.modem(1)
		}
		if got := b.records(); got != "/dev/modem="+ours+"<(rw)188:1" {
			t.Errorf("recorded %s", got)
		}
		// Without a moment in which it is away.
		host.pull(1)
		host.plug(2, true)
		b.do("/dev/modem", "ttyUSB2")
		b.modem(2)
	})
}

func TestAKernelsNameMeansWhateverHasItNow(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, false)
	b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{char("/dev/ttyUSB0")}}, pivoted)
	b.start()
	host.pull(0)
	b.do("/dev/modem", "ttyUSB0")
	b.modem(-1)
	host.plug(0, true)
	b.do("/dev/modem", "ttyUSB0")
	b.modem(0)
}

// Two records may have one number at different times: neither loses it by the other.
func TestANumberThatAnotherRecordHasNowStaysAllowed(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	kernels := char("/dev/ttyUSB0")
	kernels.PathInContainer = "/dev/any"
	b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{char(ours), kernels}}, pivoted)
	b.start()
	host.pull(0)
	host.plug(0, false)
	b.do("/dev/modem", "ttyUSB0")
	b.do("/dev/any", "ttyUSB0")
	if to, _ := os.Readlink(b.root + "/dev/modem"); to != "/.isulad-tools/away" {
		t.Errorf("in the node's place is %q", to)
	}
	node(t, b.root+"/dev/any", "c 0660 0:20 188:0")
	if !strings.Contains(b.allowed(t), "c 188:0 rw\n") {
		t.Errorf("it may use %s", b.allowed(t))
	}
}

func TestEveryCommandRenewsTheNumbersOfDevices(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second []string
	}{
		{"a path, which older kernels refuse", nil, []string{"add-path", "/etc:/mnt/etc:ro"}},
		{"another device", nil, []string{"add-device", "/dev/null:/dev/other"}},
		{"the same device again", nil, []string{"add-device", ours + ":/dev/modem:rw"}},
		{"a limit that is refused", nil, []string{"update-device", "--device-read-bps", "/dev/loop0:1m"}},
		{"a kernel module", nil, []string{"add-module", "loop"}},
		{"a kernel module that there is not", nil, []string{"add-module", "no_such_module_anywhere"}},
		{"a kernel module less", []string{"add-module", "loop"}, []string{"remove-module", "loop"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := newAdapters(t)
			host.plug(0, true)
			h, b := withRules(t, "")
			if o := b.tool(t, "add-device", h.id, ours+":/dev/modem:rw"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			do := func(command []string) {
				t.Helper()
				args := append([]string{command[0], h.id}, command[1:]...)
				if o := b.tool(t, args...); o.code != 0 && command[0] == "add-device" {
					t.Errorf("%q: %d, %s", args, o.code, o.said)
				}
			}
			if c.first != nil {
				do(c.first)
			}
			host.pull(0)
			host.plug(0, false)
			host.plug(1, true)
			do(c.second)
			box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
			box.modem(1)
			if got := box.records(); !strings.HasPrefix(got, "/dev/modem="+ours+"<(rw)188:1") {
				t.Errorf("recorded %s", got)
			}
		})
	}
}

func TestUdevIsAskedToTellOfEachDeviceThatMayGo(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	p := plug(t)
	p.cut(t, 1)
	minor := sandbox.Loop(t, 1<<20)
	whole := fmt.Sprintf("/dev/loop%d", minor)
	if _, err := os.Lstat(whole); err != nil {
		must(t, sandbox.Mknod(whole, unix.S_IFBLK|0o660, 7, uint32(minor), 0, 6))
		t.Cleanup(func() { must(t, os.Remove(whole)) })
	}
	const media = "/dev/disk/by-uuid/test-media" // a link of udevd's to a device whose content is exchanged
	must(t, os.MkdirAll(filepath.Dir(media), 0o755))
	must(t, os.Symlink(whole, media))
	known := fmt.Sprintf("/run/udev/data/b7:%d", minor)
	write(t, known, "S:"+strings.TrimPrefix(media, "/dev/")+"\n")
	t.Cleanup(func() { must(t, errors.Join(os.RemoveAll("/dev/disk"), os.Remove(known))) })
	static, dynamic := miscs(t, false)[0], miscs(t, true)[0]
	for _, m := range [...]misc{static, dynamic} {
		m.ensure(t)
	}
	wrapper := place.Isulad.Helper
	for _, c := range []struct {
		name   string
		record devices.Device
		want   []string
	}{
		{"by a link", char(ours), []string{`SYMLINK=="serial/by-id/usb-Ours-if00",ACTION=="add|remove"`}},
		{"by a link that leads nowhere", char("/dev/serial/by-id/usb-Away"), []string{`SYMLINK=="serial/by-id/usb-Away",ACTION=="add|remove"`}},
		{"by a name that is not there", char("/dev/ttyACM7"), []string{`SYMLINK=="ttyACM7",ACTION=="add|remove"`, `ENV{DEVNAME}=="/dev/ttyACM7",ACTION=="add|remove"`}},
		{"a part of the kernel", devices.Device{Type: "c", Major: 1, Minor: 5, PathOnHost: "/dev/zero"}, nil},
		{"a terminal", devices.Device{Type: "c", Major: 5, Minor: 0, PathOnHost: "/dev/tty"}, nil},
		{"a driver with a number of its own", devices.Device{Type: "c", PathOnHost: "/dev/" + static.name}, nil},
		{"a driver whose number is the next one", devices.Device{Type: "c", PathOnHost: "/dev/" + dynamic.name}, []string{`ENV{DEVNAME}=="/dev/` + dynamic.name + `",ACTION=="add|remove"`}},
		{"a loop device", devices.Device{Type: "b", PathOnHost: whole}, nil},
		{"a partition alone", devices.Device{Type: "b", PathOnHost: "/dev/" + p.part(1), Parent: "/dev/" + p.name}, []string{`ENV{DEVNAME}=="/dev/` + p.part(1) + `",ACTION=="add|remove"`}},
		{"a volume that is away", devices.Device{Type: "b", PathOnHost: "/dev/mapper/vg-lv"}, []string{`SYMLINK=="mapper/vg-lv",ACTION=="add|change|remove"`}},
		{"an array that is away, of other devices", devices.Device{Type: "b", PathOnHost: "/dev/md/test", Parent: "/dev/sda"}, []string{`SYMLINK=="md/test",ACTION=="add|change|remove"`}},
		{"a volume that is away, of a disk", devices.Device{Type: "b", PathOnHost: "/dev/disk/by-uuid/test-crypt", Parent: "/dev/sda", Identity: "dm:CRYPT-LUKS2-1"}, []string{`SYMLINK=="disk/by-uuid/test-crypt",ACTION=="add|change|remove"`}},
		{"an array that is away, by its number", devices.Device{Type: "b", Major: 9, PathOnHost: "/dev/disk/by-uuid/test-array", Parent: "/dev/sda"}, []string{`SYMLINK=="disk/by-uuid/test-array",ACTION=="add|change|remove"`}},
		{"a partition that is away", devices.Device{Type: "b", Major: 8, PathOnHost: "/dev/disk/by-uuid/test-part", Parent: "/dev/sda", Identity: "id:eui.1#1"}, []string{`SYMLINK=="disk/by-uuid/test-part",ACTION=="add|remove"`}},
		{"what was never there, a volume perhaps", devices.Away("/dev/vg/lv"), []string{`SYMLINK=="vg/lv",ACTION=="add|change|remove"`, `ENV{DEVNAME}=="/dev/vg/lv",ACTION=="add|change|remove"`}},
		{"what was never there, by a link", devices.Away("/dev/serial/by-id/usb-Never"), []string{`SYMLINK=="serial/by-id/usb-Never",ACTION=="add|change|remove"`}},
		{"a loop device by a link", devices.Device{Type: "b", PathOnHost: media}, []string{
			`SYMLINK=="disk/by-uuid/test-media",ACTION=="add|change|remove"`,
			`ENV{DEVNAME}=="` + whole + `",ACTION=="add|change|remove"`,
		}},
		{"a path that cannot stand in a rule", devices.Device{Type: "c", PathOnHost: ours, PathInContainer: "/dev/a b"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.record.PathInContainer == "" {
				c.record.PathInContainer = "/dev/x"
			}
			data, err := json.Marshal(map[string]any{"deviceToAdd": []devices.Device{c.record}})
			must(t, err)
			write(t, filepath.Join(dir, config.Name), string(data))
			doc, err := config.Load(dir)
			must(t, err)
			followed, err := devices.Follow(doc, []devices.Device{c.record})
			must(t, err)
			_, err = devices.SyncRules(t.Context(), place.Isulad, "c1", followed, 0)
			must(t, err)
			defer os.Remove(rules)
			text, _ := os.ReadFile(rules)
			var want strings.Builder
			for _, match := range c.want {
				fmt.Fprintf(&want, "%s, RUN{program}+=\"/lib/udev/%s $env{ACTION} c1 $name %s -\"\n", match, wrapper, c.record.PathInContainer)
			}
			if _, got, _ := strings.Cut(string(text), "IT\n\n"); got != want.String() {
				t.Errorf("the rules are\n%swant\n%s", got, want.String())
			}
		})
	}
}

// What the kernel calls a device that is away, the rules of before know: nobody tells
// udevd of other rules each time that a device goes.
func TestTheRulesOfADeviceThatGoesStay(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, false)
	dir := t.TempDir()
	write(t, filepath.Join(dir, config.Name), "{}")
	doc, err := config.Load(dir)
	must(t, err)
	there := []devices.Followed{{Path: "/dev/modem", Matches: []string{`ENV{DEVNAME}=="/dev/ttyUSB0",ACTION=="add|remove"`}}}
	sync := func(followed []devices.Followed) bool {
		t.Helper()
		changed, err := devices.SyncRules(t.Context(), place.Isulad, "c1", followed, 0)
		must(t, err)
		return changed
	}
	t.Cleanup(func() { os.Remove(rules) })
	if !sync(there) {
		t.Error("no rule is written")
	}
	host.pull(0)
	away, err := devices.Follow(doc, []devices.Device{char("/dev/ttyUSB0")})
	must(t, err)
	before := read(t, rules)
	if changed := sync(away); changed || read(t, rules) != before {
		t.Errorf("the rules are now\n%s", read(t, rules))
	}
}

// What was never there had rules of no kernel's name: those of an older version go.
func TestTheRulesOfWhatWasNeverThereAreRenewed(t *testing.T) {
	dir := t.TempDir()
	doc, err := config.Load(dir)
	must(t, err)
	t.Cleanup(func() { os.Remove(rules) })
	lv := devices.Away("/dev/vg/lv")
	for _, followed := range [][]devices.Followed{
		{{Path: "/dev/vg/lv", Matches: []string{`SYMLINK=="vg/lv",ACTION=="add|remove"`}}}, nil,
	} {
		if followed == nil {
			followed, err = devices.Follow(doc, []devices.Device{lv})
			must(t, err)
		}
		changed, err := devices.SyncRules(t.Context(), place.Isulad, "c1", followed, 0)
		must(t, err)
		if !changed {
			t.Errorf("the rules stay %s", read(t, rules))
		}
	}
	if got := read(t, rules); strings.Contains(got, `"add|remove"`) || !strings.Contains(got, `SYMLINK=="vg/lv",ACTION=="add|change|remove"`) {
		t.Errorf("the rules are %s", got)
	}
}

// Of a volume the disk that it is made of has no event, and by a link a partition has its own, too.
func TestWhatIsGivenByALinkGoesByItsOwnEvent(t *testing.T) {
	p := plug(t)
	disk := p.record("/dev/"+p.name, "/dev/x", "rw")
	of := devices.Device{Type: "b", Major: 259, Minor: 70000, PathOnHost: "/dev/disk/by-uuid/test-away", PathInContainer: "/dev/v", Parent: disk.PathOnHost}
	byName := of
	byName.PathOnHost = "/dev/" + p.part(1)
	for what, device := range map[string]devices.Device{
		"dm:CRYPT-LUKS2-1": of, "md:1-2": of, "id:eui.1#1": of, "": of, "the kernel's name": byName,
	} {
		t.Run(what, func(t *testing.T) {
			want := device == of
			if want {
				device.Identity = what
			}
			dir := t.TempDir()
			write(t, filepath.Join(dir, config.Name), asJSON(t, map[string]any{"deviceToAdd": []devices.Device{disk, device}}))
			doc, err := config.Load(dir)
			must(t, err)
			plan, err := devices.PlanHotplug(doc)
			must(t, err)
			must(t, plan.Event("/dev/v", "dm-7"))
			withdrawn := len(plan.Change.Tasks) == 1 && plan.Change.Tasks[0].Verb == "withdraw" && plan.Change.Tasks[0].Record == device
			if withdrawn != want {
				t.Errorf("planned %v, want it withdrawn: %v", plan.Change.Tasks, want)
			}
		})
	}
}

func TestACommandKeepsTheRulesOfDevicesThatItIsNotAbout(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	h, b := withRules(t, "")
	add := func(device string) string {
		t.Helper()
		if o := b.tool(t, "add-device", h.id, device); o.code != 0 {
			t.Fatalf("add-device %s: %d, %s", device, o.code, o.said)
		}
		return read(t, rules)
	}
	want := add(ours + ":/dev/modem:rw")
	if !strings.Contains(want, `SYMLINK=="serial/by-id/usb-Ours-if00"`) {
		t.Fatalf("the adapter's rule: %s", want)
	}
	if got := add("/dev/null:/dev/one"); got != want {
		t.Errorf("after another device\n%swant\n%s", got, want)
	}
	// As of a container that the older generation has started.
	must(t, os.Rename(rules, oldRules))
	t.Cleanup(func() { must(t, os.Remove(oldRules)) })
	if got := add("/dev/zero:/dev/two"); got != want {
		t.Errorf("once the other generation's file had them\n%swant\n%s", got, want)
	}
	if left := read(t, oldRules); strings.Contains(left, "/dev/modem") {
		t.Errorf("the other generation's file has still %s", left)
	}
}
