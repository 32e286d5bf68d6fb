package units

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
)

// editRecords changes the container's resource file as text.
func (b *bundle) editRecords(t testing.TB, old, now string) {
	t.Helper()
	file := filepath.Join(b.dir, config.Name)
	text := read(t, file)
	if !strings.Contains(text, old) {
		t.Fatalf("%s is not in %s", old, text)
	}
	write(t, file, strings.Replace(text, old, now, 1))
}

// plugging is the number of a disk's plugging in as it is recorded.
func (b *bundle) plugging(t testing.TB) string {
	t.Helper()
	var file struct {
		DiskPartitions []devices.PartitionSnapshot `json:"diskPartitions"`
	}
	must(t, json.Unmarshal([]byte(read(t, filepath.Join(b.dir, config.Name))), &file))
	for _, s := range file.DiskPartitions {
		if s.Plugged != 0 {
			return fmt.Sprintf(`"plugged":%d`, s.Plugged)
		}
	}
	t.Fatal("no plugging in is recorded")
	return ""
}

// A command gives the container its disk of now, its partitions and its limits, although
// no event told of it: it was lost, or no udevd runs.
func TestACommandRenewsADiskOfWhichNoEventTold(t *testing.T) {
	const link = "/dev/disk/by-id/test-ours"
	for _, c := range []struct {
		name string
		lost func(t *testing.T, b *bundle, command func(), was, is *plugged) (now *plugged)
	}{
		{"it is another number now", func(t *testing.T, b *bundle, _ func(), _, is *plugged) *plugged {
			repoint(t, link, is)
			return is
		}},
		{"it went and came back as the same number", func(t *testing.T, b *bundle, _ func(), was, _ *plugged) *plugged {
			b.editRecords(t, b.plugging(t), `"plugged":1`)
			write(t, "/sys/fs/cgroup/blkio"+b.cgroup+"/blkio.throttle.read_bps_device", fmt.Sprintf("7:%d 0", was.minor)) // went with it
			return was
		}},
		{"it was away during a command", func(t *testing.T, b *bundle, command func(), was, _ *plugged) *plugged {
			repoint(t, link, nil)
			command()
			gone(t, b.root+"/dev/x")
			repoint(t, link, was)
			return was
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			was, is := plug(t), plug(t)
			t.Cleanup(func() { os.RemoveAll("/dev/disk") })
			repoint(t, link, was)
			h, b := withRules(t, "")
			must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+h.cgroup, 0o755))
			if o := b.tool(t, "add-device", "--device-read-bps", link+":1m", h.id, link+":/dev/x:rw"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			command := func() {
				t.Helper()
				if o := b.tool(t, "add-device", h.id, "/dev/null:/null"); o.code > 1 {
					t.Fatalf("add-device: %d, %s", o.code, o.said)
				}
			}
			now := c.lost(t, b, command, was, is)
			part := now.cut(t, 1)
			command()
			box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
			box.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", now.minor), "/dev/xp1": part})
			if got, want := readLimit(t, h)+"\n", fmt.Sprintf("7:%d 1048576\n", now.minor); !strings.Contains(got, want) {
				t.Errorf("limited is %q, want %q", got, want)
			}
			before := read(t, filepath.Join(b.dir, config.Name))
			command()
			if after := read(t, filepath.Join(b.dir, config.Name)); after != before {
				t.Errorf("with nothing new the file becomes %s, was %s", after, before)
			}
		})
	}
}

