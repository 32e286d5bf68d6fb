package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	specimen "isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
)

// holder is a container as a prestart hook under runc finds it: the namespaces
// and mounts are there, the root has not been changed yet, the device cgroup is
// set. It can be made new without a new process, which is what makes hundreds
// of starts affordable, and quiet: a network namespace is torn down in the
// background for a long time.
type holder struct {
	setting
	PID    int
	cgroup string // its device cgroup's directory
	stdin  io.WriteCloser
	stdout *bufio.Reader
	cmd    *exec.Cmd
}

// newHolder starts a container whose root file system is on rootfs.
func newHolder(s setting, rootfs, cgroup string) (*holder, error) {
	cmd := exec.Command("/proc/self/exe", rootfs)
	cmd.Args[0] = holderName
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if s == userNS {
		cmd.Args = append(cmd.Args, "mapped")
		ids := []syscall.SysProcIDMap{{HostID: firstID, Size: mappedIDs}}
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
		cmd.SysProcAttr.Credential = &syscall.Credential{NoSetGroups: true} // its root
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
	h := &holder{setting: s, PID: cmd.Process.Pid, cgroup: cgroup, stdin: stdin, stdout: bufio.NewReader(stdout), cmd: cmd}
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(h.PID)), 0); err != nil {
		return nil, err
	}
	return h, h.renew()
}

// renew gives the container an empty root file system, a new /dev and the
// device rules that it started with.
func (h *holder) renew() error {
	if err := h.ask("renew"); err != nil {
		return err
	}
	rules, err := specimen.Rules()
	if err != nil {
		return err
	}
	return specimen.SetRules(h.cgroup, rules)
}

// mayUse returns nil when the device cgroup lets the container use the device
// at path.
func (h *holder) mayUse(path string) error { return h.ask("access " + path) }

// ask has the container's process do something.
func (h *holder) ask(line string) error {
	if _, err := io.WriteString(h.stdin, line+"\n"); err != nil {
		return err
	}
	switch answer, err := h.stdout.ReadString('\n'); {
	case err != nil:
		return fmt.Errorf("holder, %s: %w", line, err)
	case answer != "ok\n":
		return fmt.Errorf("holder, %s: %s", line, strings.TrimSpace(answer))
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
// standard input is something to do, and is answered by one. mapped is given
// when there is a user namespace.
func holderMain(rootfs string, mapped ...string) error {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	in := bufio.NewReader(os.Stdin)
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil
		}
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "access "); ok {
			// Where access(2) says yes the device controller does; nothing is opened.
			if err := unix.Access(rootfs+path, unix.R_OK|unix.W_OK); err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Println("ok")
			continue
		}
		if !first {
			if err := os.Chdir("/"); err != nil {
				return err
			}
			if err := unix.Unmount(rootfs, unix.MNT_DETACH); err != nil {
				return os.NewSyscallError("umount", err)
			}
		}
		if err := mountRoot(rootfs, len(mapped) > 0); err != nil {
			return err
		}
		fmt.Println("ok")
	}
}

func mountRoot(rootfs string, mapped bool) error {
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
	if err := os.Chdir(rootfs); err != nil {
		return err
	}
	if !mapped {
		return sandbox.Mknod("dev/null", unix.S_IFCHR|0o666, 1, 3, 0, 0)
	}
	// As runc does: a node that was made here could not be opened.
	if err := os.WriteFile("dev/null", nil, 0o666); err != nil {
		return err
	}
	return os.NewSyscallError("mount", unix.Mount("/dev/null", "dev/null", "", unix.MS_BIND, ""))
}
