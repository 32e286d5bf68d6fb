//go:build vmguest

package guest

import (
	"bytes"
	"os"
	"testing"

	"isula.org/isulad-tools/config"
)

// selects records a selector for the container, beside what is recorded.
func (c *container) selects(t *testing.T, s string) {
	t.Helper()
	doc, err := config.Load(c.dir)
	if err == nil {
		err = config.Put(doc, config.Selectors, []string{s})
	}
	if err == nil {
		err = doc.Save()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// selecting starts a container that has a selector, if one is given, beside devices.
func selecting(t *testing.T, mapped bool, s string, paths map[string]string) *container {
	t.Helper()
	c := newPlugged(t, mapped, paths)
	t.Cleanup(func() {
		if t.Failed() {
			helperLog(t)
		}
	})
	if s != "" {
		c.selects(t, s)
	}
	c.start()
	return c
}

// reads requires what the container reads of a disk to begin with want.
func (c *container) reads(t *testing.T, path, want string) {
	t.Helper()
	if a, err := c.asks(question{Path: path}); err != nil || !bytes.HasPrefix(a.Data, []byte(want)) {
		t.Errorf("the container reads %q, %v of %s, want %s", a.Data, err, path, want)
	}
}

// Two adapters of one kind, whose numbers are swapped; one is the containers'.
func TestSystemdFollowASelectorsAdapterAndNoOther(t *testing.T) {
	usb(t)
	const selector = "usb:0403:6001:SA:/dev/modem"
	containers := []*container{selecting(t, false, selector, nil), selecting(t, true, selector, nil)}
	heard := listen(t)
	waited := times{}
	first, second := "SB", "SA"
	for range rounds(t) {
		for _, serial := range []string{first, second} {
			adapter(t, serial, nil)
			if serial == "SB" {
				settle(t)
			}
			since := heard.at(t, "add "+nodeOf(t, byID(serial)))
			for i, c := range containers {
				if serial == "SA" {
					waited.note("usable", i, c.gets(t, "/dev/modem", byID("SA"))-since)
				} else {
					c.mayNot(t, byID("SB"))
				}
			}
		}
		name := nodeOf(t, byID("SA"))
		pullAdapter(t, "SA")
		since := heard.at(t, "remove "+name)
		for i, c := range containers {
			waited.note("gone", i, c.loses(t, "/dev/modem")-since)
			c.mayNot(t, byID("SB"))
		}
		pullAdapter(t, "SB")
		first, second = second, first
	}
	waited.log(t)
	for _, c := range containers {
		c.stop()
	}
	for _, c := range containers { // nothing of it is where v0.9 would look
		if list := c.recorded(t); len(list) != 0 {
			t.Errorf("recorded are %v", list)
		}
	}
}

// A disk in a container by a link of its serial number, and by a selector, with its partition.
func TestSystemdFollowAUSBDisk(t *testing.T) {
	usb(t)
	load(t, "usb_storage")
	load(t, "sd_mod")
	const link = "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_STICK-0:0"
	stick := func() string {
		name := newDisk(t, func() {
			plug(t, "usb-storage", "stick", map[string]any{"bus": "xhci.0", "drive": "hot0", "serial": "STICK"})
		})
		within(t, 3*patience, "its link", func() bool { return isBlock(link) })
		return name
	}
	name := stick()
	run(t, "label: dos\nstart=2048, size=8192\n", "sfdisk", "-q", "/dev/"+name)
	settle(t)
	mark(t, link, "ours")
	c := selecting(t, false, "usb:46f4:0001:STICK", map[string]string{link: "/dev/data"})
	heard := listen(t)
	waited := times{}
	paths := func() map[string]string { // and those of the host
		return map[string]string{"/dev/data": link, "/dev/" + name: link, "/dev/" + name + "1": link + "-part1"}
	}
	for range rounds(t) {
		for path, host := range paths() {
			c.back(t, path, host)
		}
		c.reads(t, "/dev/data", "ours")
		unplug(t, "stick")
		since := heard.at(t, "remove "+name)
		waited.note("gone", 0, c.loses(t, "/dev/data")-since)
		for path := range paths() {
			c.away(t, path)
		}
		settle(t)
		name = stick()
		settle(t)
	}
	waited.log(t)
	c.stop()
	unplug(t, "stick")
}

// Two paths to one disk, of which one is pulled. What multipathd does to the table is done
// by hand.
func TestSystemdFollowAMultipathDiskOfWhichOnePathIsPulled(t *testing.T) {
	load(t, "dm_multipath")
	load(t, "dm_round_robin")
	in := func(backend string) string {
		return newDisk(t, func() { plug(t, "virtio-blk-pci", backend, map[string]any{"drive": backend, "serial": backend}) })
	}
	names := []string{in("hot0"), in("hot1")}
	for _, name := range names {
		mark(t, "/dev/"+name, "ours")
	}
	settle(t)
	table := func(paths ...string) string {
		text := "0 16384 multipath 0 0 1 1 round-robin 0 " + string(rune('0'+len(paths))) + " 1"
		for _, p := range paths {
			text += " /dev/" + p + " 1"
		}
		return text + "\n"
	}
	const disk = "/dev/mapper/mpatha"
	run(t, table(names...), "dmsetup", "create", "mpatha", "--uuid", "mpath-ours")
	within(t, patience, "the disk", func() bool { return isBlock(disk) })
	reload := func(paths ...string) {
		t.Helper()
		run(t, table(paths...), "dmsetup", "reload", "mpatha")
		run(t, "", "dmsetup", "resume", "mpatha")
		settle(t)
	}
	c := selecting(t, false, "", map[string]string{disk: "/dev/data"})
	reads := func() {
		t.Helper()
		c.gets(t, "/dev/data", disk)
		c.reads(t, "/dev/data", "ours")
	}
	for range rounds(t) {
		reads()
		unplug(t, "hot1")
		reads()
		reload(names[0])
		reads()
		names[1] = in("hot1")
		reload(names...)
	}
	reads()
	run(t, "", "dmsetup", "remove", "--retry", "mpatha")
	c.away(t, "/dev/data")
	c.stop()
	for _, backend := range []string{"hot0", "hot1"} {
		unplug(t, backend)
	}
	if text, err := os.ReadFile(rulesFile); err == nil && bytes.Contains(text, []byte("mpatha")) {
		t.Errorf("rules are left:\n%s", text)
	}
}
