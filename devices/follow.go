package devices

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OnHost is what the host has at the path of a recorded device.
type OnHost struct {
	Device // by its numbers of now, or of before
	link   bool
	err    error  // why it is not there: fs.ErrNotExist, it is away
	sysfs  string // where the kernel has it; "": nowhere
}

// IsPlain tells whether it is a node in /dev itself, and no link.
func (h OnHost) IsPlain() bool {
	return h.err == nil && !h.link && filepath.Dir(h.PathOnHost) == "/dev"
}

func (h *Host) look(d Device, in *sysfs) OnHost {
	now, _, err := h.resolve(d)
	n := h.node(d.PathOnHost)
	lost := err == nil && n.err != nil // its link is: it was found without
	return OnHost{Device: now, link: n.link || lost, err: err, sysfs: in.of(now)}
}

// IsAway tells whether the host does not have the device.
func (h OnHost) IsAway() bool { return errors.Is(h.err, fs.ErrNotExist) }

// matches are the beginnings of the rules by which udevd tells of the device; nil: it does
// not, or need not.
func (h OnHost) matches() []string {
	name, below := strings.CutPrefix(h.PathOnHost, "/dev/")
	switch {
	case h.err == nil && h.hasFixedNumberAt(h.link, h.sysfs):
		return nil
	case h.err == nil && !h.link, !below || !isPlain(name):
		return h.byName(name, below)
	case h.link || !h.IsAway() || isLinkFolder(h.PathOnHost):
		return h.byLink(name)
	}
	return h.byAny(name)
}

// byAny are the rules for what may be a link or the kernel's name.
func (h OnHost) byAny(name string) []string {
	return []string{h.match(`SYMLINK=="` + name + `"`), h.match(`ENV{DEVNAME}=="/dev/` + name + `"`)}
}

// byName is the rule for the kernel's name, which is that of the path where sysfs does
// not know the device.
func (h OnHost) byName(path string, below bool) []string {
	node := nodeNameAt(h.sysfs)
	switch {
	case node != "":
		path = node
	case !below || !isPlain(path) || h.isUnknown():
		return nil // no kernel will tell of it
	}
	return []string{h.match(`ENV{DEVNAME}=="/dev/` + path + `"`)}
}

// byLink is the rule for a link. udevd knows those that it has made, and no others:
// while such leads to a device, that one is told of by its name. Where both rules match, the
// helper has nothing to do the second time: no SYMLINK!= keeps it away, for which systemd 244
// to 253 ask only the first of a device's links.
func (h OnHost) byLink(link string) []string {
	list := []string{h.match(`SYMLINK=="` + link + `"`)}
	if to := h.danglesTo(); to != "" {
		list = append(list, h.byAny(to)...)
	}
	node := nodeNameAt(h.sysfs)
	if h.err == nil && node != "" && (h.isExchanged() || h.bound() != "" || !h.hasLink(link)) {
		list = append(list, h.match(`ENV{DEVNAME}=="/dev/`+node+`"`))
	}
	return list
}

// danglesTo is where the link of a device that is away leads, without /dev/. It is none of udevd's,
// whose links go with their device. "": it is no link, or leads out of /dev.
func (h OnHost) danglesTo() string {
	if !h.IsAway() {
		return ""
	}
	path := h.PathOnHost
	for range maxLinks {
		to, err := linkTarget(path)
		if err != nil {
			break
		}
		path = filepath.Clean(to)
	}
	name, below := strings.CutPrefix(path, "/dev/")
	if !below || path == h.PathOnHost || !isPlain(name) {
		return ""
	}
	return name
}

// match is the beginning of a rule. The links of what is made of other devices, or of a
// file, come and go with a change, and what was never there may be such.
func (d Device) match(what string) string {
	actions := "add|remove"
	if d.Type == "b" && (d.Parent == "" || d.isStacked()) || d.neverCame() {
		actions = "add|change|remove"
	}
	return what + `,ACTION=="` + actions + `"`
}

// exchanged are the majors of what keeps its number when it is given another file, server
// or medium: LOOP_MAJOR, NBD_MAJOR, SCSI_CDROM_MAJOR. All that udevd is told is a change, with
// which a link goes; a rule for the link alone is not for that.
var exchanged = [...]int64{loopMajor, 43, 11}

func (d Device) isExchanged() bool { return d.Type == "b" && slices.Contains(exchanged[:], d.Major) }

// neverCame tells whether the host never had the device that d records, so that its type
// is what its path looks like. No device node has these numbers.
func (d Device) neverCame() bool { return d.Major == 0 && d.Minor == 0 }

// isStacked tells whether d is made of other devices, a volume or an array. While it is
// away its identity and its path tell: its number may be another's.
func (d Device) isStacked() bool {
	if d.Type != "b" {
		return false
	}
	if d.Major == arrayMajor || strings.HasPrefix(d.Identity, "dm:") || strings.HasPrefix(d.Identity, "md:") {
		return true
	}
	is := func(name string) bool { return strings.HasPrefix(name, "dm-") || strings.HasPrefix(name, "md") }
	dir := filepath.Dir(d.PathOnHost)
	return is(d.nodeName()) || dir == "/dev/mapper" || dir == "/dev/md" || dir == "/dev" && is(filepath.Base(d.PathOnHost))
}

// Away is the record of a device that the host does not have now. Its type is what its
// path looks like, until it comes.
func Away(path string) Device {
	d := Device{Type: "c", PathOnHost: path, PathInContainer: path, CgroupPermissions: "rwm", Identity: onArrival}
	if looksLikeBlock(path) || strings.HasPrefix(path, linked) || filepath.Dir(path) == "/dev/mapper" || filepath.Dir(path) == "/dev/md" {
		d.Type = "b"
	}
	return d
}

