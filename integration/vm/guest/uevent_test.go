//go:build vmguest

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uevents is when the kernel told of which event last, "add sda1", and how many
// there were. udevd hears of them at the same time.
type uevents struct {
	mu    sync.Mutex
	last  map[string]int64
	count int
}

// listen hears the kernel until the test ends.
func listen(t *testing.T) *uevents {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		t.Fatal(err)
	}
	u := &uevents{last: map[string]int64{}}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return // closed
			}
			now := monotonic()
			// add@/devices/.../block/sda/sda1\0ACTION=add\0...
			head, _, _ := bytes.Cut(buf[:n], []byte{0})
			action, device, ok := strings.Cut(string(head), "@")
			if ok {
				u.mu.Lock()
				u.last[action+" "+path.Base(device)] = now
				u.count++
				u.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Error(err)
		}
		unix.Close(fd)
	})
	return u
}

// at returns when an event was heard last.
func (u *uevents) at(t *testing.T, event string) int64 {
	t.Helper()
	var when int64
	within(t, patience, "the kernel tells of "+event, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		when = u.last[event]
		return when != 0
	})
	return when
}

// forget has it know of no event before.
func (u *uevents) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.last)
}

func (u *uevents) number() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count
}

// blkpg is ioctl(BLKPG)'s argument, of linux/blkpg.h.
type blkpg struct {
	op, flags, length int32
	_                 int32
	data              unsafe.Pointer
}

type blkpgPartition struct {
	start, length int64
	number        int32
	names         [2][64]byte
	_             int32
}

// cut makes or takes away a partition as the kernel knows it, 1 MiB of the disk.
// Nothing is written to the disk: no table, and nobody who reads it anew.
func cut(t *testing.T, disk string, number int32, add bool) {
	t.Helper()
	if err := tryCut(disk, number, add); err != nil {
		t.Fatal(err)
	}
}

func tryCut(disk string, number int32, add bool) error {
	f, err := os.Open("/dev/" + disk)
	if err != nil {
		return err
	}
	defer f.Close()
	p := &blkpgPartition{start: int64(number) << 20, length: 1 << 20, number: number}
	arg := &blkpg{op: unix.BLKPG_DEL_PARTITION, length: int32(unsafe.Sizeof(*p)), data: unsafe.Pointer(p)}
	if add {
		arg.op = unix.BLKPG_ADD_PARTITION
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(arg)))
		runtime.KeepAlive(p)
		switch {
		case errno == 0:
			return nil
		case errno == unix.EBUSY && time.Now().Before(end): // udevd looks at it
		default:
			return fmt.Errorf("partition %d of %s: add %v: %w", number, disk, add, errno)
		}
	}
}

// run requires a program to succeed.
func run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// settle waits until udevd has done all that it was told. udevd serves one client at a
// time and hangs up on it when another comes, such as the tool for new rules: then it is
// asked again.
func settle(t *testing.T) {
	t.Helper()
	for range 10 {
		out, err := exec.Command("udevadm", "settle", "--timeout=300").CombinedOutput()
		if err == nil {
			return
		}
		if !strings.Contains(string(out), "wait for daemon to reply") {
			t.Fatalf("udevd does not come to an end: %v: %s", err, out)
		}
	}
	t.Fatal("udevd hangs up each time")
}

// bareUdevd runs udevd for the time of the test, as no service of anybody's.
func bareUdevd(t *testing.T) {
	t.Helper()
	udevd := exec.Command("/lib/systemd/systemd-udevd")
	udevd.Stderr = os.Stderr
	if err := udevd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = udevd.Process.Signal(unix.SIGTERM)
		_ = udevd.Wait()
	})
	within(t, patience, "udevd listens", func() bool { return exec.Command("udevadm", "control", "--ping").Run() == nil })
}
