package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// bound is the identity that a new record by a path below /dev has.
func bound(t testing.TB, path string) string {
	t.Helper()
	d, err := devices.FromNode(path)
	must(t, err)
	return d.Bind().Identity
}

func TestANameThatIsWrittenOnADiskIsBoundToTheDiskThatHadIt(t *testing.T) {
	p := plug(t)
	p.cut(t, 1)
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	file := strings.TrimSpace(read(t, "/sys/block/"+p.name+"/loop/backing_file"))
	for _, c := range []struct{ link, to, want string }{
		{"by-uuid/1234", p.name, "loop:" + file},
		{"by-label/data", p.name, "loop:" + file},
		{"by-partuuid/1-01", p.part(1), "loop:" + file + "#1"},
		{"by-partlabel/data", p.part(1), "loop:" + file + "#1"},
		{"by-id/lvm-pv-uuid-x", p.name, "loop:" + file},
		{"by-id/dm-name-x", p.name, "loop:" + file},
		{"by-id/wwn-0x5", p.name, ""},
		{"by-path/pci-0000", p.name, ""},
	} {
		t.Run(c.link, func(t *testing.T) {
			link := "/dev/disk/" + c.link
			must(t, os.MkdirAll(filepath.Dir(link), 0o755))
			must(t, os.Symlink("../../"+c.to, link))
			if got := bound(t, link); got != c.want {
				t.Errorf("bound to %q, want %q", got, c.want)
			}
		})
	}
	if got := bound(t, "/dev/"+p.name); got != "" {
		t.Errorf("the kernel's name is bound to %q", got)
	}
}

func TestAnotherDiskUnderTheNameIsNotGiven(t *testing.T) {
	either(t, func(t *testing.T, options ...option) {
		is, impostor := plug(t), plug(t)
		const link = "/dev/disk/by-uuid/test-written"
		repoint(t, link, is)
		t.Cleanup(func() { os.RemoveAll("/dev/disk") })
		record := is.record(link, "/dev/x", "rw")
		record.Identity = bound(t, link)
		b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{record}}, options...)
		b.start()
		own := map[string]string{"/dev/x": fmt.Sprintf("7:%d", is.minor)}
		b.has(own)
		for range 2 {
			repoint(t, link, impostor)
			b.do("/dev/x", impostor.name)
			b.has(map[string]string{})
			repoint(t, link, is)
			b.do("/dev/x", is.name)
			b.has(own)
		}

		// A start says why.
		repoint(t, link, impostor)
		doc, err := config.Load(b.dir)
		must(t, err)
		plan, err := devices.Kind.Restore(doc)
		must(t, err)
		err = plan.Do(t.Context(), b.target, func(err error) { t.Error(err) })
		if err == nil || !strings.Contains(err.Error(), "is another device now: it is loop:") {
			t.Errorf("a start: %v, want it refused", err)
		}
	})
}

func TestADeviceThatAContainerCouldChooseIsRefused(t *testing.T) {
	top := t.TempDir()
	data := filepath.Join(top, "data")
	must(t, os.MkdirAll(filepath.Join(data, "sub"), 0o755))
	must(t, os.Symlink("/dev/null", filepath.Join(data, "link")))
	must(t, os.Symlink("/dev/null", filepath.Join(top, "operators")))
	must(t, os.Symlink("data/link", filepath.Join(top, "twice")))
	must(t, sandbox.Mknod(filepath.Join(data, "sub/node"), unix.S_IFCHR|0o660, 1, 3, 0, 0))
	bind := `"bindToAdd":["` + data + `:/data:rw"]`
	fakeProgram(t, "udevadm", "")
	for name, c := range map[string]struct{ path, want string }{
		"a link":             {filepath.Join(data, "link"), "may write, so it is not followed"},
		"a link to a link":   {filepath.Join(top, "twice"), "may write, so it is not followed"},
		"a node":             {filepath.Join(data, "sub/node"), "could be any device"},
		"an operator's link": {filepath.Join(top, "operators"), ""},
		"udev's node":        {"/dev/null", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, nil, pivoted)
			b := inBundle(t, h, "{"+bind+"}")
			o := b.tool(t, "add-device", h.id, c.path+":/dev/x")
			if (o.code == 0) != (c.want == "") || !strings.Contains(o.said, c.want) {
				t.Errorf("add-device: %d, %s, want %q", o.code, o.said, c.want)
			}
			// It may have been recorded before the container could write there.
			h = hold(t, nil)
			b = inBundle(t, h, `{"deviceToAdd":[{"Type":"c","Major":1,"Minor":3,"PathOnHost":"`+c.path+`","PathInContainer":"/dev/x"}],`+bind+"}")
			state := map[string]any{"id": h.id, "pid": h.pid, "bundle": b.dir, "root": h.image}
			code, stderr := stage(t, "prestart", state)
			if (code == 0) != (c.want == "") || !strings.Contains(stderr, c.want) {
				t.Errorf("a start: %d, %s, want %q", code, stderr, c.want)
			}
			if code, stderr := stage(t, "poststop", state); code != 0 {
				t.Errorf("poststop: %d, %s", code, stderr)
			}
		})
	}
}
