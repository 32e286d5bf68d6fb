package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// device is one node of the private /dev.
type device struct {
	path         string
	mode         uint32 // with S_IFCHR or S_IFBLK
	major, minor uint32
	gid          int
}

const diskGroup = 6 // Debian's static id

// standardDevices are what a minimal udev gives every host. The nodes are the
// sandbox's own: changing mode or owner does not touch the host's.
func standardDevices() []device {
	c := uint32(unix.S_IFCHR)
	list := []device{
		{"null", c | 0o666, 1, 3, 0},
		{"zero", c | 0o666, 1, 5, 0},
		{"full", c | 0o666, 1, 7, 0},
		{"random", c | 0o666, 1, 8, 0},
		{"urandom", c | 0o666, 1, 9, 0},
		{"kmsg", c | 0o644, 1, 11, 0},
		{"tty", c | 0o666, 5, 0, 5},
		{"console", c | 0o600, 5, 1, 0},
		{"fuse", c | 0o666, 10, 229, 0},
		{"net/tun", c | 0o666, 10, 200, 0},
		{"loop-control", c | 0o660, 10, 237, diskGroup},
	}
	for n := range uint32(8) {
		list = append(list, device{fmt.Sprintf("loop%d", n), unix.S_IFBLK | 0o660, 7, n, diskGroup})
	}
	return list
}

func mountDev(root string) error {
	dev := filepath.Join(root, "dev")
	if err := mount("devtmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"pts", "shm", "mqueue", "net", "mapper"} {
		if err := os.Mkdir(filepath.Join(dev, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range standardDevices() {
		if err := d.make(dev); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	if err := mount("devpts", filepath.Join(dev, "pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"); err != nil {
		return err
	}
	if err := mount("mqueue", filepath.Join(dev, "mqueue"), "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return mount("tmpfs", filepath.Join(dev, "shm"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
}

func (d device) make(dir string) error {
	return Mknod(filepath.Join(dir, d.path), d.mode, d.major, d.minor, 0, d.gid)
}

// Mknod makes a device node with exactly this mode (type bits included) and
// owner, whatever the umask.
func Mknod(path string, mode, major, minor uint32, uid, gid int) error {
	if err := unix.Mknod(path, mode, int(unix.Mkdev(major, minor))); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, os.FileMode(mode&0o777))
}
