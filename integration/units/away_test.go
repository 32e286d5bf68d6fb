package units

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
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

// A name that is written on a disk is that of the first which comes with it.
func TestADeviceThatWasAwayIsBoundToTheFirstThatComes(t *testing.T) {
	is, impostor := plug(t), plug(t)
	const link = "/dev/disk/by-uuid/test-away"
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	h, b := withRules(t, "")
	if o := b.tool(t, "add-device", "--optional", h.id, link+":/dev/x:rw"); o.code != 0 {
		t.Fatalf("add-device: %d, %s", o.code, o.said)
	}
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir, target: h.target(t, hostOwner)}
	for _, step := range []struct {
		name string
		has  *plugged
		want map[string]string
	}{
		{"it comes", is, map[string]string{"/dev/x": fmt.Sprintf("7:%d", is.minor)}},
		{"it goes", nil, map[string]string{}},
		{"another comes", impostor, map[string]string{}},
		{"it is back", is, map[string]string{"/dev/x": fmt.Sprintf("7:%d", is.minor)}},
	} {
		t.Run(step.name, func(t *testing.T) {
			repoint(t, link, step.has)
			box.t = t
			box.do("/dev/x", cmp.Or(step.has, is).name)
			box.has(step.want)
		})
	}
}

func TestADeviceIsNotAddedAgainAsAnother(t *testing.T) {
	is, impostor := plug(t), plug(t)
	const link = "/dev/disk/by-label/test-again"
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	repoint(t, link, is)
	h, b := withRules(t, "")
	add := func(want int, says string) {
		t.Helper()
		if o := b.tool(t, "add-device", "--optional", h.id, link+":/dev/x:rw"); o.code != want || !strings.Contains(o.said, says) {
			t.Errorf("add-device: %d, %s, want %d, %s", o.code, o.said, want, says)
		}
	}
	add(0, "done")
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir, target: h.target(t, hostOwner)}
	repoint(t, link, impostor)
	add(1, "is another device now")
	box.has(map[string]string{})
	repoint(t, link, is)
	add(0, "done")
	box.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", is.minor)})
}

// Two disks say that they are the same: udevd gives the link to one, and remembers that
// both want it.
func TestAnotherDiskThatSaysItIsOursDoesNotTakeItsPlace(t *testing.T) {
	is, impostor := plug(t), plug(t)
	const link = "/dev/disk/by-id/wwn-0x5"
	must(t, os.MkdirAll("/run/udev/data", 0o755))
	wants := fmt.Sprintf("/run/udev/data/b7:%d", is.minor)
	write(t, wants, "S:disk/by-path/pci-0\nS:disk/by-id/wwn-0x5\n")
	t.Cleanup(func() {
		must(t, os.RemoveAll("/dev/disk"))
		must(t, os.RemoveAll("/run/udev/data"))
	})
	repoint(t, link, is)
	b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{is.record(link, "/dev/x", "rw")}}, pivoted)
	b.start()
	own := map[string]string{"/dev/x": fmt.Sprintf("7:%d", is.minor)}
	b.has(own)
	repoint(t, link, impostor)
	b.do("/dev/x", impostor.name)
	b.has(own)
	must(t, os.Remove(wants)) // ours has another name now
	b.do("/dev/x", impostor.name)
	b.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", impostor.minor)})
}
