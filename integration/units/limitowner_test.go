package units

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

const away = "/dev/disk/by-id/test-away"

// limited is a running container with limits for reading.
type limited struct {
	*bundle
	t testing.TB
}

// limitedBox has these records, and in its cgroup the limits of those of its devices that
// are there.
func limitedBox(t testing.TB, records []devices.Device, limits []devices.Limit) limited {
	t.Helper()
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	h := hold(t, nil, pivoted)
	b := inBundle(t, h, asJSON(t, map[string]any{"deviceToAdd": records, "readBps": limits}))
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { os.Remove(rules) })
	must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+h.cgroup, 0o755))
	for _, l := range limits {
		if _, err := os.Stat(l.Path); err == nil {
			write(t, "/sys/fs/cgroup/blkio"+h.cgroup+"/blkio.throttle.read_bps_device", fmt.Sprintf("%d:%d %s", l.Major, l.Minor, l.Value))
		}
	}
	return limited{b, t}
}

// readLimits are the recorded limits, in short.
func (b limited) limits() string {
	b.t.Helper()
	doc, err := config.Load(b.dir)
	must(b.t, err)
	list, err := config.List[devices.Limit](doc, config.ReadBPS)
	must(b.t, err)
	var all []string
	for _, l := range list {
		all = append(all, l.Path+"="+l.Value)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func limitOn(p *plugged, path, value string) devices.Limit {
	return devices.Limit{Major: 7, Minor: int64(p.minor), Path: path, Value: value}
}

// The number of a device that is away may be another's, whether that is the container's, too, or not.
func TestALimitIsNotThatOfADeviceWhichHadTheNumber(t *testing.T) {
	p := plug(t)
	stranger := "/dev/" + p.name
	gone := p.record(away, "/dev/x", "rw")
	other := p.record(stranger, "/dev/y", "rw")
	crypt := devices.Device{Type: "b", Major: 259, Minor: 70000, PathOnHost: "/dev/disk/by-uuid/test-crypt", PathInContainer: "/dev/z", Parent: stranger, Identity: "dm:CRYPT-1"}
	ofGone, ofOther := limitOn(p, away, "1000"), limitOn(p, stranger, "2000")
	number := fmt.Sprintf("7:%d ", p.minor)
	for _, c := range []struct {
		name    string
		records []devices.Device
		limits  []devices.Limit
		command string
		code    int
		says    string
		left    string // the records
		kernel  string // "": none
	}{
		{
			"a stranger is refused",
			[]devices.Device{gone},
			[]devices.Limit{ofGone},
			"update-device --device-read-bps STRANGER:3k", 1, "was not added to container", "AWAY=1000", "",
		},
		{
			"a stranger that is lifted is refused",
			[]devices.Device{gone},
			[]devices.Limit{ofGone},
			"update-device --device-read-bps STRANGER:0", 1, "was not added to container", "AWAY=1000", "",
		},
		{
			"the other gets its own",
			[]devices.Device{gone, other},
			[]devices.Limit{ofGone},
			"update-device --device-read-bps STRANGER:3k", 0, "", "AWAY=1000 STRANGER=3072", "3072",
		},
		{
			"the other's changes",
			[]devices.Device{gone, other},
			[]devices.Limit{ofGone, ofOther},
			"update-device --device-read-bps STRANGER:3k", 0, "", "AWAY=1000 STRANGER=3072", "3072",
		},
		{
			"that of the one that is away changes",
			[]devices.Device{other, gone},
			[]devices.Limit{ofOther, ofGone},
			"update-device --device-read-bps AWAY:3k", 0, "is not on the host now", "AWAY=3072 STRANGER=2000", "2000",
		},
		{
			"it goes with the one that is away",
			[]devices.Device{gone, other},
			[]devices.Limit{ofGone, ofOther},
			"remove-device ID AWAY", 0, "Remove read bps for device", "STRANGER=2000", "2000",
		},
		{
			"it goes with the other",
			[]devices.Device{gone, other},
			[]devices.Limit{ofGone, ofOther},
			"remove-device ID STRANGER", 0, "Remove read bps for device", "AWAY=1000", "",
		},
		{
			"it goes with its disk though a volume is away",
			[]devices.Device{other, crypt},
			[]devices.Limit{ofOther},
			"remove-device ID STRANGER", 0, "Remove read bps for device", "", "",
		},
		{
			"it is that of the other device of two with the number",
			[]devices.Device{gone, p.record(t.TempDir()+"/none", "/dev/y", "rw")},
			[]devices.Limit{ofGone},
			"remove-device ID AWAY", 0, "", "AWAY=1000", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := limitedBox(t, c.records, c.limits)
			args := strings.Fields(strings.NewReplacer("STRANGER", stranger, "AWAY", away, "ID", b.id).Replace(c.command))
			if args[0] == "update-device" {
				args = append(args, b.id)
			}
			if o := b.tool(t, args...); o.code != c.code || !strings.Contains(o.said, c.says) {
				t.Errorf("%q: %d, %s, want %d, %q", args, o.code, o.said, c.code, c.says)
			}
			if got, want := b.limits(), strings.NewReplacer("STRANGER", stranger, "AWAY", away).Replace(c.left); got != want {
				t.Errorf("recorded are %q, want %q", got, want)
			}
			want := ""
			if c.kernel != "" {
				want = number + c.kernel
			}
			if got := readLimit(t, b.fakeContainer); got != want {
				t.Errorf("limited is %q, want %q", got, want)
			}
		})
	}
}

// A limit by the kernel's name of a disk that is known by what it is goes away with that
// disk, and comes back with it: meanwhile another has the name.
func TestALimitByTheKernelsNameStaysItsDisks(t *testing.T) {
	for how, pull := range map[string]func(*deviceFixture, *plugged){
		"an event told": func(box *deviceFixture, p *plugged) { box.do("/dev/x", p.name) },
		"a command saw": nil,
		"a start saw":   func(*deviceFixture, *plugged) {},
	} {
		t.Run(how, func(t *testing.T) {
			was, is := plug(t), plug(t)
			record := was.record(away, "/dev/x", "rw")
			record.Optional = true
			b := limitedBox(t, []devices.Device{record}, nil)
			repoint(t, away, was)
			if o := b.tool(t, "update-device", "--device-read-bps", "/dev/"+was.name+":1m", b.id); o.code != 0 {
				t.Fatalf("update-device: %d, %s", o.code, o.said)
			}
			repoint(t, away, nil)
			box := &deviceFixture{fakeContainer: b.fakeContainer, t: t, dir: b.dir, target: b.fakeContainer.target(t, hostOwner)}
			if pull != nil {
				pull(box, was)
			} else if o := b.tool(t, "add-device", b.id, "/dev/null:/null"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			next := hold(t, nil)
			must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+next.cgroup, 0o755))
			started := inBundle(t, next, read(t, filepath.Join(b.dir, config.Name)))
			if o := started.hook(t, "prestart"); o.code != 0 {
				t.Fatalf("prestart: %d, %s", o.code, o.said)
			}
			if got := readLimit(t, next); got != "" {
				t.Errorf("while it is away limited is %q", got)
			}
			repoint(t, away, is)
			box = &deviceFixture{fakeContainer: next, t: t, dir: started.dir, target: next.target(t, hostOwner)}
			box.do("/dev/x", is.name)
			if got, want := readLimit(t, next), fmt.Sprintf("7:%d 1048576", is.minor); got != want {
				t.Errorf("limited is %q, want %q", got, want)
			}
			if o := started.hook(t, "poststop"); o.code != 0 {
				t.Errorf("poststop: %d, %s", o.code, o.said)
			}
		})
	}
}

