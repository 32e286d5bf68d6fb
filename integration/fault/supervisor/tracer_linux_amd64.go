package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tracer is one run. All its methods but expire run on one thread, because only
// the thread that traces may wait for and steer the traced.
type tracer struct {
	cmd   Command
	fault Fault
	res   *Result

	main    int                 // pid of the program
	threads map[int]*thread     // by tid
	busy    int                 // tid of the thread inside a point, 0 when none
	queue   []int               // tids that wait at the entry of a point
	killing bool                // everything has been killed, only reaping is left
	stuck   bool                // the chosen point has failed, and others do now, too
	mu      sync.Mutex          // guards procs and expired
	procs   map[int]*os.Process // traced processes; a pidfd each
	expired bool
}

// thread is a traced thread.
type thread struct {
	pid   int
	seen  bool   // its first stop is behind
	point int    // index+1 in res.Points of the point that it executes
	kill  bool   // kill everything when that point has returned
	again *Point // the point that a signal interrupted and the kernel restarts
	nr    uint64
	arg   [6]uint64
}

func newTracer(c Command, f Fault) *tracer {
	return &tracer{
		cmd: c, fault: f, res: &Result{ExitCode: -1},
		threads: map[int]*thread{}, procs: map[int]*os.Process{},
	}
}

const traceOptions = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP |
	unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC

func (t *tracer) run(files []uintptr) (*Result, error) {
	pid, err := syscall.ForkExec(t.cmd.Path, t.cmd.Args, &syscall.ProcAttr{
		Dir: t.cmd.Dir, Env: t.cmd.Env, Files: files,
		Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	t.main = pid
	if err := t.begin(); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		return nil, err
	}
	timer := time.AfterFunc(t.cmd.Timeout, t.expire)
	err = t.loop()
	timer.Stop()
	t.mu.Lock()
	t.res.TimedOut = t.expired
	t.mu.Unlock()
	return t.res, err
}

// begin prepares the program at its first stop, just after execve.
func (t *tracer) begin() error {
	var ws unix.WaitStatus
	if _, err := wait(t.main, &ws); err != nil {
		return err
	}
	if !ws.Stopped() {
		return fmt.Errorf("program did not stop at execve: status %#x", uint32(ws))
	}
	if err := unix.PtraceSetOptions(t.main, traceOptions); err != nil {
		return os.NewSyscallError("ptrace setoptions", err)
	}
	if t.fault.Action != Leave {
		if err := installFilter(t.main, filter(calls)); err != nil {
			return fmt.Errorf("install seccomp filter: %w", err)
		}
	}
	t.threads[t.main] = &thread{pid: t.main, seen: true}
	t.adopt(t.main)
	return os.NewSyscallError("ptrace cont", unix.PtraceCont(t.main, 0))
}

// loop steers the traced until none is left.
func (t *tracer) loop() error {
	for {
		var ws unix.WaitStatus
		tid, err := wait(-1, &ws)
		if errors.Is(err, unix.ECHILD) {
			return nil
		}
		if err != nil {
			return err
		}
		if ws.Exited() || ws.Signaled() {
			t.gone(tid, ws)
			continue
		}
		if ws.Stopped() {
			t.stop(tid, ws)
		}
	}
}

// wait waits for a child of this thread: without WNOTHREAD it would take exit
// statuses that other goroutines of the test wait for.
func wait(pid int, ws *unix.WaitStatus) (int, error) {
	for {
		tid, err := unix.Wait4(pid, ws, unix.WALL|unix.WNOTHREAD, nil)
		if err != unix.EINTR { //nolint:errorlint // a bare errno
			return tid, os.NewSyscallError("wait4", err)
		}
	}
}

// gone notes the end of a thread or process.
func (t *tracer) gone(tid int, ws unix.WaitStatus) {
	delete(t.threads, tid)
	t.mu.Lock()
	if p := t.procs[tid]; p != nil {
		_ = p.Release()
		delete(t.procs, tid)
	}
	orphans := len(t.procs)
	t.mu.Unlock()
	if tid == t.main {
		if ws.Exited() {
			t.res.ExitCode = ws.ExitStatus()
		} else {
			t.res.Signal = ws.Signal()
		}
		if !t.killing {
			t.res.Orphans = orphans
		}
		t.killAll()
	}
	if tid == t.busy {
		t.release()
	}
}

// stop handles one stop of one thread and lets it go on.
func (t *tracer) stop(tid int, ws unix.WaitStatus) {
	th := t.threads[tid]
	if th == nil {
		th = &thread{pid: threadGroup(tid)}
		t.threads[tid] = th
		t.adopt(th.pid)
	}
	sig := ws.StopSignal()
	switch {
	case sig == unix.SIGTRAP|0x80:
		t.exit(tid, th)
	case sig == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		t.entry(tid, th)
	case sig == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_EXEC:
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", tid)); err == nil {
			t.res.Execs = append(t.res.Execs, exe)
		}
		t.resume(tid, 0)
	case sig == unix.SIGTRAP && ws.TrapCause() > 0:
		t.resume(tid, 0)
	case sig == unix.SIGSTOP && !th.seen: // how a new thread introduces itself
		t.resume(tid, 0)
	default:
		t.resume(tid, sig)
	}
	th.seen = true
}

