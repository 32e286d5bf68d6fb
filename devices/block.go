package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"isula.org/isulad-tools/internal/open"
)

// sysfs' folders of all devices by number.
const (
	sysBlock = "/sys/dev/block"
	sysChar  = "/sys/dev/char"
)

// Block is what sysfs tells about a block device.
type Block struct {
	Name  string // kernel name: sda1
	Type  string // as lsblk(8) calls it: disk, part, lvm, crypt, mpath, dm, loop, raid1, rom, …
	sysfs string

	Major, Minor int64
}

// FindBlock returns what sysfs tells about the block device major:minor.
// fs.ErrNotExist: the kernel has none.
func FindBlock(major, minor int64) (Block, error) {
	link := sysBlock + "/" + strconv.FormatInt(major, 10) + ":" + strconv.FormatInt(minor, 10)
	target, err := os.Readlink(link)
	if err != nil {
		return Block{}, err
	}
	dir := filepath.Join(sysBlock, target)
	return Block{Name: kernelName(filepath.Base(dir)), Type: blockType(dir), sysfs: dir, Major: major, Minor: minor}, nil
}

// blockDevices are those that the kernel has, by their numbers.
func blockDevices() (list []Device) {
	entries, err := os.ReadDir(sysBlock)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if major, minor, err := parseNumbers(e.Name()); err == nil {
			list = append(list, Device{Type: "b", Major: major, Minor: minor})
		}
	}
	return list
}

// Partitionable tells whether b is a whole disk whose partitions the kernel makes
// known. Of a loop device it does when it was asked to (losetup -P).
func (b Block) Partitionable() bool {
	if b.Type == "loop" {
		scan, err := open.Read(filepath.Join(b.sysfs, "loop/partscan"), 16)
		return err == nil && strings.TrimSpace(string(scan)) == "1"
	}
	return b.Type == "disk"
}

// Parent is the kernel name of the first device that b is made of, "" for a
// disk.
func (b Block) Parent() string {
	if b.Type == "part" && !strings.HasPrefix(filepath.Base(b.sysfs), "dm-") {
		return kernelName(filepath.Base(filepath.Dir(b.sysfs)))
	}
	slaves, err := os.ReadDir(filepath.Join(b.sysfs, "slaves"))
	if err != nil || len(slaves) == 0 {
		return ""
	}
	return kernelName(slaves[0].Name())
}

// Whole returns the disk that b is a partition of; b, when it is none.
func (b Block) Whole() (Block, error) {
	if b.Type != "part" {
		return b, nil
	}
	disk, err := blockNamed(strings.ReplaceAll(b.Parent(), "/", "!"))
	if err != nil {
		return b, fmt.Errorf("the disk of partition %s: %w", b.Name, err)
	}
	return disk, nil
}

// blockNamed is FindBlock by the name that sysfs has.
func blockNamed(name string) (Block, error) {
	dev := filepath.Join("/sys/class/block", name, "dev")
	numbers, err := open.Read(dev, 64)
	if err != nil {
		return Block{}, err
	}
	major, minor, err := parseNumbers(strings.TrimSpace(string(numbers)))
	if err != nil {
		return Block{}, fmt.Errorf("%s: %w", dev, err)
	}
	return FindBlock(major, minor)
}

// parseNumbers reads major:minor.
func parseNumbers(text string) (major, minor int64, err error) {
	first, second, _ := strings.Cut(text, ":")
	if major, err = strconv.ParseInt(first, 10, 64); err == nil {
		minor, err = strconv.ParseInt(second, 10, 64)
	}
	return major, minor, err
}

// ParentPath is the host path of what Parent names, as lsblk(8) prints it.
func (b Block) ParentPath() string {
	name := b.Parent()
	switch {
	case name == "":
		return ""
	case strings.HasPrefix(name, "dm-"):
		if mapped, err := open.Read(filepath.Join("/sys/block", name, "dm/name"), 4096); err == nil {
			return "/dev/mapper/" + strings.TrimSpace(string(mapped))
		}
	}
	return "/dev/" + name
}

// kernelName turns sysfs' ! into the / of names like cciss/c0d0.
func kernelName(base string) string { return strings.ReplaceAll(base, "!", "/") }

