package bench

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// blockDevices are block devices that the kernel really has, so that sysfs has
// to be asked about each. A loop device is no disk: no udev rule is written,
// which is a file for all of them and would not be comparable.
var blockDevices = deviceKind(blockDevice, bareDevices)

func blockDevice(w *world, i int) device {
	return device{fmt.Sprintf("benchblock%d", i), unix.S_IFBLK | 0o660, 7, uint32(w.loop(i))}
}

// loop returns the minor number of the i-th loop device of these measurements.
func (w *world) loop(i int) int {
	for i >= len(w.loops) {
		minor := sandbox.Loop(w.tb, 1<<20)
		if _, err := os.Stat(fmt.Sprintf("/sys/dev/block/7:%d", minor)); err != nil {
			w.tb.Fatal(err)
		}
		w.loops = append(w.loops, minor)
	}
	return w.loops[i]
}
