package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Runc runs containers with the runc of the host.
type Runc struct {
	Root    string // --root, /run/runc of the sandbox when empty
	Systemd bool   // --systemd-cgroup: each container is a scope of systemd's
}

// State is what `runc state` says.
type State struct {
	specs.State
	Rootfs string `json:"rootfs"`
}

func (r Runc) root() string {
	if r.Root == "" {
		return "/run/runc"
	}
	return r.Root
}

// Create makes the container and runs its prestart hooks.
func (r Runc) Create(id, bundle string) error {
	_, err := r.run("create", "--bundle", bundle, id)
	return err
}

// Start runs the process of a created container.
func (r Runc) Start(id string) error {
	_, err := r.run("start", id)
	return err
}

// Run is Create and Start.
func (r Runc) Run(id, bundle string) error {
	if err := r.Create(id, bundle); err != nil {
		return err
	}
	return r.Start(id)
}

// Exec runs a command in the container and returns its standard output.
func (r Runc) Exec(id string, args ...string) (string, error) {
	return r.run(append([]string{"exec", id}, args...)...)
}

// Kill sends a signal, like "KILL", to the container's init.
func (r Runc) Kill(id, signal string) error {
	_, err := r.run("kill", id, signal)
	return err
}

// State asks for the container's state.
func (r Runc) State(id string) (State, error) {
	out, err := r.run("state", id)
	if err != nil {
		return State{}, err
	}
	return decodeState([]byte(out))
}

func decodeState(data []byte) (State, error) {
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("decode state %q: %w", data, err)
	}
	return s, nil
}

// Stop kills the container's init, waits until it is gone, and leaves the
// container stopped.
func (r Runc) Stop(id string) error {
	pid, err := r.Pid(id)
	if errors.Is(err, errStopped) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("kill", err)
	}
	return waitGone(pid)
}

var errStopped = errors.New("its init has ended")

// Pid is that of the container's init, as State says but from where runc notes it:
// runc itself takes a tenth of a second of an emulated machine.
func (r Runc) Pid(id string) (int, error) {
	data, err := os.ReadFile(filepath.Join(r.root(), id, "state.json"))
	if err != nil {
		return 0, err
	}
	var s struct {
		Pid   int    `json:"init_process_pid"`
		Start uint64 `json:"init_process_start"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return 0, fmt.Errorf("decode state of %s %q: %w", id, data, err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		return 0, err
	}
	// What follows the command's name: the third field of proc(5), the state, and on.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" || fields[19] != strconv.FormatUint(s.Start, 10) {
		return 0, fmt.Errorf("container %s: %w", id, errStopped)
	}
	return s.Pid, nil
}

// Delete stops the container when needed, runs its poststop hooks and forgets
// it. What the hooks print and their failure are not runc's to tell.
func (r Runc) Delete(id string) error {
	// `runc delete --force` alone kills, too, but then sleeps.
	if err := r.Stop(id); err != nil {
		return err
	}
	_, err := r.run("delete", "--force", id)
	return err
}

// Knows tells whether there is such a container, running or not.
func (r Runc) Knows(id string) bool {
	_, err := os.Stat(filepath.Join(r.root(), id))
	return err == nil
}

// DeleteAtEnd deletes the container when the test ends, if it is still there.
func (r Runc) DeleteAtEnd(t testing.TB, id string) {
	t.Helper()
	t.Cleanup(func() {
		if !r.Knows(id) {
			return
		}
		if err := r.Delete(id); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
}

// waitGone waits until no process has this pid.
func waitGone(pid int) error {
	gone := Await(func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		return errors.Is(err, os.ErrNotExist)
	})
	if !gone {
		return fmt.Errorf("process %d does not end", pid)
	}
	return nil
}

// run runs runc and returns its standard output. Output goes through files:
// the container's init inherits them and would keep a pipe open.
func (r Runc) run(args ...string) (string, error) {
	out, err := os.CreateTemp("", "runc-out-")
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer os.Remove(out.Name())
	msg, err := os.CreateTemp("", "runc-err-")
	if err != nil {
		return "", err
	}
	defer msg.Close()
	defer os.Remove(msg.Name())

	global := []string{"--root", r.root()}
	if r.Systemd {
		global = append(global, "--systemd-cgroup")
	}
	cmd := exec.Command("runc", append(global, args...)...)
	cmd.Stdout, cmd.Stderr = out, msg
	runErr := cmd.Run()
	stdout, err := os.ReadFile(out.Name())
	if err != nil {
		return "", err
	}
	if runErr != nil {
		stderr, _ := os.ReadFile(msg.Name())
		return string(stdout), fmt.Errorf("runc %s: %w: %s", strings.Join(args, " "), runErr, strings.TrimSpace(string(stderr)))
	}
	return string(stdout), nil
}
