package devices

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"isula.org/isulad-tools/internal/open"
)

// Partition returns the record of a partition of the disk that d records, both
// by the kernel's names: sda, sda1. What the kernel appends to the disk's name
// is appended to its path in the container; the permissions are the disk's.
// fs.ErrNotExist: there is no such partition now.
func (d Device) Partition(disk, name string) (Device, error) {
	suffix, ok := strings.CutPrefix(name, disk)
	if !ok || suffix == "" {
		return Device{}, fmt.Errorf("%s is no partition of %s", name, disk)
	}
	dir := filepath.Join("/sys/class/block", strings.ReplaceAll(disk, "/", "!"), strings.ReplaceAll(name, "/", "!"))
	if _, err := os.Stat(filepath.Join(dir, "partition")); err != nil {
		return Device{}, err
	}
	numbers, err := open.Read(filepath.Join(dir, "dev"), 64)
	if err != nil {
		return Device{}, err
	}
	major, minor, _ := strings.Cut(strings.TrimSpace(string(numbers)), ":")
	p := Device{
		Type: "b", PathOnHost: "/dev/" + name, PathInContainer: d.PathInContainer + suffix,
		CgroupPermissions: d.CgroupPermissions, Parent: "/dev/" + disk,
	}
	if p.Major, err = strconv.ParseInt(major, 10, 64); err == nil {
		p.Minor, err = strconv.ParseInt(minor, 10, 64)
	}
	if err != nil {
		return Device{}, fmt.Errorf("%s/dev: %w", dir, err)
	}
	return p, nil
}
