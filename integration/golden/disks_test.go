package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

const sysBlock = "/sys/dev/block"

// loops are the minor numbers of the loop devices that stand for the
// recorder's loop40, which had two partitions, and loop41.
type loops [2]int

func (l loops) node(i int) string { return fmt.Sprintf("/dev/loop%d", l[i]) }

// recordedLoops are the recorder's loop devices in every form that their names
// and numbers have in a recording.
var recordedLoops = regexp.MustCompile(`(loop|\b7:|[Mm]inor\\*": ?)(40|41)(\D|$)`)

// lsblkSaysDisk is in the PATH of cases in which the recorder's lsblk called
// loop40 a disk. The kernel's facts cannot be changed that way: there, another
// name stands for the device, which makes it a disk.
const (
	lsblkSaysDisk = "/rig/fake/lsblk-disk"
	diskName      = "gold0"
)

// localise puts our devices in place of the recorder's.
func (l loops) localise(text string, asDisk bool) string {
	if asDisk {
		text = strings.ReplaceAll(text, "loop40", diskName)
	}
	return recordedLoops.ReplaceAllStringFunc(text, func(s string) string {
		m := recordedLoops.FindStringSubmatch(s)
		minor := l[0]
		if m[2] == "41" {
			minor = l[1]
		}
		return fmt.Sprintf("%s%d%s", m[1], minor, m[3])
	})
}

// makeBlockDevices covers sysfs' folder of block devices by number, so that the
// recorder's devices can be put into it: zram0, a disk with the number 253:0,
// and the partitions of its loop40, 259:0 and 259:1. Nobody opens these.
func (w *world) makeBlockDevices() error {
	entries, err := os.ReadDir(sysBlock)
	if err != nil {
		return err
	}
	links := map[string]string{}
	for _, e := range entries {
		if links[e.Name()], err = os.Readlink(filepath.Join(sysBlock, e.Name())); err != nil {
			return err
		}
	}
	links["253:0"] = "disk/zram0"
	if err := unix.Mount("tmpfs", sysBlock, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(sysBlock, name)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(sysBlock, "disk/zram0"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{filepath.Base(w.loops.node(0)), diskName} {
		for i := range 2 {
			dir := fmt.Sprintf("%s/disk/%s/%sp%d", sysBlock, name, name, i+1)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			err := errors.Join(
				os.WriteFile(filepath.Join(dir, "partition"), fmt.Appendln(nil, i+1), 0o444),
				os.WriteFile(filepath.Join(dir, "dev"), fmt.Appendf(nil, "259:%d\n", i), 0o444))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// makeDisk puts the device with partitions into sysfs and /dev, by the name
// that it has in this case.
func (w *world) makeDisk(asDisk bool) error {
	name := filepath.Base(w.loops.node(0))
	if asDisk {
		name = diskName
	}
	for number, target := range map[string]string{
		fmt.Sprintf("7:%d", w.loops[0]): name,
		"259:0":                         name + "/" + name + "p1",
		"259:1":                         name + "/" + name + "p2",
	} {
		link := filepath.Join(sysBlock, number)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink("disk/"+target, link); err != nil {
			return err
		}
	}
	return errors.Join(
		sandbox.Mknod("/dev/"+name, unix.S_IFBLK|0o660, 7, uint32(w.loops[0]), 0, 0),
		sandbox.Mknod("/dev/"+name+"p1", unix.S_IFBLK|0o660, 259, 0, 0, 6),
		sandbox.Mknod("/dev/"+name+"p2", unix.S_IFBLK|0o660, 259, 1, 0, 6),
		sandbox.Mknod(w.loops.node(1), unix.S_IFBLK|0o660, 7, uint32(w.loops[1]), 0, 0),
		sandbox.Mknod("/dev/zram0", unix.S_IFBLK|0o600, 253, 0, 0, 0),
	)
}

// diskNodes are the nodes that makeDisk makes.
func (w *world) diskNodes() []string {
	list := []string{w.loops.node(1), "/dev/zram0"}
	for _, name := range []string{w.loops.node(0), "/dev/" + diskName} {
		list = append(list, name, name+"p1", name+"p2")
	}
	return list
}
