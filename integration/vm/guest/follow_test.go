//go:build vmguest

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rounds is how often each device comes and goes: make test-follow has more.
func rounds(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("FOLLOW_ROUNDS"))
	if err != nil {
		return 2
	}
	return n
}

// times are how long the two containers waited since the kernel told.
type times map[string][]time.Duration

func (l times) note(what string, container int, took int64) {
	what = [...]string{"plain, ", "user namespace, "}[container] + what
	l[what] = append(l[what], time.Duration(took))
}

func (l times) log(t *testing.T) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(l)) {
		list := slices.Sorted(slices.Values(l[what]))
		t.Logf("from the kernel's event, %s: median %v, worst %v of %d", what, list[len(list)/2], list[len(list)-1], len(list))
	}
}

// mayNot requires that a container cannot use a device of the host's by any node: one
// is made for it.
func (c *container) mayNot(t *testing.T, host string) {
	t.Helper()
	st := stat(t, host)
	pid, err := c.runc.Pid(c.id)
	if err != nil {
		t.Fatal(err)
	}
	node := fmt.Sprintf("/proc/%d/root/dev/copy", pid)
	switch err := unix.Mknod(node, st.Mode&unix.S_IFMT|0o666, int(st.Rdev)); {
	case errors.Is(err, unix.EOVERFLOW):
		return // no node works there: the container has a user namespace
	case err != nil:
		t.Fatal(err)
	}
	defer os.Remove(node)
	if _, err := c.asks(question{Path: "/dev/copy"}); err == nil {
		t.Errorf("container %s can use %s, which is not its own", c.id[:8], host)
	}
}

// usb makes a USB controller, and the back ends of serial adapters, once.
func usb(t *testing.T) {
	t.Helper()
	load(t, "xhci_pci")
	load(t, "ftdi_sio")
	plug(t, "qemu-xhci", "xhci", nil)
	t.Cleanup(func() { unplug(t, "xhci") })
}

// backends counts those of adapters: QEMU lets go of one long after its adapter.
var backends int

// adapter plugs a serial adapter in, and waits for its link.
func adapter(t *testing.T, serial string, more map[string]any) {
	t.Helper()
	backends++
	backend := fmt.Sprintf("serial%d", backends)
	qmp(t, "chardev-add", map[string]any{"id": backend, "backend": map[string]any{"type": "null", "data": map[string]any{}}})
	options := map[string]any{"chardev": backend, "bus": "xhci.0", "serial": serial, "always-plugged": true}
	for k, v := range more {
		options[k] = v
	}
	plug(t, "usb-serial", serial, options)
	within(t, 3*patience, "udevd has the link of "+serial, func() bool {
		_, err := os.Stat(byID(serial))
		return err == nil
	})
}

func pullAdapter(t *testing.T, serial string) {
	t.Helper()
	unplug(t, serial)
	unlinked(t, serial)
}

// unlinked waits until udevd has noticed that an adapter is gone.
func unlinked(t *testing.T, serial string) {
	t.Helper()
	within(t, 3*patience, "the link of "+serial+" is gone", func() bool {
		_, err := os.Lstat(byID(serial))
		return os.IsNotExist(err)
	})
}

// away is loses of one of many devices that go at once.
func (c *container) away(t *testing.T, path string) {
	t.Helper()
	if _, err := c.asks(question{Path: path, Gone: true, Limit: 6 * patience}); err != nil {
		t.Fatal(err)
	}
}

// back is gets of one of many devices that come at once.
func (c *container) back(t *testing.T, path, host string) {
	t.Helper()
	if _, err := c.asks(question{Path: path, Rdev: stat(t, host).Rdev, Limit: 6 * patience}); err != nil {
		t.Fatal(err)
	}
}

func byID(serial string) string {
	return "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_" + serial + "-if00-port0"
}

// nodeOf is the kernel's name of what a link of the host leads to.
func nodeOf(t *testing.T, link string) string {
	t.Helper()
	to, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(to)
}

