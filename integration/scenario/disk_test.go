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

// newDisk attaches a file of zeros to a free loop device until the test ends.
func newDisk(t *testing.T) disk {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "disk")
	check(t, err)
	defer file.Close()
	check(t, file.Truncate(diskSize))
	loop, number := freeLoop(t, file)
	t.Cleanup(func() {
		check(t, unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0))
		check(t, loop.Close())
	})
	addPartition(t, loop, 1<<20, 4<<20)
	name := fmt.Sprintf("loop%d", number)
	d := disk{whole: node{"/dev/" + name, 7, uint32(number)}, part: node{path: "/dev/" + name + "p1"}}
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

// freeLoop takes a loop device that nobody has; other tests of this machine
// look for one, too.
func freeLoop(t *testing.T, file *os.File) (*os.File, int) {
	t.Helper()
	control, err := os.Open("/dev/loop-control")
	check(t, err)
	defer control.Close()
	for range 100 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		check(t, err)
		n := node{fmt.Sprintf("/dev/loop%d", number), 7, uint32(number)}
		check(t, ensureNode(n))
		loop, err := os.OpenFile(n.path, os.O_RDWR, 0)
		check(t, err)
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &unix.LoopConfig{
			Fd:   uint32(file.Fd()),
			Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_PARTSCAN},
		})
		if err == nil {
			return loop, number
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			t.Fatalf("configure %s: %v", n.path, err)
		}
	}
	t.Fatal("no free loop device")
	return nil, 0
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
