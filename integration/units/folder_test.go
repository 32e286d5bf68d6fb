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

// sound is a directory of the host with devices, and with what is not to be given.
func sound(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "snd")
	for _, d := range []string{"by/deep", "empty", "mounted"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for i, name := range []string{"control", "by/pcm", "by/deep/seq"} {
		must(t, sandbox.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o660, 116, uint32(i), 0, 29))
	}
	write(t, filepath.Join(dir, "file"), "no device")
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("control", filepath.Join(dir, "link")))
	must(t, os.Symlink("/dev", filepath.Join(dir, "by/folder")))
	must(t, unix.Mount("tmpfs", filepath.Join(dir, "mounted"), "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(dir, "mounted"), 0)) })
	must(t, sandbox.Mknod(filepath.Join(dir, "mounted/other"), unix.S_IFCHR|0o660, 116, 9, 0, 0))
	return dir
}

// stopped makes the engine say that the container does not run.
func (b *bundle) stopped(t testing.TB) {
	t.Helper()
	write(t, filepath.Join(b.runc, b.id, "state.json"), asJSON(t, map[string]any{
		"id": b.id, "config": map[string]any{"labels": []string{"bundle=" + b.dir}},
	}))
}

// devices are those in the file, in short and in order.
func (b *bundle) devices(t testing.TB) string {
	t.Helper()
	doc, err := config.Load(b.dir)
	must(t, err)
	list, err := config.List[devices.Device](doc, config.Devices)
	must(t, err)
	var all []string
	for _, d := range list {
		all = append(all, fmt.Sprint(d))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestADirectoryOfDevicesAddsEachOfThem(t *testing.T) {
	for _, c := range []struct {
		name, arg, inside, may string
		link                   bool
	}{
		{"by its own path", "DIR", "DIR", "rwm", false},
		{"by another path", "DIR:/dev/snd2:rw", "/dev/snd2", "rw", false},
		{"by a link to it", "DIR:/dev/snd2:r", "/dev/snd2", "r", true},
	} {
		for _, runs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, runs %v", c.name, runs), func(t *testing.T) {
				dir := sound(t)
				if c.link {
					link := filepath.Join(t.TempDir(), "link")
					must(t, os.Symlink(dir, link))
					dir = link
				}
				h := hold(t, nil)
				b := inBundle(t, h, "")
				if !runs {
					b.stopped(t)
				}
				o := b.tool(t, "add-device", h.id, strings.ReplaceAll(c.arg, "DIR", dir))
				if o.code != 0 || strings.Count(o.said, "Add device (") != 3 {
					t.Fatalf("%d, %s", o.code, o.said)
				}
				inside := strings.ReplaceAll(c.inside, "DIR", dir)
				var want []string
				for i, name := range []string{"control", "by/pcm", "by/deep/seq"} {
					want = append(want, fmt.Sprintf("%s/%s:%s/%[2]s:%[4]s (116:%[5]d)", dir, name, inside, c.may, i))
				}
				slices.Sort(want)
				if got := b.devices(t); got != strings.Join(want, "\n") {
					t.Errorf("recorded are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
				}
				if !runs { // its start gives it them
					if o := b.hook(t, "prestart"); o.code != 0 {
						t.Fatalf("prestart: %d, %s", o.code, o.said)
					}
				}
				for i, name := range []string{"control", "by/pcm", "by/deep/seq"} {
					node(t, filepath.Join(h.root, inside, name), fmt.Sprintf("c 0660 0:29 116:%d", i))
					if rule := fmt.Sprintf("c 116:%d %s\n", i, c.may); !strings.Contains(h.allowed(t), rule) {
						t.Errorf("it may use\n%s, want %s", h.allowed(t), rule)
					}
				}
				for _, name := range []string{"link", "file", "fifo", "empty", "mounted", "by/folder"} {
					gone(t, filepath.Join(h.root, inside, name))
				}
				if !runs {
					if o := b.hook(t, "poststop"); o.code != 0 {
						t.Fatalf("poststop: %d, %s", o.code, o.said)
					}
					return
				}
				if o := b.tool(t, "remove-device", h.id, ":"+inside+"/by/pcm"); o.code != 0 {
					t.Errorf("one is removed: %d, %s", o.code, o.said)
				}
				gone(t, filepath.Join(h.root, inside, "by/pcm"))
				node(t, filepath.Join(h.root, inside, "control"), "c 0660 0:29 116:0")
			})
		}
	}
}

func TestOfADirectoryWhatCannotBeAddedIsTold(t *testing.T) {
	dir := sound(t)
	h := hold(t, nil)
	b := inBundle(t, h, "")
	write(t, h.root+"/dev/s/control", "image")
	write(t, h.root+"/dev/s/by/deep", "image")
	o := b.tool(t, "add-device", h.id, dir+":/dev/s")
	for _, want := range []string{"make node /dev/s/control: the path already exists", "by/deep", "Add device (" + dir + "/by/pcm)"} {
		if o.code != 1 || !strings.Contains(o.said, want) {
			t.Errorf("%d, %q, want %q", o.code, o.said, want)
		}
	}
	if got := b.devices(t); got != dir+"/by/pcm:/dev/s/by/pcm:rwm (116:1)" {
		t.Errorf("recorded are %s", got)
	}
}

func TestADirectoryOfTooManyDevicesChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "many")
	must(t, os.Mkdir(dir, 0o755))
	for i := range devices.MaxInFolder {
		must(t, sandbox.Mknod(fmt.Sprintf("%s/%d", dir, i), unix.S_IFCHR|0o600, 116, uint32(i), 0, 0))
	}
	h := hold(t, nil)
	b := inBundle(t, h, "")
	b.stopped(t)
	add := func(arg string) outcome { return b.tool(t, "add-device", h.id, arg) }
	if o := add("/dev/zero"); o.code != 0 {
		t.Fatalf("%d, %s", o.code, o.said)
	}
	before := b.devices(t)
	if o := add(dir); o.code != 1 || !strings.Contains(o.said, "may have 128 in all, and has 1") {
		t.Errorf("with one that it has: %d, %q, want it refused by the limit", o.code, o.said)
	}
	must(t, sandbox.Mknod(dir+"/more", unix.S_IFCHR|0o600, 116, 200, 0, 0))
	if o := add(dir); o.code != 1 || !strings.Contains(o.said, "more than 128 devices") {
		t.Errorf("of 129: %d, %q, want it refused by the limit", o.code, o.said)
	}
	for _, none := range []string{t.TempDir(), "/"} {
		if o := add(none); o.code != 1 || !strings.Contains(o.said, "not a device") {
			t.Errorf("%s, of none: %d, %q", none, o.code, o.said)
		}
	}
	must(t, os.Rename(dir+"/more", dir+"/a:b"))
	must(t, os.Remove(dir+"/0"))
	if o := add(dir); o.code != 1 || !strings.Contains(o.said, `"a:b"`) {
		t.Errorf("of one that has no name in a record: %d, %q", o.code, o.said)
	}
	if after := b.devices(t); after != before {
		t.Errorf("recorded are\n%s\nwant\n%s", after, before)
	}
}

