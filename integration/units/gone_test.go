package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// looked is a container at which check, repair and who look.
type looked struct {
	*bundle
	t testing.TB
}

// checks requires check to find exactly these words of each difference.
func (l looked) checks(want ...string) {
	l.t.Helper()
	o := l.tool(l.t, "check", "--format", "{{.What}}", l.id)
	got := strings.Split(strings.TrimSpace(o.said), "\n")
	if o.said == "" {
		got = nil
	}
	if o.code != min(len(want), 1) || strings.Join(got, ", ") != strings.Join(want, ", ") {
		l.t.Errorf("check: %d, %q, want %q", o.code, got, want)
	}
}

// repairs requires repair to mend all but what the host does not have, and to do nothing
// when it is called again.
func (l looked) repairs(code int) {
	l.t.Helper()
	if o := l.tool(l.t, "repair", l.id); o.code != code {
		l.t.Errorf("repair: %d, %s, want %d", o.code, o.said, code)
	}
	if o := l.tool(l.t, "repair", l.id); o.code != code || strings.Contains(o.said, "done") {
		l.t.Errorf("a second repair: %d, %s", o.code, o.said)
	}
}

const (
	pulled = "device gone, not revoked"
	lost   = "device missing on the host"
	wider  = "permission wider"
)

// As where no udevd runs: nobody told of the device that was pulled, whose number a
// stranger has by now.
func TestCheckFindsADeviceThatWasPulledAndIsStillThere(t *testing.T) {
	for _, c := range []struct {
		name string
		as   func(*devices.Device)
		// want is what check finds beside it, and when it is mended.
		want []string
	}{
		{"a device", func(*devices.Device) {}, []string{lost}},
		{"an optional one", func(d *devices.Device) { d.Optional = true }, nil},
		{"one of another", func(d *devices.Device) { d.Parent = "/dev/sda" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := newAdapters(t)
			host.plug(0, true)
			d := char(ours)
			c.as(&d)
			h, b := withRules(t, asJSON(t, map[string]any{"deviceToAdd": []devices.Device{d}}))
			if o := b.hook(t, "prestart"); o.code != 0 {
				t.Fatalf("prestart: %d, %s", o.code, o.said)
			}
			t.Cleanup(func() { b.hook(t, "poststop") })
			box, l := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}, looked{b, t}
			l.checks()
			host.pull(0)
			host.plug(0, false)
			box.modem(0)
			found := append([]string{wider}, c.want...)
			l.checks(append(found, pulled)...)
			if o := b.tool(t, "check", b.id); !strings.Contains(o.said, "c 188:0") || strings.Contains(o.said, pulled) && !strings.Contains(o.said, "repair mends it") {
				t.Errorf("check: %s", o.said)
			}
			l.repairs(len(c.want))
			box.modem(-1)
			l.checks(c.want...)
			if got := box.records(); !strings.HasPrefix(got, "/dev/modem="+ours+"<") {
				t.Errorf("recorded %s", got)
			}
		})
	}
}

// What is left of it is found one by one, whatever took the rest away.
func TestCheckFindsWhateverIsLeftOfADevice(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	d := char(ours)
	d.Optional = true
	h, b := withRules(t, asJSON(t, map[string]any{"deviceToAdd": []devices.Device{d}}))
	if o := b.hook(t, "prestart"); o.code != 0 {
		t.Fatalf("prestart: %d, %s", o.code, o.said)
	}
	t.Cleanup(func() { b.hook(t, "poststop") })
	box, l := &deviceFixture{fakeContainer: h, t: t, dir: b.dir, target: h.target(t, hostOwner)}, looked{b, t}
	modem := h.root + "/dev/modem"
	host.pull(0)
	l.repairs(0)
	box.modem(-1)
	for _, c := range []struct {
		name string
		do   func()
		want []string
	}{
		{"nothing", func() {}, nil},
		{"a node", func() {
			must(t, os.Remove(modem))
			must(t, sandbox.Mknod(modem, unix.S_IFCHR|0o660, 188, 0, 0, 20))
		}, []string{pulled}},
		{"a node of another device", func() {
			must(t, os.Remove(modem))
			must(t, sandbox.Mknod(modem, unix.S_IFCHR|0o660, 1, 3, 0, 20))
		}, nil},
		{"its permission", func() { write(t, filepath.Join(h.cgroupDir(), "devices.allow"), "c 188:0 w") }, []string{wider, pulled}},
		{"another permission", func() { write(t, filepath.Join(h.cgroupDir(), "devices.allow"), "c 188:1 w") }, []string{wider}},
		{"a file", func() {
			must(t, os.Remove(modem))
			write(t, modem, "the container's")
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := looked{b, t}
			c.do()
			l.checks(c.want...)
			if len(c.want) > 0 {
				o := b.tool(t, "repair", "--dry-run", b.id)
				if withdraws := strings.Contains(o.said, "would withdraw device "+ours); o.code != 0 || withdraws != (c.want[len(c.want)-1] == pulled) {
					t.Errorf("repair --dry-run: %d, %s", o.code, o.said)
				}
			}
			l.repairs(0)
			l.checks()
			if may := h.allowed(t); strings.Contains(may, "c 188:") {
				t.Errorf("it may use %s", may)
			}
			var st unix.Stat_t
			if must(t, unix.Lstat(modem, &st)); st.Rdev == unix.Mkdev(188, 0) {
				t.Error("it has the node")
			}
		})
	}
	if got, want := box.records(), "/dev/modem="+ours+"<(rw)188:0"; got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
}

