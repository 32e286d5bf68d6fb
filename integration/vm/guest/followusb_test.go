//go:build vmguest

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// usb makes a USB controller.
func usb(t *testing.T) {
	t.Helper()
	load(t, "xhci_pci", "ftdi_sio", "usb_storage", "sd_mod")
	plug(t, "qemu-xhci", "xhci", map[string]any{"p2": 8})
	t.Cleanup(func() { unplug(t, "xhci") })
}

// backends counts those of adapters: QEMU lets go of one long after its adapter.
var backends int

// ports are the adapters'. Any other may be one of a hub's, and go with that.
var ports = map[string]string{"FTA": "5", "FTB": "6", "SA": "5", "SB": "6", "HA": "8.1", "HB": "8.2", "HC": "8.3", "HD": "8.4"}

// plugUSB plugs a device in and waits until it is there. Where a machine that is short of processors
// answers the kernel too late, that gives the device up: it is plugged in once more.
func plugUSB(t *testing.T, id, what string, attach func(), there func() bool) {
	t.Helper()
	attach()
	for end := time.Now().Add(2 * patience); !there(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			out, _ := exec.Command("sh", "-c", "dmesg | tail -n 20").CombinedOutput()
			t.Logf("not within %v: %s; plugged in once more. The kernel says\n%s", 2*patience, what, out)
			unplug(t, id)
			attach()
			break
		}
	}
	within(t, 3*patience, what, there)
}

// adapter plugs a serial adapter in, and waits for its link.
func adapter(t *testing.T, serial string) {
	t.Helper()
	plugUSB(t, serial, "udevd has the link of "+serial, func() {
		backends++
		backend := fmt.Sprintf("serial%d", backends)
		qmp(t, "chardev-add", map[string]any{"id": backend, "backend": map[string]any{"type": "null", "data": map[string]any{}}})
		plug(t, "usb-serial", serial, map[string]any{
			"chardev": backend, "bus": "xhci.0", "port": ports[serial], "serial": serial, "always-plugged": true,
		})
	}, func() bool {
		_, err := os.Stat(adapterLink(serial))
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
		_, err := os.Lstat(adapterLink(serial))
		return os.IsNotExist(err)
	})
}

func adapterLink(serial string) string {
	return "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_" + serial + "-if00-port0"
}

// serialAdapter is one of two that swap their numbers.
func serialAdapter(t *testing.T) followed {
	adapter(t, "FTA")
	f := followed{name: "serial adapter", came: "add", paths: map[string]string{adapterLink("FTA"): "/dev/modem"}}
	f.round = func(t *testing.T, w *witnesses) {
		name := nodeOf(t, adapterLink("FTA"))
		w.lose(t, f.paths, func() { pullAdapter(t, "FTA") })
		adapter(t, "FTB") // another takes the number
		settle(t)
		if is := nodeOf(t, adapterLink("FTB")); is != name {
			t.Fatalf("the other adapter is %s, want the name %s", is, name)
		}
		w.haveNone(t, f.paths)
		w.mayNot(t, adapterLink("FTB"))
		w.get(t, f.paths, func() { adapter(t, "FTA") })
		w.mayNot(t, adapterLink("FTB"))
		pullAdapter(t, "FTB")
		w.lose(t, f.paths, func() { pullAdapter(t, "FTA") })
		w.get(t, f.paths, func() { adapter(t, "FTA") }) // by the number of before
	}
	return f
}

// hubOfAdapters is pulled with four of them.
func hubOfAdapters(t *testing.T) followed {
	serials := []string{"HA", "HB", "HC", "HD"}
	f := followed{name: "hub", came: "add", paths: map[string]string{}}
	plugHub := func(t *testing.T) {
		plugUSB(t, "hub", "the kernel has the hub", func() {
			plug(t, "usb-hub", "hub", map[string]any{"bus": "xhci.0", "port": "8"})
		}, func() bool {
			hubs, err := filepath.Glob("/sys/bus/usb/devices/*-8/driver") // of the port
			return err == nil && len(hubs) > 0
		})
		for _, serial := range serials {
			adapter(t, serial)
		}
	}
	plugHub(t)
	for _, serial := range serials {
		f.paths[adapterLink(serial)] = "/dev/modem-" + serial
	}
	f.round = func(t *testing.T, w *witnesses) {
		w.lose(t, f.paths, func() {
			unplug(t, "hub")
			for _, serial := range serials {
				unlinked(t, serial)
			}
		})
		w.get(t, f.paths, func() { plugHub(t) })
	}
	return f
}

// selectedAdapter is one of two adapters of one kind, whose numbers are swapped.
func selectedAdapter(t *testing.T) followed {
	adapter(t, "SA")
	f := followed{name: "adapter by a selector", came: "add", selector: "usb:0403:6001:SA:/dev/selected"}
	paths := map[string]string{adapterLink("SA"): "/dev/selected"}
	other := false // the other one is plugged in first
	f.round = func(t *testing.T, w *witnesses) {
		w.lose(t, paths, func() { pullAdapter(t, "SA") })
		settle(t) // what comes waits for what went
		if other {
			adapter(t, "SB")
			settle(t)
			w.haveNone(t, paths)
		}
		w.get(t, paths, func() { adapter(t, "SA") })
		if !other {
			adapter(t, "SB")
			settle(t)
		}
		w.mayNot(t, adapterLink("SB"))
		w.lose(t, paths, func() { pullAdapter(t, "SA") })
		w.mayNot(t, adapterLink("SB"))
		pullAdapter(t, "SB")
		settle(t)
		w.get(t, paths, func() { adapter(t, "SA") })
		other = !other
	}
	return f
}

// usbDisk is in the containers by a link of its serial number, and by a selector, with its
// partition.
func usbDisk(t *testing.T) followed {
	const link = "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_STICK-0:0"
	f := followed{
		name: "USB disk", came: "add", selector: "usb:46f4:0001:STICK",
		paths: map[string]string{link: "/dev/stick", link + "-part1": "/dev/stick1"},
	}
	stick := func(t *testing.T) string {
		name := newDisk(t, func() {
			plug(t, "usb-storage", "stick", map[string]any{"bus": "xhci.0", "port": "1", "drive": "hot5", "serial": "STICK"})
		})
		within(t, 3*patience, "its link", func() bool { return isBlock(link) })
		return name
	}
	name := stick(t)
	run(t, "label: dos\nstart=2048, size=8192\n", "sfdisk", "-q", "/dev/"+name)
	settle(t)
	for path := range f.paths {
		mark(t, path, "ours")
	}
	selected := func() map[string]string { // those of the host
		return map[string]string{link: "/dev/" + name, link + "-part1": "/dev/" + name + "1"}
	}
	f.round = func(t *testing.T, w *witnesses) {
		gone := selected()
		w.lose(t, f.paths, func() { unplug(t, "stick") })
		w.haveNone(t, gone)
		settle(t)
		w.get(t, f.paths, func() {
			name = stick(t)
			within(t, patience, "the link of its partition", func() bool { return isBlock(link + "-part1") })
		})
		settle(t)
		w.have(t, selected())
		w.read(t, f.paths, "ours")
	}
	return f
}
