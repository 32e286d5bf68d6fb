//go:build vmguest

package guest

import (
	"os"
	"strings"
	"testing"
)

// hotDisk plugs the disk of a back end in by a serial number of that name, and returns its
// kernel name.
func hotDisk(t *testing.T, backend string) string {
	t.Helper()
	return newDisk(t, func() {
		plug(t, "virtio-blk-pci", backend, map[string]any{"drive": backend, "serial": backend})
	})
}

// ramDisks makes /dev/ram0 and so on, of 8 MiB each.
func ramDisks(t *testing.T, number int) {
	t.Helper()
	run(t, "", "modprobe", "brd", "rd_nr="+string(rune('0'+number)), "rd_size=8192")
	t.Cleanup(func() {
		settle(t)
		run(t, "", "modprobe", "-r", "--wait", "5000", "brd")
	})
}

// wholeDisk is what the others are measured by.
func wholeDisk(t *testing.T) followed {
	const link = "/dev/disk/by-id/virtio-hot0"
	f := followed{name: "disk", came: "add", paths: map[string]string{link: "/dev/disk"}}
	plugIn := func(t *testing.T) {
		hotDisk(t, "hot0")
		within(t, patience, "its link", func() bool { return isBlock(link) })
	}
	plugIn(t)
	t.Cleanup(func() { unplug(t, "hot0") })
	mark(t, link, "ours")
	f.round = func(t *testing.T, w *witnesses) {
		w.lose(t, f.paths, func() { unplug(t, "hot0") })
		w.get(t, f.paths, func() { plugIn(t) })
		w.read(t, f.paths, "ours")
	}
	return f
}

// renamedDisk is given by what is written on it, and loses that name while the container
// has it, as one that the container formats.
func renamedDisk(t *testing.T) followed {
	const link = "/dev/disk/by-label/ours"
	f := followed{name: "renamed disk", came: "add", paths: map[string]string{link: "/dev/renamed"}}
	kernels := "/dev/" + hotDisk(t, "hot6")
	t.Cleanup(func() { unplug(t, "hot6") })
	label := func(t *testing.T, name string) {
		t.Helper()
		run(t, "", "mkfs.ext4", "-q", "-F", "-L", name, kernels)
		// Of a closing while it looks at the disk udevd does not hear.
		run(t, "", "udevadm", "trigger", "--settle", "--action=change", kernels)
		within(t, 3*patience, "udevd has heard of it", func() bool { return isBlock("/dev/disk/by-label/" + name) })
	}
	label(t, "ours")
	f.round = func(t *testing.T, w *witnesses) {
		label(t, "theirs")
		within(t, patience, "its name is gone", func() bool { return !isBlock(link) })
		own := map[string]string{kernels: "/dev/renamed"}
		w.have(t, own)
		w.lose(t, own, func() { unplug(t, "hot6") })
		kernels = "/dev/" + hotDisk(t, "hot6")
		settle(t)
		w.get(t, f.paths, func() {
			label(t, "ours")
			run(t, "", "udevadm", "trigger", "--action=add", kernels)
		})
	}
	return f
}

// dm makes a device of the device mapper by a table of so many sectors.
func dm(t *testing.T, name, uuid, target string) {
	t.Helper()
	run(t, "0 16384 "+target+"\n", "dmsetup", "create", name, "--uuid", uuid)
	within(t, patience, "the device "+name, func() bool { return isBlock("/dev/mapper/" + name) })
}

// volume is one as LVM makes it, with its kind of uuid. Others take its number and name.
func volume(t *testing.T) followed {
	load(t, "dm_mod")
	mark(t, "/dev/ram0", "ours")
	mark(t, "/dev/ram1", "theirs")
	const lv = "/dev/mapper/vg-lv"
	f := followed{name: "volume", came: "change", paths: map[string]string{lv: "/dev/volume"}}
	on := func(t *testing.T, name, uuid, disk string) { dm(t, name, uuid, "linear "+disk+" 0") }
	ours := func(t *testing.T) { on(t, "vg-lv", "LVM-ours", "/dev/ram0") }
	ours(t)
	t.Cleanup(func() {
		settle(t)
		run(t, "", "dmsetup", "remove", "--retry", "vg-lv")
	})
	f.round = func(t *testing.T, w *witnesses) {
		name := nodeOf(t, lv)
		w.lose(t, f.paths, func() { run(t, "", "dmsetup", "remove", "--retry", "vg-lv") })
		for _, other := range []string{"vg-other", "vg-lv"} { // its number, and then its name, too
			on(t, other, "LVM-theirs", "/dev/ram1")
			settle(t)
			if is := nodeOf(t, "/dev/mapper/"+other); is != name {
				t.Fatalf("the other volume is %s, want %s", is, name)
			}
			w.haveNone(t, f.paths)
			w.mayNot(t, "/dev/mapper/"+other)
			run(t, "", "dmsetup", "remove", "--retry", other)
			settle(t)
		}
		w.get(t, f.paths, func() { ours(t) })
		w.read(t, f.paths, "ours")
	}
	return f
}

