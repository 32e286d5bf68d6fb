package units

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// administrators points a link of which udevd does not know to a disk, or nowhere.
func administrators(t testing.TB, p *plugged) (link string, point func(*plugged)) {
	t.Helper()
	link = "/dev/of-the-administrator"
	point = func(p *plugged) {
		t.Helper()
		must(t, os.RemoveAll(link))
		if p != nil {
			must(t, os.Symlink(p.name, link))
		}
	}
	point(p)
	t.Cleanup(func() { point(nil) })
	return link, point
}

// follows requires the rules to be those of a disk, and not of another.
func follows(t testing.TB, p, not *plugged) {
	t.Helper()
	rule := func(p *plugged) string { return fmt.Sprintf("KERNEL==%q", p.name+"*") }
	if got := read(t, rules); !strings.Contains(got, rule(p)) || strings.Contains(got, rule(not)) {
		t.Errorf("rules %s, want those of %s, not of %s", got, p.name, not.name)
	}
}

func TestTheRulesOfADiskThatWasRenumberedAreRenewedByAnyCommand(t *testing.T) {
	was, is := plug(t), plug(t)
	link, point := administrators(t, was)
	h, b := withRules(t, "")
	if o := b.tool(t, "add-device", h.id, link+":/dev/x:rw"); o.code != 0 {
		t.Fatalf("add-device: %d, %s", o.code, o.said)
	}
	follows(t, was, is)
	point(is)
	b.tool(t, "add-path", h.id, "/etc:/mnt/etc:ro") // which older kernels refuse
	follows(t, is, was)
}

// reloading is an udevd that is told of rules for the first time no sooner than meanwhile is done.
func reloading(t *testing.T, meanwhile func()) (reloads func() string) {
	t.Helper()
	asked, done := filepath.Join(t.TempDir(), "asked"), filepath.Join(t.TempDir(), "done")
	reloads = fakeProgram(t, "udevadm", "touch "+asked+"; while [ ! -e "+done+" ]; do sleep 0.01; done")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = os.WriteFile(done, nil, 0o600) }()
		if sandbox.Await(func() bool { _, err := os.Stat(asked); return err == nil }) {
			meanwhile()
		}
	}()
	t.Cleanup(func() { <-ended })
	return reloads
}

// Before udevd knows the rules nobody tells what becomes of a device: whoever changes them looks again.
func TestWhatChangesWhileUdevdReloadsIsNotMissed(t *testing.T) {
	const ofMapped = "a unit of systemd's" // whose container has owners of its own
	record := func(p *plugged, link string) string {
		return asJSON(t, map[string]any{"deviceToAdd": []devices.Device{p.record(link, "/dev/x", "rw")}})
	}
	for who, gets := range map[string]func(t *testing.T, p *plugged, link string) (root, dir string){
		"a start": func(t *testing.T, p *plugged, link string) (root, dir string) {
			h := hold(t, nil)
			dir = bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
			write(t, filepath.Join(dir, config.Name), record(p, link))
			t.Cleanup(startsIn(t, h, dir))
			return h.root, dir
		},
		"the helper": func(t *testing.T, p *plugged, link string) (root, dir string) {
			b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(link, "/dev/x", "rw")}}, pivoted)
			b.start()
			t.Cleanup(func() { must(t, os.Remove(rules)) })
			helper(t, 0, "add", b.id, p.name, "/dev/x", "-")
			return b.root, b.dir
		},
		ofMapped: func(t *testing.T, p *plugged, link string) (root, dir string) {
			b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(link, "/dev/x", "rw")}}, boundNodes()...)
			b.start()
			t.Cleanup(func() { must(t, os.Remove(rules)) })
			units := booted(t)
			args := []string{"add", b.id, p.name, "/dev/x", "-"}
			helper(t, 0, args...)
			if !strings.Contains(units(), "--direct "+strings.Join(args, " ")) {
				t.Errorf("systemd-run %s", units())
			}
			helper(t, 0, append([]string{"--direct"}, args...)...)
			return b.root, b.dir
		},
		"a command": func(t *testing.T, p *plugged, link string) (root, dir string) {
			h := hold(t, nil, pivoted)
			b := inBundle(t, h, "")
			t.Cleanup(func() { must(t, os.Remove(rules)) })
			if o := b.tool(t, "add-device", h.id, link+":/dev/x:rw"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			return h.root, b.dir
		},
	} {
		number := func(p *plugged) string { return fmt.Sprintf("7:%d", p.minor) }
		for what, meanwhile := range map[string]func(t *testing.T, point func(*plugged), was, is *plugged) (x, xp1 string){
			"renumbered": func(_ *testing.T, point func(*plugged), _, is *plugged) (x, xp1 string) {
				point(is)
				return number(is), ""
			},
			"gone": func(_ *testing.T, point func(*plugged), _, _ *plugged) (x, xp1 string) {
				point(nil)
				return "", ""
			},
			"partitioned": func(t *testing.T, _ func(*plugged), was, _ *plugged) (x, xp1 string) {
				return number(was), was.cut(t, 1)
			},
		} {
			t.Run(who+", "+what, func(t *testing.T) {
				was, is := plug(t), plug(t)
				link, point := administrators(t, was)
				var x, xp1 string
				reloads := reloading(t, func() { x, xp1 = meanwhile(t, point, was, is) })
				root, dir := gets(t, was, link)
				for path, want := range map[string]string{"/dev/x": x, "/dev/xp1": xp1} {
					n, err := sandbox.Lstat(root + path)
					if n.Rdev != want || want == "" && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s is %s, %v, want %q", path, n, err, want)
					}
					if path == "/dev/xp1" && want != "" && who != ofMapped && !strings.HasPrefix(n.String(), "b 0660 0:6 ") {
						t.Errorf("%s is %s", path, n)
					}
				}
				file := read(t, filepath.Join(dir, config.Name))
				if !strings.Contains(file, `"/dev/x"`) || strings.Contains(file, `"/dev/xp1"`) != (xp1 != "") {
					t.Errorf("recorded is %s", file)
				}
				times := 2
				switch what {
				case "renumbered":
					follows(t, is, was)
				case "gone": // and its return is told of
					if got := read(t, rules); !strings.Contains(got, `SYMLINK=="`+strings.TrimPrefix(link, "/dev/")+`"`) {
						t.Errorf("rules %s", got)
					}
				default:
					times = 1
				}
				if got, want := reloads(), strings.Repeat("control --reload --timeout=3\n", times); got != want {
					t.Errorf("udevd was told %q, want %q", got, want)
				}
			})
		}
	}
}

