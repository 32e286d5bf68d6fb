package devices

import "testing"

func TestABusPathHasNothingThatARebootRenumbers(t *testing.T) {
	t.Parallel()
	const pci = "/sys/devices/pci0000:00/0000:00:14.0/"
	for _, c := range []struct{ name, dir, want string }{
		{"usb", pci + "usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sda", "0000:00:14.0/usb/2/2:1.0/host0/0:0:0"},
		{"its other bus and host", pci + "usb3/3-2/3-2:1.0/host9/target9:0:0/9:0:0:0/block/sdb", "0000:00:14.0/usb/2/2:1.0/host0/0:0:0"},
		{"another port", pci + "usb1/1-3/1-3:1.0/host6/target6:0:0/6:0:0:0/block/sda", "0000:00:14.0/usb/3/3:1.0/host0/0:0:0"},
		{"behind a hub", pci + "usb1/1-3/1-3.4/1-3.4:1.0/host6/target6:0:0/6:0:0:1/block/sda", "0000:00:14.0/usb/3/3.4/3.4:1.0/host0/0:0:1"},
		{"scsi", "/sys/devices/pci0000:00/0000:00:1f.0/0000:02:01.0/host2/target2:0:5/2:0:5:1/block/sdc", "0000:02:01.0/host0/0:5:1"},
		{"ata", "/sys/devices/pci0000:00/0000:00:1f.2/ata4/host3/target3:0:0/3:0:0:0/block/sda", "0000:00:1f.2/ata0/host0/0:0:0"},
		{"virtio", "/sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda", "0000:00:05.0/virtio"},
		{"another address", "/sys/devices/vbd-51728/block/xvdb", "vbd-51728"},
		{"mmio", "/sys/devices/virtio-mmio-cmdline/virtio-mmio.1/virtio1/block/vdb", "virtio-mmio-cmdline/virtio-mmio.1/virtio"},
		{"acpi", "/sys/devices/platform/LNRO0005:01/virtio0/block/vdb", "platform/LNRO0005:01/virtio"},
		{"ccw", "/sys/devices/css0/0.0.0001/0.0.1234/virtio3/block/vda", "css0/0.0.0001/0.0.1234/virtio"},
		{"platform", "/sys/devices/platform/a003e00.virtio_mmio/virtio1/block/vda", "platform/a003e00.virtio_mmio/virtio"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := busPath(c.dir); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestTheDisksOfAUSBDeviceAreToldApart(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"0000:00:14.0/usb/2/2:1.0/host0/0:0:0": "",
		"0000:00:14.0/usb/2/2:1.0/host0/0:0:1": "/0:0:1",
		"0000:00:05.0/virtio":                  "",
		"":                                     "",
	} {
		if got := unit(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}