// The same where a start or the helper looks for partitions, without or before an event.
func TestALookForPartitionsRenewsADiskThatCameBack(t *testing.T) {
	const link = "/dev/disk/by-id/test-ours"
	was, is := plug(t), plug(t)
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	repoint(t, link, was)
	b := newDeviceFixture(t, map[string]any{
		"deviceToAdd": []devices.Device{was.record(link, "/dev/x", "rw")},
		"readBps":     []devices.Limit{{Major: 7, Minor: int64(was.minor), Path: link, Value: "100"}},
	})
	must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+b.cgroup, 0o755))
	b.start()
	repoint(t, link, is)
	part := is.cut(t, 1)
	b.do("", "")
	b.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", is.minor), "/dev/xp1": part})
	if got, want := readLimit(t, b.fakeContainer), fmt.Sprintf("7:%d 100", is.minor); got != want {
		t.Errorf("limited is %q, want %q", got, want)
	}
	if done := b.do("", ""); len(done) != 0 {
		t.Errorf("did %q for nothing new", done)
	}
}

// The disk is the same, and no event told of its partitions.
func TestACommandRenewsThePartitionsOfADiskThatStayed(t *testing.T) {
	for _, c := range []struct {
		name    string
		by      string // the path in the container, and what is recorded then
		records string
	}{
		{"that followed their disk", "/dev/xp1", ""},
		{"that were added by hand", "/dev/data", "/dev/data="},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, other := plug(t), plug(t)
			host := "/dev/" + p.name
			one := p.cut(t, 1)
			h, b := withRules(t, "")
			for _, device := range []string{host + ":/dev/x:rw", "/dev/" + p.part(1) + ":" + c.by + ":rw"} {
				if o := b.tool(t, "add-device", h.id, device); o.code != 0 {
					t.Fatalf("add-device: %d, %s", o.code, o.said)
				}
			}
			box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
			disk := fmt.Sprintf("7:%d", p.minor)
			command := func() {
				t.Helper()
				b.tool(t, "add-path", h.id, "/etc:/mnt/etc:ro") // which older kernels refuse
			}
			command()
			box.has(map[string]string{"/dev/x": disk, c.by: one})

			p.uncut(t, 1)
			other.cut(t, 1) // whose number it may be now
			command()
			box.has(map[string]string{"/dev/x": disk})
			if got := box.records(); strings.Contains(got, c.by) != (c.records != "") {
				t.Errorf("recorded is %s", got)
			}
			if c.records == "" {
				return
			}
			now := p.cut(t, 1)
			command()
			box.has(map[string]string{"/dev/x": disk, c.by: now})
			// As after a withdrawal, though the number stays.
			must(t, os.Rename("/dev/"+p.part(1), "/dev/hidden"))
			command()
			box.has(map[string]string{"/dev/x": disk})
			must(t, os.Rename("/dev/hidden", "/dev/"+p.part(1)))
			command()
			box.has(map[string]string{"/dev/x": disk, c.by: now})
		})
	}
}

// Each closing of a loop device that was written sends a change, and a file that it is given
// later has its number, too.
func TestAChangeOfADiskThatStayedIsNothingToDo(t *testing.T) {
	const link = "/dev/disk/by-id/test-ours"
	p := plug(t)
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	repoint(t, link, p)
	record := p.record(link, "/dev/x", "rw")
	b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{record}})
	b.start()
	for _, c := range []struct {
		name string
		has  func(devices.Device) bool
		old  string // in the file
		now  string
		want int
	}{
		{"it has the disk", func(devices.Device) bool { return true }, "", "", 0},
		{"it lost the disk", func(devices.Device) bool { return false }, "", "", 1},
		{"nobody knows", nil, "", "", 1},
		{"it was another's number", func(devices.Device) bool { return true }, fmt.Sprintf(`"Minor":%d`, p.minor), `"Minor":77`, 1},
		{"it was plugged in anew", func(devices.Device) bool { return true }, `"plugged":`, `"plugged":1`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			text := read(t, filepath.Join(b.dir, config.Name))
			if !strings.Contains(text, c.old) {
				t.Fatalf("%s is not in %s", c.old, text)
			}
			write(t, filepath.Join(dir, config.Name), strings.Replace(text, c.old, c.now, 1))
			doc, err := config.Load(dir)
			must(t, err)
			plan, err := devices.PlanHotplug(doc)
			must(t, err)
			plan.Has = c.has
			must(t, plan.Event("/dev/x", p.name))
			if got := len(plan.Change.Tasks); got != c.want {
				t.Errorf("%d tasks are planned, want %d", got, c.want)
			}
		})
	}
}