func TestSystemdFollowSerialAdaptersThatSwapTheirNumbers(t *testing.T) {
	usb(t)
	adapter(t, "FTA", nil)
	containers := twoContainers(t, map[string]string{byID("FTA"): "/dev/modem"})
	heard := listen(t)
	waited := times{}
	for range rounds(t) {
		name := nodeOf(t, byID("FTA"))
		pullAdapter(t, "FTA")
		since := heard.at(t, "remove "+name)
		for i, c := range containers {
			waited.note("gone", i, c.loses(t, "/dev/modem")-since)
		}
		adapter(t, "FTB", nil) // another takes the number
		settle(t)
		if is := nodeOf(t, byID("FTB")); is != name {
			t.Fatalf("the other adapter is %s, want the name %s", is, name)
		}
		for _, c := range containers {
			c.loses(t, "/dev/modem")
			c.mayNot(t, byID("FTB"))
		}
		adapter(t, "FTA", nil)
		since = heard.at(t, "add "+nodeOf(t, byID("FTA")))
		for i, c := range containers {
			waited.note("usable", i, c.gets(t, "/dev/modem", byID("FTA"))-since)
			c.mayNot(t, byID("FTB"))
		}
		pullAdapter(t, "FTB")
		pullAdapter(t, "FTA")
		for _, c := range containers {
			c.loses(t, "/dev/modem")
		}
		adapter(t, "FTA", nil) // by the number of before
		for _, c := range containers {
			c.gets(t, "/dev/modem", byID("FTA"))
		}
	}
	waited.log(t)
	for _, c := range containers {
		c.stop()
	}
	pullAdapter(t, "FTA")
}

func TestSystemdFollowAHubThatIsPulledWithFourAdapters(t *testing.T) {
	usb(t)
	serials := []string{"HA", "HB", "HC", "HD"}
	paths := map[string]string{}
	plugHub := func() {
		plug(t, "usb-hub", "hub", map[string]any{"bus": "xhci.0", "port": "1"})
		for i, serial := range serials {
			adapter(t, serial, map[string]any{"port": fmt.Sprintf("1.%d", i+1)})
			paths[byID(serial)] = "/dev/modem-" + serial
		}
	}
	plugHub()
	containers := twoContainers(t, paths)
	for range rounds(t) {
		unplug(t, "hub")
		for _, c := range containers {
			for _, path := range paths {
				c.away(t, path)
			}
		}
		for _, serial := range serials {
			unlinked(t, serial)
		}
		plugHub()
		for _, c := range containers {
			for host, path := range paths {
				c.back(t, path, host)
			}
		}
	}
	for _, c := range containers {
		c.stop()
	}
	unplug(t, "hub")
	for _, serial := range serials {
		unlinked(t, serial)
	}
}

// volume makes a volume as LVM does, with its kind of uuid.
func volume(t *testing.T, name, uuid, on string) {
	t.Helper()
	run(t, "0 16384 linear "+on+" 0\n", "dmsetup", "create", name, "--uuid", uuid)
	within(t, patience, "the volume "+name, func() bool { return isBlock("/dev/mapper/" + name) })
}

// volumesComeAndGo has volumes take each other's numbers and names.
func volumesComeAndGo(t *testing.T) {
	load(t, "dm_mod")
	run(t, "", "modprobe", "brd", "rd_nr=2", "rd_size=8192")
	t.Cleanup(func() {
		settle(t)
		run(t, "", "modprobe", "-r", "--wait", "5000", "brd")
	})
	mark(t, "/dev/ram0", "ours")
	mark(t, "/dev/ram1", "theirs")
	const ours, lv = "LVM-ours", "/dev/mapper/vg-lv"
	volume(t, "vg-lv", ours, "/dev/ram0")
	containers := twoContainers(t, map[string]string{lv: "/dev/data"})
	read := func(want string) {
		t.Helper()
		for _, c := range containers {
			c.gets(t, "/dev/data", lv)
			if a, err := c.asks(question{Path: "/dev/data"}); err != nil || !bytes.HasPrefix(a.Data, []byte(want)) {
				t.Errorf("the container reads %q, %v, want %s", a.Data, err, want)
			}
		}
	}
	read("ours")
	heard := listen(t)
	waited := times{}
	for range rounds(t) {
		name := nodeOf(t, lv)
		run(t, "", "dmsetup", "remove", "vg-lv")
		since := heard.at(t, "remove "+name)
		for i, c := range containers {
			waited.note("gone", i, c.loses(t, "/dev/data")-since)
		}
		for _, other := range []string{"vg-other", "vg-lv"} { // its number, and then its name, too
			volume(t, other, "LVM-theirs", "/dev/ram1")
			settle(t)
			if is := nodeOf(t, "/dev/mapper/"+other); is != name {
				t.Fatalf("the other volume is %s, want %s", is, name)
			}
			for _, c := range containers {
				c.loses(t, "/dev/data")
				c.mayNot(t, "/dev/mapper/"+other)
			}
			run(t, "", "dmsetup", "remove", other)
			settle(t)
		}
		volume(t, "vg-lv", ours, "/dev/ram0")
		since = heard.at(t, "change "+nodeOf(t, lv))
		for i, c := range containers {
			waited.note("usable", i, c.gets(t, "/dev/data", lv)-since)
		}
		read("ours")
	}
	waited.log(t)
	for _, c := range containers {
		c.stop()
	}
	settle(t)
	run(t, "", "dmsetup", "remove", "--retry", "vg-lv")
}

