package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
)

func TestAnOptionalDeviceThatIsAwayIsGivenWhenItComes(t *testing.T) {
	host := newAdapters(t)
	h, b := withRules(t, "")
	if o := b.tool(t, "add-device", h.id, ours+":/dev/modem:rw"); o.code != 1 || !strings.Contains(o.said, "no such file or directory") {
		t.Errorf("add-device: %d, %s, want it refused", o.code, o.said)
	}
	o := b.tool(t, "add-device", "--optional", h.id, ours+":/dev/modem:rw")
	if o.code != 0 || !strings.Contains(o.said, "the container gets it when it appears") {
		t.Fatalf("add-device: %d, %s", o.code, o.said)
	}
	if text := read(t, rules); !strings.Contains(text, `SYMLINK=="serial/by-id/usb-Ours-if00"`) {
		t.Errorf("the rules are %s", text)
	}
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir, target: h.target(t, hostOwner)}
	box.modem(-1)
	host.plug(3, true)
	box.do("/dev/modem", "ttyUSB3")
	box.modem(3)
	if got := box.records(); got != "/dev/modem="+ours+"<(rw)188:3" {
		t.Errorf("recorded %s", got)
	}
	// Removed while it is away, nothing of it is left.
	host.pull(3)
	box.do("/dev/modem", "ttyUSB3")
	box.modem(-1)
	if o := b.tool(t, "remove-device", h.id, ours); o.code != 0 {
		t.Errorf("remove-device: %d, %s", o.code, o.said)
	}
	gone(t, h.root+"/dev/modem")
}

func TestALimitOfADeviceThatIsAwayIsKeptForItsReturn(t *testing.T) {
	was, is := plug(t), plug(t)
	const link = "/dev/disk/by-id/test-ours"
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	h := hold(t, nil, pivoted)
	b := inBundle(t, h, asJSON(t, map[string]any{"deviceToAdd": []any{was.record(link, "/dev/x", "rw")}}))
	fakeProgram(t, "udevadm", "")
	blkio := "/sys/fs/cgroup/blkio" + h.cgroup
	must(t, os.MkdirAll(blkio, 0o755))
	file := blkio + "/blkio.throttle.read_bps_device"
	update := func(path, value string, want int) {
		t.Helper()
		if o := b.tool(t, "update-device", "--device-read-bps", path+":"+value, h.id); o.code != want {
			t.Errorf("update-device %s: %d, %s, want %d", value, o.code, o.said, want)
		}
		if got := read(t, file); got != "" {
			t.Errorf("%s is limited, whose number it may be: %s", path, got)
		}
	}
	recorded := func(want string) {
		t.Helper()
		if got := read(t, filepath.Join(b.dir, config.Name)); strings.Contains(got, "readBps") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("recorded %s, want %s", got, want)
		}
	}
	update("/dev/disk/by-id/another", "1m", 1) // not the container's
	recorded("")
	update(link, "1m", 0)
	update(link, "2m", 0)
	recorded(`"value":"2097152"`)
	update(link, "0", 0)
	recorded("")
	update(link, "3m", 0)
	repoint(t, link, is)
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir, target: h.target(t, hostOwner)}
	box.do("/dev/x", is.name)
	if got, want := read(t, file), fmt.Sprintf("7:%d 3145728\n", is.minor); got != want {
		t.Errorf("limited is %q, want %q", got, want)
	}
}