// What is only recorded the next start gives, and no command that is about something else. What
// was withdrawn any command gives when it is back.
func TestACommandGivesNothingThatIsOnlyRecorded(t *testing.T) {
	for _, link := range []string{"/dev/disk/by-id/test-ours", "/dev/test-ours"} {
		t.Run(link, func(t *testing.T) {
			p, other := plug(t), plug(t)
			t.Cleanup(func() { must(t, errors.Join(os.Remove(link), os.RemoveAll("/dev/disk"))) })
			must(t, errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink("/dev/"+p.name, link)))
			one := p.cut(t, 1)
			other.cut(t, 1)
			h, b := withRules(t, "")
			box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
			tool := func(args ...string) {
				t.Helper()
				if o := b.tool(t, args...); o.code != 0 {
					t.Fatalf("%q: %d, %s", args, o.code, o.said)
				}
			}
			command := func(want map[string]string) {
				t.Helper()
				b.tool(t, "add-path", h.id, "/etc:/mnt/etc:ro") // which older kernels refuse
				box.has(want)
			}
			tool("add-device", h.id, "/dev/"+other.name+":/dev/y:rw")
			has := map[string]string{"/dev/y": fmt.Sprintf("7:%d", other.minor)}
			tool("add-device", "--update-config-only", h.id, "/dev/"+other.part(1)+":/dev/data:rw")
			tool("add-device", "--update-config-only", "--follow-partition", h.id, link+":/dev/x:rw")
			command(has)
			two := p.cut(t, 2)
			command(has)

			tool("remove-device", "--follow-partition", h.id, link+":/dev/x")
			tool("add-device", "--follow-partition", h.id, link+":/dev/x:rw")
			given := maps.Clone(has)
			given["/dev/x"], given["/dev/xp1"], given["/dev/xp2"] = fmt.Sprintf("7:%d", p.minor), one, two
			command(given)
			must(t, os.Rename(link, link+"-hidden"))
			command(has)
			must(t, os.Rename(link+"-hidden", link))
			// The event of a partition comes, and that of the disk is lost.
			doc, err := config.Load(b.dir)
			must(t, err)
			plan, err := devices.PlanHotplug(doc)
			must(t, err)
			plan.Has = func(devices.Device) bool { return false }
			must(t, plan.Event("/dev/x", p.part(2)))
			must(t, plan.Do(t.Context(), nil))
			command(given)
		})
	}
}

// A command about something else does not fail for a disk that goes while it looks.
func TestADiskThatGoesMeanwhileIsLeftToItsEvent(t *testing.T) {
	const link, sysfs = "/dev/disk/by-id/test-ours", "/sys/devices/virtual/block"
	was, is := plug(t), plug(t)
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	repoint(t, link, was)
	b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{was.record(link, "/dev/x", "rw")}})
	b.start()
	repoint(t, link, is)
	doc, err := config.Load(b.dir)
	must(t, err)
	plan, err := devices.PlanHotplug(doc)
	must(t, err)
	hidden := false
	plan.Check = func(string) error { // asked after the disk was found
		hidden = true
		return unix.Mount("none", sysfs, "tmpfs", 0, "")
	}
	err = plan.Renew()
	if !hidden {
		t.Fatal("nobody asked whether the path may be used")
	}
	must(t, unix.Unmount(sysfs, 0))
	must(t, err)
	if got := len(plan.Change.Tasks); got != 0 {
		t.Errorf("%d tasks are planned", got)
	}
	plan.Check = nil
	must(t, plan.Renew())
	if len(plan.Change.Tasks) == 0 {
		t.Error("nothing is planned when it can be looked at again")
	}
}
