package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hook is a hook as a container's config.json has it.
type Hook struct {
	Path   string
	Args   []string // argv, [0] first
	Env    []string
	Kernel Kernel // on which it runs
}

// State is what lcr prints on a hook's standard input: an ociVersion that is
// empty, no status.
func State(id string, pid int, root, bundle string) string {
	return fmt.Sprintf(`{"ociVersion":"","id":"%s","pid":%d,"root":"%s","bundle":"%s"}`, id, pid, root, bundle)
}

// timeout is what lcr gives a hook that does not say.
const timeout = 30 * time.Second

// Run executes the hook as lcr does: in /, with an environment of its own, and
// pipes that do not block and are read only after its end. It returns what the
// hook wrote, both streams.
func (h Hook) Run(state string) (string, error) {
	path, argv, err := h.Kernel.Command(h.Path, h.Args)
	if err != nil {
		return "", err
	}
	var in, out [2]int
	for _, p := range []*[2]int{&in, &out} {
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			return "", os.NewSyscallError("pipe2", err)
		}
		defer unix.Close(p[0])
	}
	process, err := fork(path, argv, h.environment(state), in[0], out[1])
	unix.Close(out[1])
	if err != nil {
		unix.Close(in[1])
		return "", err
	}
	_, err = unix.Write(in[1], []byte(state))
	unix.Close(in[1])
	if err != nil && !errors.Is(err, unix.EPIPE) {
		return "", os.NewSyscallError("write", err)
	}
	timer := time.AfterFunc(timeout, func() { _ = process.Kill() })
	defer timer.Stop()
	status, err := process.Wait()
	if err != nil {
		return "", err
	}
	text := make([]byte, 1<<16)
	n, err := unix.Read(out[0], text)
	if err != nil {
		return "", os.NewSyscallError("read", err)
	}
	if !status.Success() {
		return string(text[:n]), fmt.Errorf("error running hook: %v, output: %s", status, text[:n])
	}
	return string(text[:n]), nil
}

// fork starts a process without os/exec, which would make the pipes block.
func fork(path string, argv, env []string, stdin, stdout int) (*os.Process, error) {
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   env,
		Files: []uintptr{uintptr(stdin), uintptr(stdout), uintptr(stdout)},
	})
	if err != nil {
		return nil, &os.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	return os.FindProcess(pid)
}

// environment is lcr's: some of the daemon's, its own, then the hook's. There
// is no HOME.
func (h Hook) environment(state string) []string {
	var s struct {
		ID, Root, Bundle string
		Pid              int
	}
	_ = json.Unmarshal([]byte(state), &s) // a broken one is the hook's to refuse
	return append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LXC_CGNS_AWARE=1",
		fmt.Sprintf("LXC_PID=%d", max(s.Pid, 0)),
		"LXC_ROOTFS_MOUNT=" + s.Root,
		"LXC_CONFIG_FILE=" + filepath.Join(s.Bundle, "config"),
		"LXC_CGROUP_PATH=" + strings.TrimPrefix("/isulad/"+s.ID, "/"),
		"LXC_ROOTFS_PATH=" + s.Root,
		"LXC_NAME=" + s.ID,
	}, h.Env...)
}
