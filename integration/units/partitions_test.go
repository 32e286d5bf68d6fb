package units

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
)

// optionsOfPartitions says of every field of a record what a partition has of it: its
// own fact, its disk's option, or nothing.
var optionsOfPartitions = map[string]string{
	"Type": "fact", "Major": "fact", "Minor": "fact", "PathOnHost": "fact", "PathInContainer": "fact", "Parent": "fact",
	"CgroupPermissions": "inherited", "Optional": "inherited",
	"Own":      "none", // whether the container had a node says nothing of another node
	"Identity": "none", // its name is the kernel's
	"Select":   "none", // the partitions of a selected disk are selected themselves
}

func TestAPartitionHasEveryOptionOfItsDisk(t *testing.T) {
	p := plug(t)
	numbers := p.cut(t, 1)
	var major, minor int64
	_, err := fmt.Sscanf(numbers, "%d:%d", &major, &minor)
	must(t, err)
	facts := map[string]any{
		"Type": "b", "Major": major, "Minor": minor, "PathOnHost": "/dev/" + p.part(1), "PathInContainer": "/dev/xp1", "Parent": "/dev/" + p.name,
	}
	for i := range reflect.TypeFor[devices.Device]().NumField() {
		field := reflect.TypeFor[devices.Device]().Field(i).Name
		t.Run(field, func(t *testing.T) {
			means, named := optionsOfPartitions[field]
			if !named {
				t.Fatal("nobody says whether partitions have it")
			}
			disk := p.record("/dev/"+p.name, "/dev/x", "")
			set := reflect.ValueOf(&disk).Elem().Field(i)
			switch {
			case means == "fact":
			case field == "Identity": // any other is another disk's
				set.SetString("loop:" + strings.TrimSpace(read(t, "/sys/block/"+p.name+"/loop/backing_file")))
			case set.Kind() == reflect.Bool:
				set.SetBool(true)
			case set.Kind() == reflect.String:
				set.SetString("rw")
			default:
				t.Fatalf("a %s: set it here", set.Kind())
			}
			ways := map[string]func() devices.Device{
				"added with its disk": func() devices.Device { return partitionOf(t, disk) },
				"come later":          func() devices.Device { return partitionCome(t, p, disk) },
			}
			if field == "Select" {
				delete(ways, "come later")
			}
			for how, of := range ways {
				got, is := reflect.ValueOf(of()).Field(i).Interface(), set.Interface()
				zero := reflect.Zero(set.Type()).Interface()
				switch {
				case means == "inherited" && got != is, means == "none" && got != zero, means == "fact" && got != facts[field]:
					t.Errorf("%s: it has %v, its disk %v, want what is: %s", how, got, is, means)
				}
			}
		})
	}
}

// partitionOf is the first partition as a command adds it with its disk.
func partitionOf(t testing.TB, disk devices.Device) devices.Device {
	t.Helper()
	block, err := devices.FindBlock(disk.Major, disk.Minor)
	must(t, err)
	list, err := devices.PartitionsOf(disk, block)
	must(t, err)
	return list[0]
}

// partitionCome is the first partition as an event adds it to a disk's record.
func partitionCome(t testing.TB, p *plugged, disk devices.Device) devices.Device {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, config.Name), asJSON(t, map[string]any{"deviceToAdd": []devices.Device{disk}}))
	doc, err := config.Load(dir)
	must(t, err)
	plan, err := devices.PlanHotplug(doc)
	must(t, err)
	must(t, plan.Event(disk.PathInContainer, p.part(1)))
	must(t, plan.Record())
	list, err := config.List[devices.Device](doc, config.Devices)
	must(t, err)
	if len(list) != 2 {
		t.Fatalf("recorded %v, want the disk and its partition", list)
	}
	return list[1]
}

// readLimit is what limits reading in a container's cgroup.
func readLimit(t testing.TB, h *fakeContainer) string {
	t.Helper()
	return strings.TrimSpace(read(t, "/sys/fs/cgroup/blkio"+h.cgroup+"/blkio.throttle.read_bps_device"))
}

