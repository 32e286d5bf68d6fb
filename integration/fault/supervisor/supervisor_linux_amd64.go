package supervisor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Class says why a call is a point.
type Class uint8

const (
	// Change alters something that outlives the call: a file, a mount, a link.
	Change Class = 1 << iota
	// Guard alters nothing lasting, but what follows relies on its success:
	// fsync, flock, setns, unshare, chroot, execve.
	Guard
	// Look only opens something to read or to refer to it. Not selected unless
	// asked for.
	Look
)

func (c Class) String() string {
	switch c {
	case Change:
		return "change"
	case Guard:
		return "guard"
	case Look:
		return "look"
	default:
		return fmt.Sprintf("class %#x", uint8(c))
	}
}

// Action is what happens at the chosen point.
type Action int

const (
	// Leave lets everything pass and looks at nothing but the end, which costs a
	// part of what it takes to list the points.
	Leave Action = iota
	// Observe lets everything pass and only lists the points.
	Observe
	// KillBefore kills the program before the call is executed.
	KillBefore
	// KillAfter kills the program when the call has been executed, before the
	// program can look at its result.
	KillAfter
	// Fail skips the call and lets it return Fault.Errno.
	Fail
)

func (a Action) String() string {
	return [...]string{"leave", "observe", "kill before", "kill after", "fail"}[a]
}

// Fault is one interference. Its zero value is none.
type Fault struct {
	At     int // number of the point, from 1
	Action Action
	Errno  syscall.Errno // for Fail
	// Sticky makes every later point that the same cause would hit fail too: for
	// ENOSPC all that need room on a file system, else the ones of the same
	// name. A full disk does not become empty after the first error.
	Sticky bool
}

func (f Fault) String() string {
	switch {
	case f.Action <= Observe:
		return f.Action.String()
	case f.Action != Fail:
		return fmt.Sprintf("%s #%d", f.Action, f.At)
	case f.Sticky:
		return fmt.Sprintf("fail #%d and later with %s", f.At, unix.ErrnoName(f.Errno))
	default:
		return fmt.Sprintf("fail #%d with %s", f.At, unix.ErrnoName(f.Errno))
	}
}

// Point is one counted system call.
type Point struct {
	N        int
	Name     string
	Args     string // decoded: paths, what a descriptor refers to
	Class    Class
	Pid, Tid int
	Ret      int64 // result, -errno on failure; meaningless when !Done
	Done     bool  // the call has returned
}

func (p Point) String() string {
	s := fmt.Sprintf("#%d %s(%s)", p.N, p.Name, p.Args)
	switch {
	case !p.Done:
		return s
	case p.Ret < 0:
		return fmt.Sprintf("%s = -%s", s, unix.ErrnoName(syscall.Errno(-p.Ret)))
	default:
		return fmt.Sprintf("%s = %d", s, p.Ret)
	}
}

// Command describes a program to run. Path, Args and Env are those of execve:
// nothing is looked up and nothing inherited.
type Command struct {
	Path  string
	Args  []string // with argv[0]
	Env   []string
	Dir   string
	Stdin []byte

	Classes Class // which points count; zero means Change|Guard
	// Children counts the calls of child processes too. Children are traced and
	// end with the program in any case.
	Children bool
	// Ignore leaves out a call that would otherwise be a point.
	Ignore func(Point) bool
	// Timeout is the bound after which the program counts as hanging and is
	// killed; zero means 30 s.
	Timeout time.Duration
}

// Result is what a run has shown.
type Result struct {
	Points []Point
	Hit    *Point // the point interfered with; nil when the program ended before

	ExitCode int // -1 when a signal ended the program
	Signal   syscall.Signal
	TimedOut bool
	// Orphans counts child processes that still lived when the program ended.
	Orphans        int
	Execs          []string // programs that the program or a child executed
	Stdout, Stderr []byte
}

// String is the way the program ended, in one line.
func (r *Result) String() string {
	end := fmt.Sprintf("exit %d", r.ExitCode)
	if r.ExitCode < 0 {
		end = r.Signal.String()
	}
	if r.TimedOut {
		end += " after the time limit"
	}
	return end
}

// Run starts the program, interferes as f says and returns when the program and
// all its children are gone.
func (c Command) Run(f Fault) (*Result, error) {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Classes == 0 {
		c.Classes = Change | Guard
	}
	io, err := newStdio(c.Stdin)
	if err != nil {
		return nil, err
	}
	defer io.close()

	var res *Result
	onFreshThread(func() { res, err = newTracer(c, f).run(io.files()) })
	if err != nil {
		return nil, fmt.Errorf("trace %q: %w", c.Path, err)
	}
	res.Stdout, res.Stderr = io.collect()
	return res, nil
}

// onFreshThread calls f on a thread that has no children and ends with f: what
// the test has started on the same thread before would be waited for, and
// collected, by the tracer. Threads with children are held until another one is
// found, so that the scheduler has to come up with one.
func onFreshThread(f func()) {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		const flags = unix.WEXITED | unix.WNOHANG | unix.WNOWAIT | unix.WALL | unix.WNOTHREAD
		err := unix.Waitid(unix.P_ALL, 0, nil, flags, nil)
		if errors.Is(err, unix.ECHILD) {
			f() // never unlocked: PTRACE_O_EXITKILL ends the traced with the thread
		} else {
			onFreshThread(f)
			runtime.UnlockOSThread()
		}
		close(done)
	}()
	<-done
}

// stdio is the three pipes of a traced program.
type stdio struct {
	child   [3]*os.File
	parent  [3]*os.File
	outputs [2]chan []byte
}

func newStdio(stdin []byte) (*stdio, error) {
	s := new(stdio)
	for i := range s.child {
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			return nil, fmt.Errorf("make pipe: %w", err)
		}
		s.child[i], s.parent[i] = w, r
		if i == 0 {
			s.child[i], s.parent[i] = r, w
		}
	}
	go func(w *os.File) {
		w.Write(stdin) // a program that does not read its input is not our error
		w.Close()
	}(s.parent[0])
	for i := range s.outputs {
		ch := make(chan []byte, 1)
		s.outputs[i] = ch
		go func(r *os.File) { ch <- readAll(r) }(s.parent[i+1])
	}
	return s, nil
}

// readAll keeps the first MiB and drains the rest.
func readAll(r *os.File) []byte {
	const limit = 1 << 20
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if len(all) < limit {
			all = append(all, buf[:n]...)
		}
		if err != nil {
			return all
		}
	}
}

func (s *stdio) files() []uintptr {
	return []uintptr{s.child[0].Fd(), s.child[1].Fd(), s.child[2].Fd()}
}

// collect returns the output of a program of which no process is left.
func (s *stdio) collect() (stdout, stderr []byte) {
	for _, f := range s.child {
		f.Close()
	}
	return <-s.outputs[0], <-s.outputs[1]
}

func (s *stdio) close() {
	for i := range s.child {
		if s.child[i] != nil {
			s.child[i].Close()
			s.parent[i].Close()
		}
	}
}