// entry handles a call that the seccomp filter has picked.
func (t *tracer) entry(tid int, th *thread) {
	if t.killing {
		t.resume(tid, 0)
		return
	}
	if t.busy != 0 && t.threads[t.busy] != nil {
		t.queue = append(t.queue, tid)
		return
	}
	t.busy = 0

	var regs unix.PtraceRegsAmd64
	if err := unix.PtraceGetRegsAmd64(tid, &regs); err != nil {
		t.resume(tid, 0) // killed meanwhile
		return
	}
	s := &stopped{tid: tid, pid: th.pid, arg: [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}}
	c := calls[regs.Orig_rax]
	if regs.Orig_rax == unix.SYS_OPENAT2 && cachedOnly(s) {
		fail(tid, &regs, unix.EAGAIN)
		t.resume(tid, 0)
		return
	}
	p, ok := t.point(s, th, c, regs.Orig_rax)
	if !ok {
		t.resume(tid, 0)
		return
	}
	th.point, th.nr, th.arg = p.N, regs.Orig_rax, s.arg
	if !c.blocks {
		t.busy = tid
	}

	hit := p.N == t.fault.At && t.fault.Action > Observe
	switch {
	case hit && t.fault.Action == KillBefore:
		t.killAll()
		t.resume(tid, 0)
		return
	case hit && t.fault.Action == KillAfter:
		th.kill = true
	case hit && t.fault.Action == Fail, t.sticks(c, p):
		if !fail(tid, &regs, t.fault.Errno) {
			t.resume(tid, 0)
			return
		}
		t.stuck = t.fault.Sticky
	}
	t.resumeSyscall(tid)
}

// fail makes the call that a thread is about to make fail, and tells whether it will.
func fail(tid int, regs *unix.PtraceRegsAmd64, errno unix.Errno) bool {
	regs.Orig_rax, regs.Rax = ^uint64(0), uint64(-int64(errno))
	return unix.PtraceSetRegsAmd64(tid, regs) == nil
}

// sticks tells whether a point fails for the same reason as the chosen one did.
func (t *tracer) sticks(c call, p Point) bool {
	if !t.stuck {
		return false
	}
	if t.fault.Errno == unix.ENOSPC {
		return c.space && !strings.Contains(p.Args, "</sys/") && !strings.Contains(p.Args, "</proc/")
	}
	return c.name == t.res.Hit.Name
}

// point counts the call when it is one of those asked for.
func (t *tracer) point(s *stopped, th *thread, c call, nr uint64) (Point, bool) {
	if again := th.again; again != nil {
		th.again = nil
		if th.nr == nr && th.arg == s.arg {
			return *again, true
		}
	}
	if s.pid != t.main && !t.cmd.Children {
		return Point{}, false
	}
	class := c.class
	if c.narrow != nil {
		class = c.narrow(s)
	}
	if class&t.cmd.Classes == 0 {
		return Point{}, false
	}
	p := Point{N: len(t.res.Points) + 1, Name: c.name, Args: s.describe(c), Class: class, Pid: s.pid, Tid: s.tid}
	if t.cmd.Ignore != nil && t.cmd.Ignore(p) {
		return Point{}, false
	}
	t.res.Points = append(t.res.Points, p)
	if p.N == t.fault.At && t.fault.Action > Observe {
		hit := p
		t.res.Hit = &hit
	}
	return p, true
}

// exit handles the return from a point.
func (t *tracer) exit(tid int, th *thread) {
	var regs unix.PtraceRegsAmd64
	if th.point > 0 && unix.PtraceGetRegsAmd64(tid, &regs) == nil {
		p := &t.res.Points[th.point-1]
		p.Ret, p.Done = int64(regs.Rax), true
		const restartFirst, restartLast = -516, -512 // ERESTARTSYS and its kin, seen by tracers only
		if p.Ret >= restartFirst && p.Ret <= restartLast {
			again := *p
			th.again = &again
		}
		if t.res.Hit != nil && t.res.Hit.N == p.N {
			*t.res.Hit = *p
		}
		if th.kill {
			t.killAll()
		}
	}
	th.point, th.kill = 0, false
	t.resume(tid, 0)
	if tid == t.busy {
		t.release()
	}
}

// release lets the threads that wait at a point go on, until one is in it.
func (t *tracer) release() {
	t.busy = 0
	for len(t.queue) > 0 && t.busy == 0 {
		tid := t.queue[0]
		t.queue = t.queue[1:]
		if th := t.threads[tid]; th != nil {
			t.entry(tid, th)
		}
	}
}

// resume continues a thread. A thread that has been killed is not there any
// more, and wait tells about it next: no error of ptrace matters here.
func (t *tracer) resume(tid int, sig syscall.Signal) { _ = unix.PtraceCont(tid, int(sig)) }

func (t *tracer) resumeSyscall(tid int) { _ = unix.PtraceSyscall(tid, 0) }

// adopt remembers a process, so that it can be killed without a race for its pid.
func (t *tracer) adopt(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.procs[pid] != nil {
		return
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	t.procs[pid] = p
	if t.expired || t.killing {
		_ = p.Kill()
	}
}

// killAll kills the program and its children.
func (t *tracer) killAll() {
	t.killing = true
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.procs {
		_ = p.Kill()
	}
}

// expire is called by the timer, on another thread.
func (t *tracer) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expired = true
	for _, p := range t.procs {
		_ = p.Kill()
	}
}

// threadGroup is the process that a thread belongs to.
func threadGroup(tid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return tid
	}
	for line := range strings.Lines(string(b)) {
		var pid int
		if _, err := fmt.Sscanf(line, "Tgid: %d", &pid); err == nil {
			return pid
		}
	}
	return tid
}