// The kernel limits whole disks only.
func TestALimitByAPartitionIsThatOfItsDisk(t *testing.T) {
	p := plug(t)
	p.cut(t, 1)
	disk, part := "/dev/"+p.name, "/dev/"+p.part(1)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(part, link))
	says := " is a partition: the limit is that of its whole disk, " + disk
	for _, c := range []struct {
		name         string
		added, by    string
		says, record string // "": nothing
	}{
		{"the partition", part, part, part + says, disk},
		{"the partition, by a link", link, link, link + says, link},
		{"the disk of the partition", part, disk, "", disk},
		{"the partition of the disk", disk, part, part + says, disk},
		{"the partition's link of the partition", part, link, link + says, link},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hold(t, nil, pivoted)
			must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+h.cgroup, 0o755))
			b := inBundle(t, h, "")
			if o := b.tool(t, "add-device", h.id, c.added+":/dev/x"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			o := b.tool(t, "update-device", "--device-read-bps", c.by+":1m", h.id)
			want := fmt.Sprintf("Update read bps for device (%s,1048576) done.\n", c.record)
			if c.says != "" {
				want += c.says + "\n"
			}
			if o.code != 0 || o.said != want {
				t.Errorf("update-device: %d, %q, want %q", o.code, o.said, want)
			}
			limit := fmt.Sprintf("7:%d 1048576", p.minor)
			if got := readLimit(t, h); got != limit {
				t.Errorf("the limit is %q, want %q", got, limit)
			}

			// The same at the next start.
			next := hold(t, nil)
			must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+next.cgroup, 0o755))
			started := inBundle(t, next, read(t, filepath.Join(b.dir, config.Name)))
			if o := started.hook(t, "prestart"); o.code != 0 {
				t.Fatalf("prestart: %d, %s", o.code, o.said)
			}
			if got := readLimit(t, next); got != limit {
				t.Errorf("after a start the limit is %q, want %q", got, limit)
			}
			if o := started.hook(t, "poststop"); o.code != 0 {
				t.Errorf("poststop: %d, %s", o.code, o.said)
			}

			// It goes with the last device of that disk.
			if o := b.tool(t, "remove-device", h.id, c.added); o.code != 0 || !strings.Contains(o.said, "Remove read bps for device") {
				t.Errorf("remove-device: %d, %s", o.code, o.said)
			}
			if got := readLimit(t, h); got != "" {
				t.Errorf("the limit is still %q", got)
			}
		})
	}
}

func TestALimitStaysAsLongAsAnyPartitionOfItsDisk(t *testing.T) {
	p := plug(t)
	p.cut(t, 1)
	p.cut(t, 2)
	h := hold(t, nil, pivoted)
	must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+h.cgroup, 0o755))
	b := inBundle(t, h, "")
	for _, c := range []struct{ args, limit string }{
		{"add-device --device-read-bps DISK:1m ID DISK:/dev/x DISKp1:/dev/a DISKp2:/dev/b", fmt.Sprintf("7:%d 1048576", p.minor)},
		{"remove-device ID DISK", fmt.Sprintf("7:%d 1048576", p.minor)},
		{"remove-device ID DISKp2", fmt.Sprintf("7:%d 1048576", p.minor)},
		{"remove-device ID DISKp1", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := strings.NewReplacer("DISK", "/dev/"+p.name, "ID", h.id).Replace(c.args)
			if o := b.tool(t, strings.Fields(args)...); o.code != 0 {
				t.Errorf("%s: %d, %s", args, o.code, o.said)
			}
			if got := readLimit(t, h); got != c.limit {
				t.Errorf("after %s the limit is %q, want %q", args, got, c.limit)
			}
		})
	}
}