// blockType tells from sysfs what lsblk tells: dm's uuid begins with its
// subsystem, md says its level, the rest is in the name.
func blockType(dir string) string {
	read := func(name string) string {
		b, _ := open.Read(filepath.Join(dir, name), 4096)
		return strings.TrimSpace(string(b))
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		return "part"
	}
	name := filepath.Base(dir)
	switch {
	case strings.HasPrefix(name, "dm-"):
		prefix, _, ok := strings.Cut(read("dm/uuid"), "-")
		if !ok {
			return "dm"
		}
		if strings.HasPrefix(prefix, "part") { // part1-mpath-…: kpartx' partition
			return "part"
		}
		return strings.ToLower(prefix)
	case strings.HasPrefix(name, "loop"):
		return "loop"
	case strings.HasPrefix(name, "md"):
		if level := read("md/level"); level != "" {
			return level
		}
		return "md"
	case read("device/type") == "5": // SCSI: CD-ROM
		return "rom"
	}
	return "disk"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Partitions returns the kernel names of b's partitions, in the order of their
// numbers.
func (b Block) Partitions() ([]string, error) {
	entries, err := os.ReadDir(b.sysfs)
	if err != nil {
		return nil, err
	}
	type part struct {
		number int
		name   string
	}
	var parts []part
	for _, e := range entries {
		// A disk has some forty files of other names: only few are asked.
		if !e.IsDir() || !strings.HasPrefix(e.Name(), filepath.Base(b.sysfs)) {
			continue
		}
		data, err := open.Read(filepath.Join(b.sysfs, e.Name(), "partition"), 4096)
		if err != nil { // it is no partition, or gone meanwhile
			continue
		}
		number, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return nil, fmt.Errorf("%s/%s/partition: %w", b.sysfs, e.Name(), err)
		}
		parts = append(parts, part{number, kernelName(e.Name())})
	}
	sort.Slice(parts, func(i, j int) bool { return parts[i].number < parts[j].number })
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return names, nil
}

// PartitionsOf lists the partitions of a disk, which block is, as records. They
// go with the disk: their names in the container are its own with what the
// kernel appends, and they may be used in the same ways.
func PartitionsOf(disk Device, block Block) ([]Device, error) {
	names, err := block.Partitions()
	if err != nil {
		return nil, err
	}
	var list []Device
	for _, name := range names {
		d, err := disk.partition(block, name)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// partition is the record of one of them, by the kernel's name.
func (d Device) partition(block Block, name string) (Device, error) {
	p, err := FromNode("/dev/" + name)
	if err != nil {
		return p, fmt.Errorf("partition %s: %w", name, err)
	}
	p.PathInContainer, p.Parent = d.PathInContainer+strings.TrimPrefix(name, block.Name), d.PathOnHost
	p = d.atPathsOf(p)
	p.Own = false   // the container has, or has not, each node by itself
	p.Identity = "" // it is its disk's
	p.Select = ""   // and so is its selector
	return p, nil
}

// ParentNow is the path of the disk that d is a partition of, by the kernel's name. As it is
// recorded it may be another's by now. "": nobody knows, it is away, and its path is a link.
func (d Device) ParentNow() string {
	if d.Parent == "" || d.isByKernelsName() {
		return d.Parent
	}
	block, err := d.block()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil || block.Type != "part":
		return d.Parent
	}
	return block.ParentPath()
}

// atPathsOf returns d as the device that p is, at p's paths. All else are d's options.
func (d Device) atPathsOf(p Device) Device {
	d.Type, d.Major, d.Minor = p.Type, p.Major, p.Minor
	d.PathOnHost, d.PathInContainer, d.Parent = p.PathOnHost, p.PathInContainer, p.Parent
	return d
}

// IsPartition tells whether partition is a name that the kernel gives to
// partitions of disk, and of no other: sda1 of sda, but not sdaa1.
func IsPartition(partition, disk string) bool {
	suffix, ok := strings.CutPrefix(partition, disk)
	return ok && disk != "" && isSuffix(suffix)
}

// isSuffix tells whether s is what the kernel appends to a disk's name.
func isSuffix(s string) bool {
	number := strings.TrimPrefix(s, "p")
	return number != "" && strings.Trim(number, "0123456789") == ""
}