// The kernel's name of a partition's disk is recorded, and may be another disk's by now.
func TestAPartitionIsOfTheDiskThatItIsOnNow(t *testing.T) {
	was, is := plug(t), plug(t)
	was.cut(t, 1)
	one := was.part(1)
	two := is.cut(t, 1)
	const link = "/dev/of-the-administrators-disk7p1" // as if it were of the kernel
	point := func(name string) {
		t.Helper()
		must(t, os.RemoveAll(link))
		must(t, os.Symlink(name, link))
	}
	t.Cleanup(func() { must(t, os.Remove(link)) })
	h, b := withRules(t, "")
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
	add := func(device string) {
		t.Helper()
		if o := b.tool(t, "add-device", h.id, device); o.code != 0 {
			t.Fatalf("add-device %s: %d, %s", device, o.code, o.said)
		}
	}
	point(one)
	add(link + ":/dev/zp1:rw")
	point(is.part(1)) // its disk has another name, and that of before is another disk's
	add("/dev/" + was.name + ":/dev/z:rw")
	want := map[string]string{"/dev/zp1": two, "/dev/z": fmt.Sprintf("7:%d", was.minor)}
	box.has(want)
	if got := read(t, rules); !strings.Contains(got, `SYMLINK=="`+strings.TrimPrefix(link, "/dev/")+`"`) || !strings.Contains(got, `"/dev/`+is.part(1)+`"`) {
		t.Errorf("no rule of the partition's own in\n%s", got)
	}

	add("/dev/" + is.name + ":/dev/y:rw")
	want["/dev/y"] = fmt.Sprintf("7:%d", is.minor)
	init, err := process.ByPID(h.pid)
	must(t, errors.Join(err, container.WriteStart(place.Isulad, h.id, container.Start{Init: init, Bundle: b.dir, Root: h.image})))
	t.Cleanup(func() { must(t, container.RemoveStart(h.id)) })
	helper(t, 0, "add", h.id, was.name, "/dev/z", "-") // whose name is recorded for the other
	helper(t, 0, "add", h.id, is.name, "/dev/y", "-")
	box.has(want)
	// Its own events are about it, also while its disk is recorded.
	without := maps.Clone(want)
	delete(without, "/dev/zp1")
	must(t, os.Remove(link))
	helper(t, 0, "remove", h.id, is.part(1), "/dev/zp1", "-")
	box.has(without)
	point(is.part(1))
	helper(t, 0, "add", h.id, is.part(1), "/dev/zp1", "-")
	box.has(want)
	if o := b.tool(t, "remove-device", "--follow-partition", h.id, "/dev/"+was.name+":/dev/z"); o.code != 0 {
		t.Fatalf("remove-device: %d, %s", o.code, o.said)
	}
	delete(want, "/dev/z")
	box.has(want)
}