func TestAPartitionWhoseDiskIsNotRecordedIsListed(t *testing.T) {
	p := plug(t)
	p.cut(t, 1)
	p.cut(t, 2)
	h := hold(t, nil, pivoted)
	b := inBundle(t, h, "")
	for _, c := range []struct{ args, listed string }{
		{"add-device --follow-partition ID DISK:/dev/x", "/dev/x"},
		{"remove-device ID DISK", "/dev/xp1 /dev/xp2"},
		{"remove-device ID DISKp1", "/dev/xp2"},
		{"add-device ID DISK:/dev/y", "/dev/y"},
		{"remove-device --follow-partition ID DISK", ""},
		{"add-device ID DISKp2:/dev/z", "/dev/z"},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := strings.NewReplacer("DISK", "/dev/"+p.name, "ID", h.id).Replace(c.args)
			if o := b.tool(t, strings.Fields(args)...); o.code != 0 {
				t.Errorf("%s: %d, %s", args, o.code, o.said)
			}
			var got []string
			for i, word := range strings.Split(b.tool(t, "list-device", h.id).said, `"PathInContainer":"`) {
				if path, _, ok := strings.Cut(word, `"`); ok && i > 0 {
					got = append(got, path)
				}
			}
			if got := strings.Join(got, " "); got != c.listed {
				t.Errorf("after %s listed are %q, want %q", args, got, c.listed)
			}
		})
	}
}

// Of a partition that is known by what it is or holds, the disk's name is of no use: it
// may be another disk's after the next boot.
func TestALimitOfAPartitionFollowsItsLink(t *testing.T) {
	was, is := plug(t), plug(t)
	was.cut(t, 1)
	is.cut(t, 1)
	const link = "/dev/disk/by-id/test-ours-part1"
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	for _, by := range []string{"/dev/" + was.name, "/dev/" + was.part(1), link} {
		t.Run(by, func(t *testing.T) {
			must(t, os.MkdirAll(filepath.Dir(link), 0o755))
			must(t, os.RemoveAll(link))
			must(t, os.Symlink("/dev/"+was.part(1), link))
			b := inBundle(t, hold(t, nil), "")
			b.stopped(t)
			if o := b.tool(t, "add-device", "--device-read-bps", by+":1m", b.id, link+":/dev/x"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			must(t, os.Remove(link))
			must(t, os.Symlink("/dev/"+is.part(1), link))
			must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+b.cgroup, 0o755))
			if o := b.hook(t, "prestart"); o.code != 0 {
				t.Fatalf("prestart: %d, %s", o.code, o.said)
			}
			if got, want := readLimit(t, b.fakeContainer), fmt.Sprintf("7:%d 1048576", is.minor); got != want {
				t.Errorf("the limit is %q, want %q", got, want)
			}
			if o := b.hook(t, "poststop"); o.code != 0 {
				t.Errorf("poststop: %d, %s", o.code, o.said)
			}
		})
	}
}

// Whoever writes a disk can give it the name of another.
func TestThePartitionsOfAnImpostorAreNotTakenAwayWithTheDisk(t *testing.T) {
	const link = "/dev/disk/by-uuid/test-written"
	for _, c := range []struct {
		name string
		left string
		to   func(is, impostor *plugged) *plugged
	}{
		{"its own go", "/dev/impostor1", func(is, _ *plugged) *plugged { return is }},
		{"those of an impostor stay", "/dev/impostor1 /dev/own1", func(_, impostor *plugged) *plugged { return impostor }},
	} {
		t.Run(c.name, func(t *testing.T) {
			is, impostor := plug(t), plug(t)
			t.Cleanup(func() { os.RemoveAll("/dev/disk") })
			is.cut(t, 1)
			impostor.cut(t, 1)
			repoint(t, link, is)
			h, b := withRules(t, "")
			for _, args := range []string{link + ":/dev/x:rw", "/dev/" + is.part(1) + ":/dev/own1:rw", "/dev/" + impostor.part(1) + ":/dev/impostor1:rw"} {
				if o := b.tool(t, "add-device", h.id, args); o.code != 0 {
					t.Fatalf("add-device %s: %d, %s", args, o.code, o.said)
				}
			}
			repoint(t, link, c.to(is, impostor))
			if o := b.tool(t, "remove-device", "--follow-partition", h.id, link+":/dev/x"); o.code != 0 {
				t.Errorf("remove-device: %d, %s", o.code, o.said)
			}
			var left []string
			for _, d := range (&deviceFixture{t: t, dir: b.dir}).recorded() {
				left = append(left, d.PathInContainer)
			}
			slices.Sort(left)
			if got := strings.Join(left, " "); got != c.left {
				t.Errorf("left are %q, want %q", got, c.left)
			}
		})
	}
}
