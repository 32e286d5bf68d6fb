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
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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
		// Inherited, as the first of cmd.ExtraFiles.
		unix.CloseOnExec(layersFD)
		os.Exit(m.Run())
	case "init":
		exit(initMain(tests))
	default:
		exit(hostMain(binaryEnv))
	}
}

// Execute is a whole main: it runs a command in a sandbox and exits with the
// command's status. What the command changes on the host's file systems is lost;
// cgroups that it makes below $SANDBOX_CGROUP are removed.
func Execute(command []string) {
	if os.Getenv(envRole) != "init" {
		exit(hostMain(func(string) []string { return nil }))
	}
	exit(initMain(func(*os.File) (*exec.Cmd, error) {
		cgroup := CgroupParent()
		// Not for the command, which may start sandboxes of its own.
		for _, name := range []string{envRole, envStage, envCgroup} {
			if err := os.Unsetenv(name); err != nil {
				return nil, err
			}
		}
		if err := os.Setenv("SANDBOX_CGROUP", cgroup); err != nil {
			return nil, err
		}
		return exec.Command(command[0], command[1:]...), nil
	}))
}

func exit(code int, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// stagePrefix is how the names of staging directories begin.
const stagePrefix = "isulad-sandbox-"

// CgroupParent is the one cgroup directory that belongs to this run, like
// "/isulad-test-471147"; containers go below it. It is made on first use.
func CgroupParent() string { return os.Getenv(envCgroup) }

// hostMain is the parent: it owns what outlives the namespaces (the staging
// directory and the cgroups) and passes signals on. more is environment.
func hostMain(more func(stage string) []string) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests need root")
	}
	// PDEATHSIG fires when the creating thread ends, so keep it.
	runtime.LockOSThread()

	stage, err := os.MkdirTemp("/tmp", stagePrefix)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	// Not named after the process: those of sandboxes in sandboxes have the same ids.
	parent := "/isulad-test-" + strings.TrimPrefix(filepath.Base(stage), stagePrefix)
	defer func() { err = errors.Join(err, removeCgroups(parent)) }()

	env := append(os.Environ(), envRole+"=init", envStage+"="+stage, envCgroup+"="+parent, "TMPDIR=/tmp")
	env = append(env, more(stage)...)

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
// program says what to run, and gets the folder of the layers.
func initMain(program func(layers *os.File) (*exec.Cmd, error)) (int, error) {
	layers, err := buildWorld(os.Getenv(envStage))
	if err != nil {
		return 1, fmt.Errorf("build world: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	parent := CgroupParent()
	cmd, err := program(layers)
	if err != nil {
		return 1, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go forward(signals, cmd.Process)
	code, err := reapUntil(cmd.Process.Pid)
	// A frozen process does not die with its PID namespace but hangs it.
	return code, errors.Join(err, thaw(parent))
}

// tests is this test binary in its last role.
func tests(layers *os.File) (*exec.Cmd, error) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: exe, Args: []string{os.Args[0]}, ExtraFiles: []*os.File{layers}}
	for _, a := range os.Args[1:] {
		// Without this log go test does not cache the result, which depends on
		// the binary under test that go knows nothing about.
		if !strings.HasPrefix(a, "-test.testlogfile=") {
			cmd.Args = append(cmd.Args, a)
		}
	}
	return cmd, os.Setenv(envRole, "test")
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