// Two devices may have one number at different times.
func TestWhatAnotherDeviceHasIsNotLeftOfTheOneThatIsAway(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	one, other := char(ours), char("/dev/ttyUSB0")
	one.Optional, other.PathInContainer = true, "/dev/any"
	_, b := withRules(t, asJSON(t, map[string]any{"deviceToAdd": []devices.Device{one, other}}))
	if o := b.hook(t, "prestart"); o.code != 0 {
		t.Fatalf("prestart: %d, %s", o.code, o.said)
	}
	t.Cleanup(func() { b.hook(t, "poststop") })
	l := looked{b, t}
	host.pull(0)
	host.plug(0, false)
	l.checks(pulled) // its node
	l.repairs(0)
	l.checks()
}

func TestCheckFindsAPartitionAndADiskThatArePulled(t *testing.T) {
	p := plug(t)
	one := p.cut(t, 1)
	const link = "/dev/disk/by-id/test-ours"
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	repoint(t, link, p)
	disk := p.record(link, "/dev/x", "rw")
	part := devices.Device{Type: "b", PathOnHost: "/dev/" + p.part(1), PathInContainer: "/dev/xp1", CgroupPermissions: "rw", Parent: "/dev/" + p.name}
	_, err := fmt.Sscanf(one, "%d:%d", &part.Major, &part.Minor)
	must(t, err)
	h, b := withRules(t, asJSON(t, map[string]any{"deviceToAdd": []devices.Device{disk, part}}))
	if o := b.hook(t, "prestart"); o.code != 0 {
		t.Fatalf("prestart: %d, %s", o.code, o.said)
	}
	t.Cleanup(func() { b.hook(t, "poststop") })
	box, l := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}, looked{b, t}
	l.checks()
	whole := fmt.Sprintf("7:%d", p.minor)
	box.has(map[string]string{"/dev/x": whole, "/dev/xp1": one})
	p.uncut(t, 1)
	l.checks(wider, pulled)
	l.repairs(0)
	box.has(map[string]string{"/dev/x": whole})
	l.checks()
	must(t, os.Remove(link))
	l.checks(wider, lost, pulled, "udev rule left")
	l.repairs(1)
	box.has(nil)
	l.checks(lost)
}

// A device that is away is known by its path: its number is another's.
func TestWhoHasADeviceThatIsAwayIsSaidOfItsPathOnly(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	h, b := withRules(t, "")
	if o := b.tool(t, "add-device", "--optional", h.id, ours+":/dev/modem:rw"); o.code != 0 {
		t.Fatalf("add-device: %d, %s", o.code, o.said)
	}
	who := func(path string, want bool) {
		t.Helper()
		o := b.tool(t, "who", path)
		if has := strings.Contains(o.said, h.id+": device "+ours); o.code != 0 || has != want {
			t.Errorf("who %s: %d, %s, want it said: %v", path, o.code, o.said, want)
		}
	}
	who("/dev/ttyUSB0", true)
	who(ours, true)
	host.pull(0)
	host.plug(0, false)
	who("/dev/ttyUSB0", false)
	who(ours, true)
	host.pull(0)
	host.plug(0, true)
	who("/dev/ttyUSB0", true)
}

// systemd would give the container, at its next daemon-reload, what has the number now.
func TestRepairTellsSystemdOfNoDeviceThatIsGone(t *testing.T) {
	host := newAdapters(t)
	host.plug(0, true)
	away, there := char(ours), fuse(t, "/dev/f")
	away.Optional = true
	h := hold(t, nil, pivoted)
	inScope(t, h)
	b := inBundle(t, h, asJSON(t, map[string]any{"deviceToAdd": []devices.Device{away, there}}))
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { os.RemoveAll(rules) })
	if o := b.hook(t, "prestart"); o.code != 0 {
		t.Fatalf("prestart: %d, %s", o.code, o.said)
	}
	t.Cleanup(func() { b.hook(t, "poststop") })
	host.pull(0)
	host.plug(0, false)
	systemd := newSystemd(t)
	looked{b, t}.repairs(0)
	if got, want := systemd.allows(), "[{/dev/char/10:229 rw}]"; got != want {
		t.Errorf("systemd allows %s, want %s", got, want)
	}
}