func TestSystemdFollowVolumesThatTakeEachOthersNumberAndName(t *testing.T) { volumesComeAndGo(t) }

func TestFollowVolumesUnderABareUdevd(t *testing.T) {
	bareUdevd(t)
	volumesComeAndGo(t)
}

func TestSystemdFollowAnArray(t *testing.T) {
	load(t, "raid1")
	run(t, "", "modprobe", "brd", "rd_nr=2", "rd_size=8192")
	t.Cleanup(func() {
		settle(t)
		run(t, "", "modprobe", "-r", "--wait", "5000", "brd")
	})
	// Monitoring arrays without anybody to tell fails.
	systemctl(t, "mask", "--runtime", "mdmonitor.service")
	run(t, "", "mdadm", "--create", "/dev/md9", "--run", "--assume-clean", "--level=1", "--metadata=1.2", "--raid-devices=2", "/dev/ram0", "/dev/ram1")
	settle(t)
	containers := twoContainers(t, map[string]string{"/dev/md9": "/dev/data"})
	for range rounds(t) {
		run(t, "", "mdadm", "--stop", "/dev/md9")
		for _, c := range containers {
			c.away(t, "/dev/data")
		}
		run(t, "", "mdadm", "--assemble", "/dev/md9", "/dev/ram0", "/dev/ram1")
		for _, c := range containers {
			c.back(t, "/dev/data", "/dev/md9")
		}
	}
	for _, c := range containers {
		c.stop()
	}
	settle(t)
	run(t, "", "mdadm", "--stop", "/dev/md9")
}

// The other disk has the same table, as who writes a disk can have it.
func TestSystemdFollowAPartitionWithoutItsDisk(t *testing.T) {
	in := func(backend string) string {
		return newDisk(t, func() { plug(t, "virtio-blk-pci", backend, map[string]any{"drive": backend, "serial": backend}) })
	}
	const table = "label: gpt\nstart=2048, size=8192, uuid=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n"
	const link = "/dev/disk/by-partuuid/0fc63daf-8483-4772-8e79-3d69d8477de4"
	ours := in("hot0")
	run(t, table, "sfdisk", "-q", "/dev/"+ours)
	settle(t)
	mark(t, link, "ours")
	containers := twoContainers(t, map[string]string{link: "/dev/data"})
	for range rounds(t) {
		unplug(t, "hot0")
		for _, c := range containers {
			c.loses(t, "/dev/data")
		}
		other := in("hot1")
		run(t, table, "sfdisk", "-q", "/dev/"+other)
		settle(t)
		if is := nodeOf(t, link); is != partition(ours, 1) {
			t.Fatalf("the other partition is %s, want %s", is, partition(ours, 1))
		}
		for _, c := range containers {
			c.loses(t, "/dev/data")
			c.mayNot(t, link)
		}
		unplug(t, "hot1")
		settle(t)
		in("hot0")
		for _, c := range containers {
			within(t, patience, "the link", func() bool { return isBlock(link) })
			c.gets(t, "/dev/data", link)
			if a, err := c.asks(question{Path: "/dev/data"}); err != nil || !bytes.HasPrefix(a.Data, []byte("ours")) {
				t.Errorf("the container reads %q, %v of its partition", a.Data, err)
			}
		}
	}
	for _, c := range containers {
		c.stop()
	}
	unplug(t, "hot0")
	if text, err := os.ReadFile(rulesFile); err == nil && strings.Contains(string(text), "by-partuuid") || err != nil && !os.IsNotExist(err) {
		t.Errorf("rules are left: %v\n%s", err, text)
	}
}
