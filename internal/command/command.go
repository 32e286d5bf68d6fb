// Package command executes other programs: with a clean environment, no standard
// input, a limit on what is kept of their output, and an end when the context
// ends. It knows nothing of what the programs do.
package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Path is where Find looks, and the PATH that programs are given: whoever starts
// a hook or a udev helper chooses neither.
const Path = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"

const (
	// defaultLimit holds any answer of the programs we ask; `isula inspect` of a
	// container with a long environment comes to some 100 KB.
	defaultLimit = 4 << 20
	// stderrLimit is more than anybody reads.
	stderrLimit = 64 << 10
	// grace is for a killed program to die and for a pipe that a child of an ended
	// one still holds: udevd and lcr count seconds for us too.
	grace = 500 * time.Millisecond
)

// LookPath returns the path of the program called name in the folders of Path. It is
// for what a hook or a udev helper executes; a command that a person runs uses
// exec.LookPath.
func LookPath(name string) (string, error) { return lookPathIn(name, Path) }

func lookPathIn(name, path string) (string, error) {
	if name == "" || strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("find program %q: not a plain name", name)
	}
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("find program %q: in none of %s: %w", name, path, fs.ErrNotExist)
}

// Cmd is one execution. Operands that come from outside follow a "--" in Args.
type Cmd struct {
	Path  string   // absolute
	Args  []string // without the program's own name
	Env   []string // more than LC_ALL=C and PATH; of two entries with one name the last counts
	Limit int      // of standard output, in bytes; 0: 4 MiB. More than that is an error.
}

// Output is what a program wrote. Standard error is cut off silently where it
// gets long.
type Output struct{ Stdout, Stderr []byte }

// Error says how an execution failed; Err is an *exec.ExitError, the context's
// cause, or why the program could not be started.
type Error struct {
	Program string
	Stderr  string // as one line, shortened
	Err     error
}

func (e *Error) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("execute %s: %v", e.Program, e.Err)
	}
	return fmt.Sprintf("execute %s: %v: %s", e.Program, e.Err, e.Stderr)
}

func (e *Error) Unwrap() error { return e.Err }

// Run executes the program in / and waits for its end. When ctx ends first, the
// program is killed with all that it started. The error is an *Error; what the
// program wrote is returned beside it.
func (c Cmd) Run(ctx context.Context) (Output, error) {
	name := filepath.Base(c.Path)
	fail := func(out Output, err error) (Output, error) {
		return out, &Error{Program: name, Stderr: OneLine(string(out.Stderr)), Err: err}
	}
	if !filepath.IsAbs(c.Path) {
		return fail(Output{}, fmt.Errorf("%q is not an absolute path", c.Path))
	}
	if ctx.Err() != nil {
		return fail(Output{}, fmt.Errorf("not started: %w", context.Cause(ctx)))
	}
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	stdout, stderr := &buffer{limit: limit}, &buffer{limit: stderrLimit}
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Args[0] = name
	cmd.Env = append([]string{"LC_ALL=C", "PATH=" + Path}, c.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A group of its own, so that all it started can be killed with it. Not
	// PR_SET_PDEATHSIG: it fires when the thread that forked ends, which in Go is
	// not when the process does.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return fail(Output{}, err)
	}
	err := waitAtMost(ctx, cmd.Wait, 2*grace)
	out := Output{Stdout: stdout.bytes(), Stderr: stderr.bytes()}
	switch {
	case ctx.Err() != nil && err != nil:
		return fail(out, fmt.Errorf("killed: %w", context.Cause(ctx)))
	// The program itself ended well; what it left behind and still holds the pipe
	// is not ours to wait for.
	case errors.Is(err, exec.ErrWaitDelay):
	case err != nil:
		return fail(out, err)
	}
	if stdout.isFull() {
		return fail(out, fmt.Errorf("wrote more than %d bytes", limit))
	}
	return out, nil
}

// waitAtMost returns what wait does, but not later than grace after the end of
// ctx: a program that sits in the kernel (modprobe, in a module's init function)
// does not die of SIGKILL, and must not hold a container's start for ever.
func waitAtMost(ctx context.Context, wait func() error, grace time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return context.Cause(ctx)
	}
}
