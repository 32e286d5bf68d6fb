package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// node is a block device of this machine.
type node struct {
	path         string
	major, minor uint32
}

func (n node) String() string { return fmt.Sprintf("%d:%d", n.major, n.minor) }

// disk is a loop device with one partition.
type disk struct{ whole, part node }

const diskSize = 16 << 20

// inVM tells whether this is the test machine, which has real disks: see
// integration/vm/disks.sh.
func inVM() bool { return os.Getenv("ISULAD_VM") == "1" }

// theDisk is a disk that can be written: a loop device here, and in the test
// machine one whose partitions udev has rules for.
func theDisk(t *testing.T) disk {
	t.Helper()
	if !inVM() {
		return newDisk(t)
	}
	d := disk{node{path: "/dev/vdb"}, node{path: "/dev/vdb1"}}
	for _, n := range []*node{&d.whole, &d.part} {
		n.number(t)
		check(t, ensureNode(*n))
	}
	return d
}

// number asks sysfs for the device's number.
func (n *node) number(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(n.path), "dev"))
	check(t, err)
	_, err = fmt.Sscanf(string(text), "%d:%d", &n.major, &n.minor)
	check(t, err)
}

// newDisk is a loop device of zeros until the test ends.
func newDisk(t *testing.T) disk {
	t.Helper()
	minor := sandbox.Loop(t, diskSize)
	name := fmt.Sprintf("loop%d", minor)
	d := disk{whole: node{"/dev/" + name, 7, uint32(minor)}, part: node{path: "/dev/" + name + "p1"}}
	check(t, ensureNode(d.whole))
	loop, err := os.OpenFile(d.whole.path, os.O_RDWR, 0)
	check(t, err)
	defer loop.Close()
	info, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
	check(t, err)
	info.Flags |= unix.LO_FLAGS_PARTSCAN
	check(t, unix.IoctlLoopSetStatus64(int(loop.Fd()), info))
	addPartition(t, loop, 1<<20, 4<<20)
	d.part.number(t)
	check(t, ensureNode(d.part))
	return d
}

// ensureNode makes the node in the private /dev, which no udevd serves.
func ensureNode(n node) error {
	if err := os.Remove(n.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return sandbox.Mknod(n.path, unix.S_IFBLK|0o660, n.major, n.minor, 0, 6)
}

// blkpgPartition is struct blkpg_partition of linux/blkpg.h.
type blkpgPartition struct {
	start, length  int64 // bytes
	number         int32
	device, volume [64]byte // unused
}

const blkpg = 0x1269 // the ioctl, _IO(0x12, 105)

// addPartition tells the kernel of partition 1, whatever partition tables it
// can read.
func addPartition(t *testing.T, loop *os.File, start, length int64) {
	t.Helper()
	p := blkpgPartition{start: start, length: length, number: 1}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_ADD_PARTITION, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, loop.Fd(), blkpg, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		t.Fatalf("add a partition to %s: %v", loop.Name(), errno)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
