package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Loop returns the minor number of a loop device with a file of this size
// behind it, which exists until the test ends. Loop devices are the kernel's,
// not the sandbox': the number is one that nobody uses, and the device goes
// with the last process that has it open, also when that is killed.
func Loop(t testing.TB, size int64) int {
	t.Helper()
	dir := t.TempDir()
	known, err := filepath.Glob("/sys/block/loop*")
	if err != nil {
		t.Fatal(err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	minor, loop, err := attach(control, dir, size)
	if err != nil {
		t.Fatal(errors.Join(err, control.Close()))
	}
	t.Cleanup(func() {
		err := loop.Close()
		if !slices.Contains(known, fmt.Sprintf("/sys/block/loop%d", minor)) {
			// The request for a free number made it. Another run may have it now, or
			// have removed it.
			e := unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_REMOVE, minor)
			if !errors.Is(e, unix.EBUSY) && !errors.Is(e, unix.ENODEV) {
				err = errors.Join(err, e)
			}
		}
		if err := errors.Join(err, control.Close()); err != nil {
			t.Errorf("detach loop%d: %v", minor, err)
		}
	})
	return minor
}

// attach puts a file behind a free loop device, which the returned file keeps.
func attach(control *os.File, dir string, size int64) (int, *os.File, error) {
	file, err := os.Create(filepath.Join(dir, "loop.img"))
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		return 0, nil, err
	}
	for range 100 { // others take numbers, too
		minor, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return 0, nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		node := filepath.Join(dir, fmt.Sprintf("loop%d", minor))
		if err := Mknod(node, unix.S_IFBLK|0o600, 7, uint32(minor), 0, 0); err != nil {
			return 0, nil, err
		}
		loop, err := os.OpenFile(node, os.O_RDWR|unix.O_CLOEXEC, 0)
		if err := os.Remove(node); err != nil {
			return 0, nil, errors.Join(err, loop.Close())
		}
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
			continue // another run has just removed it
		}
		if err != nil {
			return 0, nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(int(loop.Fd()), &config); err == nil {
			return minor, loop, nil
		}
		if err := errors.Join(os.NewSyscallError("LOOP_CONFIGURE", err), loop.Close()); !errors.Is(err, unix.EBUSY) {
			return 0, nil, err
		}
	}
	return 0, nil, errors.New("no free loop device")
}

// LoopNode returns a node in /dev of a loop device that has nothing behind it, and which no
// request for a free one comes upon: its number is far above the lowest that is free. It is
// detached and removed when the test ends.
func LoopNode(t testing.TB) string {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	minor := 1000
	for err = unix.EEXIST; errors.Is(err, unix.EEXIST); minor++ { // another run's
		err = unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_ADD, minor+1)
	}
	node := fmt.Sprintf("/dev/loop%d", minor)
	if err == nil {
		err = Mknod(node, unix.S_IFBLK|0o600, 7, uint32(minor), 0, 0)
	}
	t.Cleanup(func() {
		_ = exec.Command("losetup", "-d", node).Run() // usually done
		err := errors.Join(os.Remove(node), unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_REMOVE, minor), control.Close())
		if err != nil {
			t.Errorf("remove %s: %v", node, err)
		}
	})
	if err != nil {
		t.Fatalf("make %s: %v", node, err)
	}
	return node
}