// array is one of md's.
func array(t *testing.T) followed {
	load(t, "raid1")
	if os.Getenv("GUEST_BOOT") == "systemd" { // monitoring arrays without anybody to tell fails
		systemctl(t, "mask", "--runtime", "mdmonitor.service")
	}
	const md, one, two = "/dev/md9", "/dev/ram2", "/dev/ram3"
	f := followed{name: "array", came: "change", paths: map[string]string{md: "/dev/array"}}
	run(t, "", "mdadm", "--create", md, "--run", "--assume-clean", "--level=1", "--metadata=1.2", "--raid-devices=2", one, two)
	mark(t, md, "ours")
	t.Cleanup(func() {
		settle(t)
		run(t, "", "mdadm", "--stop", md)
	})
	f.round = func(t *testing.T, w *witnesses) {
		w.lose(t, f.paths, func() { run(t, "", "mdadm", "--stop", md) })
		w.get(t, f.paths, func() { run(t, "", "mdadm", "--assemble", md, one, two) })
		w.read(t, f.paths, "ours")
	}
	return f
}

// multipathDisk has two paths, of which one is pulled. What multipathd does to the table is
// done by hand.
func multipathDisk(t *testing.T) followed {
	load(t, "dm_multipath", "dm_round_robin")
	const disk = "/dev/mapper/mpatha"
	f := followed{name: "multipath", came: "change", paths: map[string]string{disk: "/dev/multipath"}}
	names := []string{hotDisk(t, "hot1"), hotDisk(t, "hot2")}
	t.Cleanup(func() {
		unplug(t, "hot1")
		unplug(t, "hot2")
	})
	for _, name := range names {
		mark(t, "/dev/"+name, "ours")
	}
	settle(t)
	target := func(paths ...string) string {
		text := "multipath 0 0 1 1 round-robin 0 " + string(rune('0'+len(paths))) + " 1"
		for _, p := range paths {
			text += " /dev/" + p + " 1"
		}
		return text
	}
	create := func(t *testing.T) { dm(t, "mpatha", "mpath-ours", target(names...)) }
	remove := func(t *testing.T) { run(t, "", "dmsetup", "remove", "--retry", "mpatha") }
	create(t)
	t.Cleanup(func() {
		settle(t)
		remove(t)
	})
	reload := func(t *testing.T, paths ...string) {
		t.Helper()
		run(t, "0 16384 "+target(paths...)+"\n", "dmsetup", "reload", "mpatha")
		run(t, "", "dmsetup", "resume", "mpatha")
		settle(t)
	}
	f.round = func(t *testing.T, w *witnesses) {
		unplug(t, "hot2")
		w.read(t, f.paths, "ours")
		reload(t, names[0])
		w.read(t, f.paths, "ours")
		names[1] = hotDisk(t, "hot2")
		reload(t, names...)
		w.have(t, f.paths)
		w.read(t, f.paths, "ours")
		w.lose(t, f.paths, func() { remove(t) })
		w.get(t, f.paths, func() { create(t) })
		w.read(t, f.paths, "ours")
	}
	return f
}

// partitionAlone is one without its disk. The other disk has the same table, as who writes
// a disk can have it.
func partitionAlone(t *testing.T) followed {
	const table = "label: gpt\nstart=2048, size=8192, uuid=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n"
	const link = "/dev/disk/by-partuuid/0fc63daf-8483-4772-8e79-3d69d8477de4"
	f := followed{name: "partition", came: "add", paths: map[string]string{link: "/dev/partition"}}
	ours := hotDisk(t, "hot3")
	run(t, table, "sfdisk", "-q", "/dev/"+ours)
	settle(t)
	mark(t, link, "ours")
	plugged := "hot3"
	t.Cleanup(func() { unplug(t, plugged) })
	impostor := func(t *testing.T) string {
		other := hotDisk(t, "hot4")
		run(t, table, "sfdisk", "-q", "/dev/"+other)
		settle(t)
		return partition(other, 1)
	}
	f.round = func(t *testing.T, w *witnesses) {
		name := nodeOf(t, link)
		own := map[string]string{"/dev/" + name: "/dev/partition"} // whatever has the link
		other := impostor(t)
		w.have(t, own)
		w.read(t, own, "ours")
		w.mayNot(t, "/dev/"+other)
		unplug(t, "hot4")
		settle(t)
		w.have(t, f.paths)

		w.lose(t, f.paths, func() { unplug(t, "hot3") })
		plugged = "hot4"
		impostor(t)
		if is := nodeOf(t, link); is != name {
			t.Fatalf("the other partition is %s, want %s", is, name)
		}
		w.haveNone(t, f.paths)
		w.mayNot(t, link)
		unplug(t, "hot4")
		settle(t)
		w.get(t, f.paths, func() {
			hotDisk(t, "hot3")
			plugged = "hot3"
			within(t, patience, "the link", func() bool { return isBlock(link) && strings.HasPrefix(nodeOf(t, link), ours) })
		})
		w.read(t, f.paths, "ours")
	}
	return f
}