// Two disks may exchange their numbers while nobody looks.
func TestLimitsFollowDisksThatExchangeTheirNumbers(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprint("running ", running), func(t *testing.T) {
			one, two := plug(t), plug(t)
			a, b := "/dev/disk/by-id/test-a", "/dev/disk/by-id/test-b"
			box := limitedBox(t, []devices.Device{one.record(a, "/dev/a", "rw"), two.record(b, "/dev/b", "rw")},
				[]devices.Limit{limitOn(one, "/dev/"+one.name, "1000"), limitOn(two, "/dev/"+two.name, "2000")})
			repoint(t, a, two)
			repoint(t, b, one)
			if running {
				box.tool(t, "add-device", box.id, "/dev/null:/null")
			} else if o := box.hook(t, "prestart"); o.code != 0 {
				t.Fatalf("prestart: %d, %s", o.code, o.said)
			} else {
				defer box.hook(t, "poststop")
			}
			if got, want := box.limits(), a+"=1000 "+b+"=2000"; got != want {
				t.Errorf("recorded are %q, want %q", got, want)
			}
			got := readLimit(t, box.fakeContainer) + "\n"
			for _, want := range []string{fmt.Sprintf("7:%d 1000\n", two.minor), fmt.Sprintf("7:%d 2000\n", one.minor)} {
				if !strings.Contains(got, want) {
					t.Errorf("limited is %q, want %q", got, want)
				}
			}
		})
	}
}

