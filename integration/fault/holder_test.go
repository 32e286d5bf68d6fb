//go:build linux && amd64

package fault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// Options of a holder.
const (
	imageDev = "image-dev" // the image's /dev is used as it is, without a tmpfs on it
	pivoted  = "pivoted"   // its root is changed and its mounts are private, as with lcr of iSulad 2.1
)

// holder is a container as a prestart hook under runc finds it: namespaces and
// mounts are there, the root has not been changed yet, the device cgroup is set.
type holder struct {
	Pid    int
	rootfs string // where its root is, inside its mount namespace
	cgroup string
	cmd    *exec.Cmd
	stdin  io.Closer // the holder ends when this closes
}

// startHolder starts a container. Options are holderMain's.
func startHolder(t testing.TB, rootfs, cgroup string, options ...string) *holder {
	t.Helper()
	if err := makeDeviceCgroup(cgroup); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", append([]string{rootfs}, options...)...)
	cmd.Args[0] = holderName
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start holder: %v", err)
	}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		t.Fatalf("holder did not get ready: %v, %v", err, cmd.Wait())
	}
	h := &holder{Pid: cmd.Process.Pid, rootfs: rootfs, cgroup: cgroup, cmd: cmd, stdin: stdin}
	if slices.Contains(options, pivoted) {
		h.rootfs = "/"
	}
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(h.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	return h
}

// stop ends the container: its processes, namespaces and cgroup are gone.
func (h *holder) stop(t testing.TB) {
	t.Helper()
	h.stdin.Close()
	if err := h.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = h.cmd.Wait() // tells that it has been killed
	must(t, sandbox.RemoveCgroup(h.cgroup))
}

// root is the container's root file system, seen through its mount namespace.
func (h *holder) root() string {
	return fmt.Sprintf("/proc/%d/root%s", h.Pid, strings.TrimSuffix(h.rootfs, "/"))
}

// makeDeviceCgroup makes a v1 device cgroup with the rules that runc sets.
func makeDeviceCgroup(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, w := range [][2]string{
		{"devices.deny", "a"},
		{"devices.allow", "c *:* m"},
		{"devices.allow", "b *:* m"},
		{"devices.allow", "c 1:3 rwm"},
		{"devices.allow", "c 1:5 rwm"},
		{"devices.allow", "c 136:* rwm"},
	} {
		if err := os.WriteFile(filepath.Join(dir, w[0]), []byte(w[1]), 0); err != nil {
			return err
		}
	}
	return nil
}

// holderMain is the holder's own side, in the new namespaces.
func holderMain(args []string) error {
	rootfs, bare := args[0], slices.Contains(args, imageDev)
	steps := []struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}{
		{"", "/", "", unix.MS_SLAVE | unix.MS_REC, ""},
		{rootfs, rootfs, "", unix.MS_BIND | unix.MS_REC, ""},
		{"", rootfs, "", unix.MS_PRIVATE, ""},
		{"proc", rootfs + "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", rootfs + "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_STRICTATIME, "mode=755,size=65536k"},
	}
	if bare {
		steps = steps[:len(steps)-1]
	}
	for _, s := range steps {
		if err := unix.Mount(s.source, s.target, s.fstype, s.flags, s.data); err != nil {
			return fmt.Errorf("holder: mount %s on %s: %w", s.source, s.target, err)
		}
	}
	if !bare {
		if err := sandbox.Mknod(rootfs+"/dev/null", unix.S_IFCHR|0o666, 1, 3, 0, 0); err != nil {
			return err
		}
		if err := os.Mkdir(rootfs+"/dev/pts", 0o755); err != nil {
			return err
		}
	}
	if err := os.Chdir(rootfs); err != nil {
		return err
	}
	if slices.Contains(args, pivoted) {
		if err := pivot(); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// pivot makes the working directory the root and forgets the host's.
func pivot() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	return os.Chdir("/")
}
