package devices

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// matches are the beginnings of the rules by which udevd tells of the device that d
// records; nil: it does not, or need not.
func (d Device) matches() []string {
	name, below := strings.CutPrefix(d.PathOnHost, "/dev/")
	target, err := os.Readlink(d.PathOnHost)
	away := errors.Is(err, fs.ErrNotExist)
	now, _, e := resolve(d)
	switch {
	case e == nil && now.isSteady():
		return nil
	case e == nil && target == "", !below || !isPlain(name):
		return now.byName(name, below)
	case !away || isLinkFolder(d.PathOnHost):
		return now.byLink(name, e == nil)
	}
	return []string{now.match(`SYMLINK=="` + name + `"`), now.match(`ENV{DEVNAME}=="/dev/` + name + `"`)}
}

// byName is the rule for the kernel's name, which is that of the path where sysfs does
// not know the device.
func (d Device) byName(path string, below bool) []string {
	node := d.nodeName()
	switch {
	case node != "":
		path = node
	case !below || !isPlain(path) || d.sysfsOf() == "" && exists(d.PathOnHost):
		return nil // no kernel will tell of it
	}
	return []string{d.match(`ENV{DEVNAME}=="/dev/` + path + `"`)}
}

// byLink is the rule for a link. udevd knows those that it has made, and no others:
// while such leads to a device, that one is told of by its name.
func (d Device) byLink(link string, there bool) []string {
	list := []string{d.match(`SYMLINK=="` + link + `"`)}
	node := d.nodeName()
	if there && node != "" && !d.hasLink(link) {
		list = append(list, d.match(`ENV{DEVNAME}=="/dev/`+node+`", SYMLINK!="`+link+`"`))
	}
	return list
}

// match is the beginning of a rule. The links of what is made of other devices, or of a
// file, come and go with a change.
func (d Device) match(what string) string {
	actions := "add|remove"
	if d.Type == "b" && (d.Parent == "" || d.isStacked()) {
		actions = "add|change|remove"
	}
	return what + `,ACTION=="` + actions + `"`
}

// isStacked tells whether d is made of other devices, a volume or an array. While it is
// away its path tells.
func (d Device) isStacked() bool {
	is := func(name string) bool { return strings.HasPrefix(name, "dm-") || strings.HasPrefix(name, "md") }
	dir := filepath.Dir(d.PathOnHost)
	return d.Type == "b" && (is(d.nodeName()) || dir == "/dev/mapper" || dir == "/dev/md" || dir == "/dev" && is(filepath.Base(d.PathOnHost)))
}

// Away is the record of a device that the host does not have now. Its type is what its
// path looks like, until it comes.
func Away(path string) Device {
	d := Device{Type: "c", PathOnHost: path, PathInContainer: path, CgroupPermissions: "rwm"}
	name := filepath.Base(path)
	for _, block := range [...]string{"sd", "vd", "xvd", "nvme", "mmcblk", "dm-", "md", "sr", "nbd", "loop"} {
		if strings.HasPrefix(name, block) {
			d.Type = "b"
		}
	}
	if strings.HasPrefix(path, linked) || filepath.Dir(path) == "/dev/mapper" || filepath.Dir(path) == "/dev/md" {
		d.Type = "b"
	}
	return d
}

// IsAway tells whether the host does not have the device that d records.
func (d Device) IsAway() bool {
	_, _, err := resolve(d)
	return errors.Is(err, fs.ErrNotExist)
}

// Unfollowed says why nobody tells when the device d goes; "": somebody does, or need not.
func (d Device) Unfollowed() string {
	switch {
	case d.isSteady():
		return ""
	case CheckDiskPath(d.PathInContainer) != nil:
		return "its path in the container cannot stand in a udev rule"
	case strings.HasPrefix(d.PathOnHost, "/dev/") && d.matches() == nil:
		return "its driver tells the kernel nothing"
	}
	return ""
}

// isLinkFolder tells whether udev makes links in the folder of a path, and nothing else.
func isLinkFolder(path string) bool {
	dir := filepath.Dir(path)
	return strings.HasPrefix(path, linked) || dir == "/dev/mapper" || dir == "/dev/md" || strings.HasPrefix(filepath.Base(dir), "by-")
}

// sysfsOf is where the kernel has the device in sysfs; "": it has none of its number.
func (d Device) sysfsOf() string {
	folder := sysBlock
	if d.Type == "c" {
		folder = "/sys/dev/char"
	}
	target, err := os.Readlink(folder + "/" + d.numbers())
	if err != nil {
		return ""
	}
	return filepath.Join(folder, target)
}

func (d Device) numbers() string {
	return strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
}

// nodeName is the kernel's name for the device's node below /dev.
func (d Device) nodeName() string {
	dir := d.sysfsOf()
	if dir == "" {
		return ""
	}
	for line := range strings.Lines(attribute(dir, "uevent")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok && isPlain(name) {
			return name
		}
	}
	return ""
}

// hasLink tells whether udevd made this link below /dev for the device.
func (d Device) hasLink(link string) bool {
	is := false
	udevData(d.Type, d.Major, d.Minor, func(line string) bool {
		is = line == "S:"+link
		return is
	})
	return is
}

// fixed are the classes of character devices that are part of the kernel.
var fixed = [...]string{"/sys/devices/virtual/mem/", "/sys/devices/virtual/misc/", "/sys/devices/virtual/tty/"}

// loopMajor is the kernel's LOOP_MAJOR.
const loopMajor = 7

// isSteady tells whether d's number is nobody else's, so that it need not be followed:
// that of a loop device, whatever file it has, and of a part of the kernel. A link may
// lead to another.
func (d Device) isSteady() bool {
	if _, err := os.Readlink(d.PathOnHost); err == nil && strings.HasPrefix(d.PathOnHost, "/dev/") {
		return false
	}
	if d.Type == "b" {
		return d.Major == loopMajor
	}
	dir := d.sysfsOf()
	return dir != "" && slices.ContainsFunc(fixed[:], func(class string) bool { return strings.HasPrefix(dir, class) })
}

// isOfDisk tells whether d is a partition of a disk in list, which is followed with it.
func isOfDisk(d Device, list []Device) bool {
	return d.Parent != "" && !d.isStacked() && slices.ContainsFunc(list, func(disk Device) bool {
		_, ours := partitionOf(disk, d)
		return disk.mayBeDisk() && (ours || d.Parent == disk.PathOnHost || d.Parent == "/dev/"+disk.nodeName())
	})
}
