package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// holder is a container as a prestart hook under runc finds it: the namespaces
// and mounts are there, the root has not been changed yet, the device cgroup is
// set. It can be made new without a new process, which is what makes hundreds
// of starts affordable, and quiet: a network namespace is torn down in the
// background for a long time.
type holder struct {
	PID    int
	cgroup string // its device cgroup's directory
	stdin  io.WriteCloser
	stdout *bufio.Reader
	cmd    *exec.Cmd
}

// newHolder starts a container whose root file system is on rootfs.
func newHolder(rootfs, cgroup string) (*holder, error) {
	cmd := exec.Command("/proc/self/exe", rootfs)
	cmd.Args[0] = holderName
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start holder: %w", err)
	}
	h := &holder{PID: cmd.Process.Pid, cgroup: cgroup, stdin: stdin, stdout: bufio.NewReader(stdout), cmd: cmd}
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(h.PID)), 0); err != nil {
		return nil, err
	}
	return h, h.renew()
}

// renew gives the container an empty root file system, a new /dev and the
// device rules that it started with.
func (h *holder) renew() error {
	if _, err := io.WriteString(h.stdin, "renew\n"); err != nil {
		return err
	}
	if _, err := h.stdout.ReadString('\n'); err != nil {
		return fmt.Errorf("holder did not get ready: %w", err)
	}
	for _, w := range [][2]string{
		{"devices.deny", "a"},
		{"devices.allow", "c *:* m"},
		{"devices.allow", "b *:* m"},
		{"devices.allow", "c 1:3 rwm"},
		{"devices.allow", "c 1:5 rwm"},
		{"devices.allow", "c 136:* rwm"},
	} {
		if err := os.WriteFile(filepath.Join(h.cgroup, w[0]), []byte(w[1]), 0); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the container.
func (h *holder) stop() error {
	if err := h.stdin.Close(); err != nil {
		return err
	}
	return h.cmd.Wait()
}

// holderMain is the holder's own side, in the new namespaces: each line on
// standard input renews the mounts, and is answered by one.
func holderMain(rootfs string) error {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	in := bufio.NewReader(os.Stdin)
	for first := true; ; first = false {
		if _, err := in.ReadString('\n'); err != nil {
			return nil
		}
		if !first {
			if err := os.Chdir("/"); err != nil {
				return err
			}
			if err := unix.Unmount(rootfs, unix.MNT_DETACH); err != nil {
				return os.NewSyscallError("umount", err)
			}
		}
		if err := mountRoot(rootfs); err != nil {
			return err
		}
		fmt.Println("ready")
	}
}

func mountRoot(rootfs string) error {
	for _, m := range []struct {
		fstype, dir string
		flags       uintptr
		data        string
	}{
		{"tmpfs", "", 0, "mode=755"},
		{"", "", unix.MS_PRIVATE, ""},
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/dev", unix.MS_NOSUID | unix.MS_STRICTATIME, "mode=755,size=65536k"},
	} {
		if err := os.MkdirAll(rootfs+m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, rootfs+m.dir, m.fstype, m.flags, m.data); err != nil {
			return &os.PathError{Op: "mount on", Path: rootfs + m.dir, Err: err}
		}
	}
	if err := sandbox.Mknod(rootfs+"/dev/null", unix.S_IFCHR|0o666, 1, 3, 0, 0); err != nil {
		return err
	}
	return os.Chdir(rootfs)
}
