package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// programs are built in the run that measures them, with the same flags, which
// are the Makefile's.
var programs = map[string]string{
	"isulad-hooks": "./cmd/isulad-tools",
	"empty":        "./integration/bench/testdata/empty",
	"decode":       "./integration/bench/testdata/decode",
}

func buildPrograms(dir string) error {
	top, err := sandbox.Module()
	if err != nil {
		return err
	}
	for name, source := range programs {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs",
			"-ldflags", "-s -w", "-o", filepath.Join(dir, name), source)
		cmd.Dir = top
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0")
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", source, err, msg)
		}
	}
	return nil
}

// sample is what one run of something took.
type sample struct {
	wall time.Duration
	cpu  time.Duration // user and system time; 0 when it was not a process
	// faults are the page faults that needed no disk.
	faults int64
}

// invocation is one run of a program, as a runtime runs a hook: in the bundle,
// with the hook's own environment, which is empty, the state in a pipe.
type invocation struct {
	path  string
	args  []string // with argv[0]
	dir   string
	stdin []byte
	says  string // how what it prints begins; "": it prints nothing
}

// run runs the program from fork to wait. It must succeed, and say no more than it
// is to say.
func (i invocation) run() (sample, error) {
	var s sample
	err := i.start(&syscall.SysProcAttr{}, func(pid int, started time.Time) (syscall.WaitStatus, error) {
		var (
			status syscall.WaitStatus
			usage  syscall.Rusage
		)
		_, err := retry(func() (int, error) { return syscall.Wait4(pid, &status, 0, &usage) })
		s.wall = time.Since(started)
		s.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		s.faults = usage.Minflt
		return status, os.NewSyscallError("wait4", err)
	})
	return s, err
}

// peak runs the program and returns the most memory that was resident, in
// bytes. ru_maxrss would include our own, for that of the forking process is
// kept over execve(2), so the program is stopped at its end and asked.
func (i invocation) peak() (bytes int64, err error) {
	runtime.LockOSThread() // a tracee belongs to a thread
	defer runtime.UnlockOSThread()
	err = i.start(&syscall.SysProcAttr{Ptrace: true}, func(pid int, _ time.Time) (status syscall.WaitStatus, err error) {
		options := unix.PTRACE_O_TRACEEXIT | unix.PTRACE_O_EXITKILL
		for {
			if _, err := retry(func() (int, error) { return syscall.Wait4(pid, &status, 0, nil) }); err != nil {
				return status, os.NewSyscallError("wait4", err)
			}
			if !status.Stopped() {
				return status, nil
			}
			signal := 0
			switch {
			case options != 0: // the stop after execve
				if err := unix.PtraceSetOptions(pid, options); err != nil {
					return status, os.NewSyscallError("ptrace", err)
				}
				options = 0
			case status.TrapCause() == unix.PTRACE_EVENT_EXIT:
				if bytes, err = highWater(pid); err != nil {
					return status, err
				}
			default:
				signal = int(status.StopSignal())
			}
			if err := unix.PtraceCont(pid, signal); err != nil {
				return status, os.NewSyscallError("ptrace", err)
			}
		}
	})
	return bytes, err
}

// highWater is VmHWM of a process.
func highWater(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmHWM in its status", pid)
}

// start forks the program, lets wait wait for it, and judges its end.
func (i invocation) start(attr *syscall.SysProcAttr, wait func(int, time.Time) (syscall.WaitStatus, error)) error {
	stdin, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	_, err = feed.Write(i.stdin) // it fits into the pipe
	feed.Close()
	if err != nil {
		return err
	}
	mouth, output, err := os.Pipe()
	if err != nil {
		return err
	}
	defer mouth.Close()
	files := []uintptr{stdin.Fd(), output.Fd(), output.Fd()}

	started := time.Now()
	pid, err := syscall.ForkExec(i.path, i.args, &syscall.ProcAttr{Dir: i.dir, Env: []string{}, Files: files, Sys: attr})
	if err != nil {
		output.Close()
		return &os.PathError{Op: "exec", Path: i.path, Err: err}
	}
	status, err := wait(pid, started)
	output.Close()
	if err != nil {
		return err
	}
	var words bytes.Buffer
	if _, err := words.ReadFrom(mouth); err != nil {
		return err
	}
	said := words.String()
	if !status.Exited() || status.ExitStatus() != 0 || !strings.Contains(said, i.says) || (said == "") != (i.says == "") {
		return fmt.Errorf("%s: wait status %#x, it said %q", strings.Join(i.args, " "), status, said)
	}
	return nil
}

// retry repeats what a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}
