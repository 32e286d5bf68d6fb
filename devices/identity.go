package devices

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"isula.org/isulad-tools/internal/open"
)

// writtenOnDisks are the folders of names that are written on a disk. Whoever
// writes a disk, a container perhaps, can give it the name of another.
var writtenOnDisks = [...]string{
	linked + "by-uuid/", linked + "by-label/", linked + "by-partuuid/", linked + "by-partlabel/",
	linked + "by-id/dm-", linked + "by-id/md-", linked + "by-id/lvm-", "/dev/mapper/", "/dev/md/",
}

// Bind returns d bound to the device that it is now, where it is given by a name that
// is written on a disk. Any other name is the hardware's, or the kernel's.
func (d Device) Bind() Device {
	if d.Type != "b" {
		return d
	}
	written := false
	for _, folder := range writtenOnDisks {
		written = written || strings.HasPrefix(d.PathOnHost, folder)
	}
	block, err := FindBlock(d.Major, d.Minor)
	if err != nil {
		return d
	}
	// The links of LVM are in a folder of any name: /dev/VG/LV.
	if _, err := os.Readlink(d.PathOnHost); err == nil && !d.IsLinked() {
		written = written || block.isMapped() || block.isArray()
	}
	if written {
		d.Identity = block.identity()
	}
	return d
}

// checkIdentity refuses a device that came under the name of the one which d is
// bound to, and an array that was stopped: whoever opens its node has the kernel make
// another one. d has the numbers of now.
func (d Device) checkIdentity() error {
	if d.Type == "b" && d.Major == arrayMajor && attribute(d.sysfsOf(), "md/array_state") == "clear" {
		return vanished{fmt.Errorf("%s: the array was stopped", d.PathOnHost)}
	}
	if d.Select != "" && !d.isSelected() {
		return vanished{fmt.Errorf("%s is no node of %s now", d.PathOnHost, d.Select)}
	}
	if d.Identity == "" {
		return nil
	}
	block, err := FindBlock(d.Major, d.Minor)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return vanished{err}
	case err != nil:
		return err
	}
	if is := block.identity(); is != d.Identity {
		return vanished{fmt.Errorf("%s is another device now: it is %s, and was %s when it was added", d.PathOnHost, cmp.Or(is, "unknown"), d.Identity)}
	}
	return nil
}

// arrayMajor is the kernel's MD_MAJOR.
const arrayMajor = 9

func (b Block) isMapped() bool { return strings.HasPrefix(b.Name, "dm-") }
func (b Block) isArray() bool  { return strings.HasPrefix(b.Name, "md") }

// identity is what b is, whatever its names: a partition is one of its disk, a
// volume has an uuid. "" is not known.
func (b Block) identity() string {
	switch {
	case b.isMapped():
		return prefixed("dm:", b.attribute("dm/uuid"))
	case b.Type == "part":
		disk, err := b.Whole()
		if err != nil {
			return ""
		}
		number := cmp.Or(b.udev("ID_PART_ENTRY_UUID"), b.attribute("partition"))
		return prefixed(disk.identity()+"#", number)
	case b.isArray():
		return prefixed("md:", b.udev("MD_UUID"))
	case strings.HasPrefix(b.Name, "loop"):
		return prefixed("loop:", b.attribute("loop/backing_file"))
	}
	for _, file := range [...]string{"wwid", "device/wwid", "device/cid", "serial", "device/serial"} {
		if id := b.attribute(file); id != "" {
			return "id:" + id
		}
	}
	return b.bus()
}

// bus is what a disk without an identifier of its own is known by: the USB device that
// it is in, or its place.
func (b Block) bus() string {
	for dir := filepath.Dir(b.sysfs); strings.HasPrefix(dir, "/sys/devices/"); dir = filepath.Dir(dir) {
		if usb := usbAt(dir); hasSerial(usb) {
			return usb
		}
		subsystem, _ := os.Readlink(filepath.Join(dir, "subsystem"))
		if filepath.Base(subsystem) == "pci" {
			return "at:" + filepath.Base(dir)
		}
	}
	return "name:" + b.Name
}

func prefixed(prefix, id string) string {
	if id == "" {
		return ""
	}
	return prefix + id
}

func (b Block) attribute(name string) string { return attribute(b.sysfs, name) }

// attribute is what a file of sysfs says, "" where there is none.
func attribute(dir, name string) string {
	text, _ := open.Read(filepath.Join(dir, name), 4096)
	return strings.ToValidUTF8(strings.TrimSpace(string(text)), "?")
}

// udev is what udevd found out about b.
func (b Block) udev(property string) (value string) {
	udevData("b", b.Major, b.Minor, func(line string) (found bool) {
		value, found = strings.CutPrefix(line, "E:"+property+"=")
		return found
	})
	return strings.ToValidUTF8(value, "?")
}

// udevData shows the lines of what udevd keeps of a device, until found returns true.
func udevData(kind string, major, minor int64, found func(line string) bool) {
	path := "/run/udev/data/" + kind + strconv.FormatInt(major, 10) + ":" + strconv.FormatInt(minor, 10)
	text, _ := open.Read(path, 1<<20)
	for line := range strings.Lines(string(text)) {
		if found(strings.TrimSuffix(line, "\n")) {
			return
		}
	}
}