// Whoever writes a disk can give it the name of another.
func TestALimitIsNotThatOfAnImpostor(t *testing.T) {
	const link = "/dev/disk/by-uuid/test-written"
	for _, c := range []struct {
		name     string
		identity bool // in the limit's record, which older versions did not have
		command  bool
	}{{"at a start", true, false}, {"at a start, as an older version recorded it", false, false}, {"by a command", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			is, impostor := plug(t), plug(t)
			b := limitedBox(t, nil, nil)
			repoint(t, link, is)
			if o := b.tool(t, "add-device", "--optional", "--device-read-bps", link+":1m", b.id, link+":/dev/x"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			identity := `,"identity":"` + bound(t, link) + `"`
			if !c.identity {
				b.editRecords(t, identity, "")
			} else if got := read(t, filepath.Join(b.dir, config.Name)); !strings.Contains(got, identity) {
				t.Errorf("recorded is %s, want %s", got, identity)
			}
			repoint(t, link, impostor)
			h := b.fakeContainer
			if c.command {
				if o := b.tool(t, "update-device", "--device-read-bps", link+":2m", h.id); o.code != 0 {
					t.Errorf("update-device: %d, %s", o.code, o.said)
				}
				if got, want := b.limits(), link+"=2097152"; got != want {
					t.Errorf("recorded is %q, want %q", got, want)
				}
				if o := b.tool(t, "update-device", "--device-read-bps", "/dev/"+impostor.name+":2m", h.id); o.code != 1 {
					t.Errorf("by the impostor's own name: %d, %s", o.code, o.said)
				}
			} else {
				h = hold(t, nil)
				must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+h.cgroup, 0o755))
				started := inBundle(t, h, read(t, filepath.Join(b.dir, config.Name)))
				defer started.hook(t, "poststop")
				if o := started.hook(t, "prestart"); o.code != 0 {
					t.Fatalf("prestart: %d, %s", o.code, o.said)
				}
			}
			if got := readLimit(t, h); strings.Contains(got, fmt.Sprintf("7:%d ", impostor.minor)) {
				t.Errorf("the impostor is limited: %q", got)
			}
		})
	}
}

// Of what type it is, nobody knows until it comes.
func TestALimitOfWhatWasNeverThereIsKeptForItsComing(t *testing.T) {
	const lv = "/dev/test-vg/lv"
	for _, c := range []struct {
		name string
		come func(t *testing.T, p *plugged)
		want bool
	}{
		{"a disk", func(t *testing.T, p *plugged) { must(t, os.Symlink("/dev/"+p.name, lv)) }, true},
		{"a character device with the number of a disk", func(t *testing.T, p *plugged) {
			must(t, sandbox.Mknod(lv, unix.S_IFCHR|0o660, 7, uint32(p.minor), 0, 0))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plug(t)
			b := limitedBox(t, nil, nil)
			if o := b.tool(t, "add-device", "--optional", b.id, lv+":/dev/x"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			for _, value := range []string{"1m", "0", "2m"} {
				o := b.tool(t, "update-device", "--device-read-bps", lv+":"+value, b.id)
				if o.code != 0 || value != "0" && !strings.Contains(o.said, "its limit is set when it appears") {
					t.Errorf("update-device: %d, %s", o.code, o.said)
				}
			}
			must(t, os.MkdirAll(filepath.Dir(lv), 0o755))
			t.Cleanup(func() { os.RemoveAll(filepath.Dir(lv)) })
			c.come(t, p)
			box := &deviceFixture{fakeContainer: b.fakeContainer, t: t, dir: b.dir, target: b.fakeContainer.target(t, hostOwner)}
			box.do("/dev/x", p.name)
			want := ""
			if c.want {
				want = fmt.Sprintf("7:%d 2097152", p.minor)
			}
			if got := readLimit(t, b.fakeContainer); got != want {
				t.Errorf("limited is %q, want %q", got, want)
			}
		})
	}
}

// Whose a limit is, is asked for each of a hundred limits: the host is looked at before.
func TestTheHostIsLookedAtOnceForAllLimits(t *testing.T) {
	is, other := plug(t), plug(t)
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	repoint(t, away, is)
	record := is.record(away, "/dev/x", "rw")
	targets := new(devices.Host).LimitTargets([]devices.Device{record, other.record("/dev/"+other.name, "/dev/y", "rw")})
	repoint(t, away, other)
	l := limitOn(is, "/dev/"+is.name, "1000")
	if got := targets.LimitedBy(l); len(got) != 1 || got[0].Device != record {
		t.Errorf("it limits %v, want %v", got, record)
	}
	if !targets.AreThere(l) || !targets[0].Has(l) || targets[1].Has(l) {
		t.Error("its numbers are another's")
	}
}