// Only what the kernel has on a disk goes with it, whatever its path in the container looks like.
func TestAPathLikeThatOfAPartitionIsNone(t *testing.T) {
	disk, other, third := plug(t), plug(t), plug(t)
	number := other.cut(t, 1)
	h, b := withRules(t, "")
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
	other1 := "/dev/" + other.part(1)
	for _, args := range [][]string{
		{"add-device", h.id, "/dev/" + disk.name + ":/dev/data:rw", other1 + ":/dev/datap1:rw"},
		{"add-device", h.id, "/dev/" + third.name + ":/dev/other:rw"},
	} {
		if o := b.tool(t, args...); o.code != 0 {
			t.Fatalf("%q: %d, %s", args, o.code, o.said)
		}
		if got := box.records(); !strings.Contains(got, "/dev/datap1="+other1) {
			t.Errorf("after %q recorded are\n%s", args, got)
		}
	}
	box.has(map[string]string{"/dev/data": fmt.Sprintf("7:%d", disk.minor), "/dev/datap1": number, "/dev/other": fmt.Sprintf("7:%d", third.minor)})
	if o := b.tool(t, "remove-device", "--follow-partition", h.id, "/dev/"+disk.name); o.code != 0 {
		t.Fatalf("remove-device: %d, %s", o.code, o.said)
	}
	box.has(map[string]string{"/dev/datap1": number, "/dev/other": fmt.Sprintf("7:%d", third.minor)})

	// Of a disk that is given by a link v0.9 recorded partitions under names of before.
	link, point := administrators(t, disk)
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"add-device", h.id, link + ":/dev/data:rw"}, 1},
		{[]string{"remove-device", h.id, other1}, 0},
		{[]string{"add-device", h.id, link + ":/dev/data:rw"}, 0},
		{[]string{"add-device", h.id, other1 + ":/dev/datap1:rw"}, 1},
		{nil, 1}, // the disk is away
		{[]string{"add-device", h.id, other1 + ":/dev/datap1:rw"}, 1},
		{[]string{"add-device", h.id, other1 + ":/dev/more:rw"}, 0},
	} {
		if c.args == nil {
			point(nil)
			continue
		}
		if o := b.tool(t, c.args...); o.code != c.code || c.code != 0 != strings.Contains(o.said, "taken for a partition") {
			t.Errorf("%q: %d, %s", c.args, o.code, o.said)
		}
	}
}

// A unit of systemd's looks at all devices, so it writes the rules of all.
func TestAPartitionsEventRenewsTheRulesOfWhatItRenews(t *testing.T) {
	p, was, is := plug(t), plug(t), plug(t)
	link, point := administrators(t, was)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record("/dev/"+p.name, "/dev/x", "rw"), was.record(link, "/dev/y", "rw")}}, boundNodes()...)
	b.start()
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	helper(t, 0, "add", b.id, p.name, "/dev/x", "-")
	follows(t, was, is)
	point(is)
	one := p.cut(t, 1)
	booted(t)
	helper(t, 0, "--direct", "add", b.id, p.part(1), "/dev/x", p.name)
	b.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", p.minor), "/dev/xp1": one, "/dev/y": fmt.Sprintf("7:%d", is.minor)})
	follows(t, is, was)
}

// What --update-config-only recorded is the next start's, whatever happens to other devices.
func TestAnEventGivesNothingThatIsOnlyRecorded(t *testing.T) {
	p := plug(t)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record("/dev/"+p.name, "/dev/x", "rw")}}, pivoted)
	b.start()
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	other := plug(t)
	other.cut(t, 1)
	later, err := devices.FromNode("/dev/" + other.part(1))
	must(t, err)
	later.PathInContainer, later.Parent = "/dev/later", "/dev/"+other.name
	doc, err := config.Load(b.dir)
	must(t, err)
	must(t, config.Put(doc, config.Devices, append(b.recorded(), later)))
	must(t, doc.Save())
	for _, direct := range [][]string{nil, {"--direct"}} {
		helper(t, 0, append(direct, "add", b.id, p.name, "/dev/x", "-")...)
		b.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", p.minor)})
	}
}

// udevd does not know the operator's link, and what it leads to is not there yet.
func TestWhatALinkWillLeadToIsFollowed(t *testing.T) {
	const link = "/dev/of-the-administrators-modem"
	must(t, os.Symlink("ttyTEST7", link))
	t.Cleanup(func() { must(t, os.Remove(link)) })
	h, b := withRules(t, "")
	if o := b.tool(t, "add-device", "--optional", h.id, link+":/dev/modem"); o.code != 0 {
		t.Fatalf("add-device: %d, %s", o.code, o.said)
	}
	if got := read(t, rules); !strings.Contains(got, `ENV{DEVNAME}=="/dev/ttyTEST7"`) {
		t.Errorf("rules\n%s", got)
	}
}
