package devices

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"isula.org/isulad-tools/internal/open"
)

// writtenOnDisks are the folders of names that are written on a disk. Whoever
// writes a disk, a container perhaps, can give it the name of another.
var writtenOnDisks = [...]string{
	"/by-uuid/", "/by-label/", "/by-partuuid/", "/by-partlabel/", "/by-loop-ref/",
	linked + "by-id/dm-", linked + "by-id/md-", linked + "by-id/lvm-", "/dev/mapper/", "/dev/md/",
}

// isWrittenOnDisks tells whether a path, or a link that it leads by, is such a name.
func isWrittenOnDisks(path string) bool {
	for range maxLinks {
		for _, name := range writtenOnDisks {
			if strings.HasPrefix(path, "/dev/") && strings.Contains(path, name) {
				return true
			}
		}
		to, err := linkTarget(path)
		if err != nil {
			return false
		}
		path = to
	}
	return false
}

// linkTarget is the path that the link at path leads to, which may be one, too.
func linkTarget(path string) (string, error) {
	to, err := os.Readlink(path)
	if err != nil || filepath.IsAbs(to) {
		return to, err
	}
	return filepath.Join(filepath.Dir(path), to), nil
}

// maxLinks is how many links the kernel follows.
const maxLinks = 40

// onArrival is the identity of a device that was away when it was added: it becomes that
// of the first which comes by its path.
const onArrival = "on arrival"

// Bind returns d bound to the device that it is now, where it is given by a name that
// is written on a disk. Any other name is the hardware's, or the kernel's.
func (d Device) Bind() Device {
	d.Identity = d.bound()
	if d.Type != "b" {
		return d
	}
	block, err := FindBlock(d.Major, d.Minor)
	if err != nil {
		return d
	}
	written := isWrittenOnDisks(d.PathOnHost)
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
	if d.bound() == "" {
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

// IsAnother tells whether now has the path of d and is not the device that d is bound to.
func (d Device) IsAnother(now Device) bool {
	return d.PathOnHost == now.PathOnHost && d.bound() != "" && now.bound() != "" && d.Identity != now.Identity
}

// arrayMajor is the kernel's MD_MAJOR.
const arrayMajor = 9

func (b Block) isMapped() bool { return strings.HasPrefix(b.Name, "dm-") }
func (b Block) isArray() bool  { return strings.HasPrefix(b.Name, "md") }

// identity is what b is, whatever its names: a partition is one of its disk, after a #.
// "" is not known.
func (b Block) identity() string {
	if b.Type != "part" || b.isMapped() {
		return strings.ReplaceAll(b.wholeIdentity(), "#", "?")
	}
	disk, err := b.Whole()
	if err != nil {
		return ""
	}
	return prefixed(disk.identity()+"#", cmp.Or(b.udev("ID_PART_ENTRY_UUID"), b.attribute("partition")))
}

// wholeIdentity is that of what is no partition: a volume has an uuid, or is what it is made of.
func (b Block) wholeIdentity() string {
	switch {
	case b.isMapped():
		return cmp.Or(prefixed("dm:", b.attribute("dm/uuid")), b.madeOf(), "name:"+b.attribute("dm/name"))
	case b.isArray():
		uuid := cmp.Or(b.udev("MD_UUID"), b.attribute("md/uuid")) // which divide it otherwise
		return cmp.Or(prefixed("md:", strings.NewReplacer(":", "", "-", "").Replace(uuid)), b.madeOf(), "name:"+b.Name)
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

// isItself tells whether an identity is a device's own, and nobody else's: another one can
// be in the same place, or of the same file.
func isItself(identity string) bool {
	return slices.ContainsFunc([]string{"id:", "dm:", "md:", "usb:"}, func(kind string) bool { return strings.HasPrefix(identity, kind) })
}

// mayBe tells, by what is known without asking a driver, whether b can have an identity
// that is a device's own.
func (b Block) mayBe(identity string) bool {
	kind, id, _ := strings.Cut(identity, ":")
	switch kind {
	case "dm":
		return b.isMapped()
	case "md":
		return b.isArray() && strings.Contains(id, "#") == (b.Type == "part")
	}
	return !b.isMapped() && !b.isArray() && strings.Contains(id, "#") == (b.Type == "part")
}

// madeOf is the identity of what b is made of.
func (b Block) madeOf() string {
	slaves, err := os.ReadDir(filepath.Join(b.sysfs, "slaves"))
	if err != nil {
		return ""
	}
	var list []string
	for _, s := range slaves {
		if on, err := blockNamed(s.Name()); err == nil {
			list = append(list, on.identity())
		}
	}
	slices.Sort(list)
	return prefixed("of:", strings.Join(list, "+"))
}

// bus is what a disk without an identifier of its own is known by: the USB device that
// it is in, or where it is plugged in.
func (b Block) bus() string {
	path := busPath(b.sysfs)
	for dir := filepath.Dir(b.sysfs); strings.HasPrefix(dir, "/sys/devices/"); dir = filepath.Dir(dir) {
		if usb := usbAt(dir); hasSerial(usb) {
			return usb + unit(path)
		}
	}
	if strings.HasPrefix(b.sysfs, "/sys/devices/virtual/") {
		return "name:" + b.Name
	}
	return "at:" + path
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
