// Package sandbox gives a test binary a world of its own: its own mount,
// network, UTS, IPC and PID namespaces, a root that is a throw-away layer over
// the host's, a private /dev, and in it real runc containers with bundles in
// the shape iSulad writes them.
//
// What the tests do there (mounts on /.sharedpath, nodes in /dev, files in
// /etc and /run, links) ends with the namespaces, also when a test panics or
// times out. Two things are still the host's: the kernel itself (modules) and
// the cgroup hierarchies, where everything stays below [CgroupParent] and is
// removed by the parent process.
//
// The package knows nothing of isulad-tools' own formats.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// The environment carries what the three processes of one run must agree on:
// the parent on the host, init (PID 1 of the sandbox, builds the world and
// reaps), and the test binary proper.
const (
	envRole   = "ISULAD_SANDBOX"        // "init" or "test"
	envStage  = "ISULAD_SANDBOX_STAGE"  // staging directory on the host
	envCgroup = "ISULAD_SANDBOX_CGROUP" // cgroup parent, absolute
	envBinary = "ISULAD_TOOLS_BIN"      // the binary under test
	envNoBin  = "ISULAD_SANDBOX_BUILD"  // why there is no such binary
)

// Main is to be called from TestMain. On the host it starts the same test
// binary again inside a sandbox and exits with its status; inside it runs the
// tests. It fails, and never skips, when the sandbox cannot be made.
func Main(m *testing.M) {
	switch os.Getenv(envRole) {
	case "test":
		os.Exit(m.Run())
	case "init":
		code, err := initMain()
		if err != nil {
			fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
			code = 1
		}
		os.Exit(code)
	default:
		code, err := hostMain()
		if err != nil {
			fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
			code = max(code, 1)
		}
		os.Exit(code)
	}
}

// CgroupParent is the one cgroup directory that belongs to this run, like
// "/isulad-test-4711"; containers go below it. It is made on first use.
func CgroupParent() string { return os.Getenv(envCgroup) }

// hostMain is the parent: it owns what outlives the namespaces (the staging
// directory and the cgroups) and passes signals on.
func hostMain() (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests need root")
	}
	// PDEATHSIG fires when the creating thread ends, so keep it.
	runtime.LockOSThread()

	stage, err := os.MkdirTemp("/tmp", "isulad-sandbox-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	parent := fmt.Sprintf("/isulad-test-%d", os.Getpid())
	defer func() { err = errors.Join(err, removeCgroups(parent)) }()

	env := append(os.Environ(), envRole+"=init", envStage+"="+stage, envCgroup+"="+parent, "TMPDIR=/tmp")
	env = append(env, binaryEnv(stage)...)

	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start sandbox: %w", err)
	}
	go forward(signals, cmd.Process)
	return exitCode(cmd.Wait())
}

// forwarded are the signals that go test and a terminal send.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP}

func forward(signals <-chan os.Signal, to *os.Process) {
	for s := range signals {
		// It may be gone already; then there is nobody to tell.
		_ = to.Signal(s)
	}
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			return 128 + int(s.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// initMain is PID 1 of the sandbox. It stays between the tests and the kernel
// because containers' processes are orphaned to PID 1 and must be reaped for
// /proc/<pid> to vanish, which the Go test binary would not do. When it ends
// the kernel kills whatever is left, so no container outlives the tests.
func initMain() (int, error) {
	if err := buildWorld(os.Getenv(envStage)); err != nil {
		return 1, fmt.Errorf("build world: %w", err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 1, err
	}
	args := []string{os.Args[0]}
	for _, a := range os.Args[1:] {
		// Without this log go test does not cache the result, which depends on
		// the binary under test that go knows nothing about.
		if !strings.HasPrefix(a, "-test.testlogfile=") {
			args = append(args, a)
		}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	wd, err := os.Getwd()
	if err != nil {
		return 1, err
	}
	if err := os.Setenv(envRole, "test"); err != nil {
		return 1, err
	}
	child, err := os.StartProcess(exe, args, &os.ProcAttr{
		Dir:   wd,
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 1, err
	}
	go forward(signals, child)
	code, err := reapUntil(child.Pid)
	// A frozen process does not die with its PID namespace but hangs it.
	return code, errors.Join(err, thaw(CgroupParent()))
}

// reapUntil waits for every child of PID 1 and returns when it was pid.
func reapUntil(pid int) (int, error) {
	for {
		var s syscall.WaitStatus
		got, err := syscall.Wait4(-1, &s, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, os.NewSyscallError("wait4", err)
		case got != pid:
		case s.Signaled():
			return 128 + int(s.Signal()), nil
		default:
			return s.ExitStatus(), nil
		}
	}
}