// isByKernelsName tells whether d is given by a path that is the kernel's, and no link to it. Of
// one that is not there now the name tells.
func (d Device) isByKernelsName() bool {
	if filepath.Dir(d.PathOnHost) != "/dev" {
		return false
	}
	_, err := os.Readlink(d.PathOnHost)
	return errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) && looksLikeBlock(d.PathOnHost)
}

// lettered and numbered are the kernel's names for block devices, without what tells one from
// the next.
var (
	lettered = [...]string{"sd", "vd", "xvd", "hd", "dasd"}
	numbered = [...]string{"nvme", "mmcblk", "dm-", "md", "sr", "nbd", "loop", "rbd", "pmem", "ram", "zram"}
)

// looksLikeBlock tells whether the kernel gives block devices such names: sda, sda1, nvme0n1p1.
func looksLikeBlock(path string) bool {
	name := filepath.Base(path)
	for _, kind := range lettered {
		disk := strings.TrimRight(name, "0123456789")
		if rest, ok := strings.CutPrefix(disk, kind); ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz") == "" {
			return true
		}
	}
	for _, kind := range numbered {
		if rest, ok := strings.CutPrefix(name, kind); ok && rest != "" && '0' <= rest[0] && rest[0] <= '9' {
			return true
		}
	}
	return false
}

// IsAway tells whether the host does not have the device that d records.
func (d Device) IsAway() bool {
	_, _, err := resolve(d)
	return errors.Is(err, fs.ErrNotExist)
}

// Unfollowed says why nobody tells when the device d goes; "": somebody does, or need not.
func (d Device) Unfollowed() string {
	if CheckDiskPath(d.PathInContainer) != nil && !d.hasFixedNumber() {
		return "its path in the container has characters that a udev rule cannot hold"
	}
	return ""
}

// IsUnknown tells whether the host has the device, and its driver tells udevd nothing of it, as
// nvidia's.
func (d Device) IsUnknown() bool {
	return !d.hasFixedNumber() && new(Host).Look([]Device{d})[0].isUnknown()
}

// isUnknown tells whether the host has the device, and sysfs does not.
func (h OnHost) isUnknown() bool { return h.err == nil && h.sysfs == "" }

// isLinkFolder tells whether udev makes links in the folder of a path, and nothing else.
func isLinkFolder(path string) bool {
	dir := filepath.Dir(path)
	return strings.HasPrefix(path, linked) || dir == "/dev/mapper" || dir == "/dev/md" || strings.HasPrefix(filepath.Base(dir), "by-")
}

// sysfsOf is where the kernel has the device in sysfs; "": it has none of its number.
func (d Device) sysfsOf() string {
	var in sysfs
	defer in.close()
	return in.of(d)
}

func (d Device) numbers() string {
	return strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
}

// nodeName is the kernel's name for the device's node below /dev.
func (d Device) nodeName() string { return nodeNameAt(d.sysfsOf()) }

func nodeNameAt(dir string) string {
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

// fixed are the classes of character devices that are part of the kernel, and which of
// their numbers never change. Another device of the class has the next number that is
// free, and when its driver is unloaded somebody else has it.
var fixed = [...]struct {
	class string
	has   func(d Device) bool
}{
	{"/sys/devices/virtual/mem/", func(Device) bool { return true }},
	{"/sys/devices/virtual/misc/", func(d Device) bool { return 128 <= d.Minor && d.Minor < miscDynamic }},
	{"/sys/devices/virtual/tty/", func(d Device) bool { return d.Major == 4 || d.Major == 5 }},
}

const (
	// miscDynamic is the kernel's MISC_DYNAMIC_MINOR, which stands for any: older kernels take
	// one below 128, newer ones one above this.
	miscDynamic = 255
	// loopMajor is the kernel's LOOP_MAJOR.
	loopMajor = 7
)

// hasFixedNumber tells whether d's number is nobody else's, so that it need not be followed:
// that of a loop device, whatever file it has, and of a part of the kernel. A link may
// lead to another.
func (d Device) hasFixedNumber() bool {
	to, err := os.Readlink(d.PathOnHost)
	if errors.Is(err, fs.ErrNotExist) && !d.hasKernelsName() {
		return false // it may have been a link
	}
	return d.hasFixedNumberAt(to != "", d.sysfsOf())
}

// hasKernelsName tells whether d's path is what the kernel calls the device of its number.
func (d Device) hasKernelsName() bool {
	if d.Type == "b" && d.Major == loopMajor {
		return d.PathOnHost == "/dev/loop"+strconv.FormatInt(d.Minor, 10)
	}
	return d.PathOnHost == "/dev/"+d.nodeName()
}

func (d Device) hasFixedNumberAt(link bool, dir string) bool {
	if link && strings.HasPrefix(d.PathOnHost, "/dev/") {
		return false
	}
	if d.Type == "b" {
		return d.Major == loopMajor
	}
	for _, f := range fixed {
		if strings.HasPrefix(dir, f.class) {
			return f.has(d)
		}
	}
	return false
}

// isOfDisk tells whether the i-th is a partition of a disk among all, which is followed with it.
func isOfDisk(i int, all []OnHost) bool {
	part := all[i]
	return part.Parent != "" && slices.ContainsFunc(all, func(disk OnHost) bool {
		return part.goesWith(disk.Device, "") || disk.err == nil && disk.mayBeDisk() && part.goesWith(disk.Device, nodeNameAt(disk.sysfs))
	})
}