func TestTheDisksOfADirectoryAreFollowedOnce(t *testing.T) {
	p := plug(t)
	var major, minor uint32
	_, err := fmt.Sscanf(p.cut(t, 1), "%d:%d", &major, &minor)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "disks")
	must(t, os.Mkdir(dir, 0o755))
	must(t, sandbox.Mknod(dir+"/"+p.name, unix.S_IFBLK|0o600, 7, uint32(p.minor), 0, 0))
	must(t, sandbox.Mknod(dir+"/"+p.part(1), unix.S_IFBLK|0o600, major, minor, 0, 0))
	h := hold(t, nil)
	b := inBundle(t, h, "")
	b.stopped(t)
	if o := b.tool(t, "add-device", "--follow-partition", h.id, dir+":/dev/d"); o.code != 0 || strings.Count(o.said, "Add device (") != 2 {
		t.Errorf("%d, %s", o.code, o.said)
	}
	must(t, sandbox.Mknod(dir+"/null", unix.S_IFCHR|0o600, 1, 3, 0, 0))
	if o := b.tool(t, "add-device", "--follow-partition", h.id, dir+":/dev/e"); o.code != 1 || !strings.Contains(o.said, "Char device "+dir+"/null not support follow partition") {
		t.Errorf("with a character device: %d, %s", o.code, o.said)
	}
}
