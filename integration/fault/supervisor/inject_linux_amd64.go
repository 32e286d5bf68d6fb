package supervisor

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// filter is a seccomp program that stops at the given calls and lets all other
// ones pass at full speed: tracing every call would triple the time of a run.
func filter(calls map[uint64]call) []unix.SockFilter {
	const (
		load       = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer     = unix.BPF_RET | unix.BPF_K
		offsetNr   = 0 // struct seccomp_data
		offsetArch = 4
		retAllow   = 0x7fff0000
		retTrace   = 0x7ff00000
		archX8664  = 0xc000003e
	)
	numbers := slices.Sorted(maps.Keys(calls))
	n := len(numbers)
	prog := []unix.SockFilter{
		{Code: load, K: offsetArch},
		{Code: jumpEqual, K: archX8664, Jt: 0, Jf: uint8(n + 1)},
		{Code: load, K: offsetNr},
	}
	for i, nr := range numbers {
		prog = append(prog, unix.SockFilter{Code: jumpEqual, K: uint32(nr), Jt: uint8(n - i)})
	}
	return append(prog,
		unix.SockFilter{Code: answer, K: retAllow},
		unix.SockFilter{Code: answer, K: retTrace})
}

// installFilter makes the program, stopped at its first instruction, call
// seccomp(2) on itself: the filter must be there before the program runs and
// must not be inherited from us.
func installFilter(pid int, prog []unix.SockFilter) error {
	var saved unix.PtraceRegsAmd64
	if err := unix.PtraceGetRegsAmd64(pid, &saved); err != nil {
		return fmt.Errorf("ptrace getregs: %w", err)
	}
	// Below the stack pointer nothing lives yet.
	code := make([]byte, 0, 8*len(prog))
	for _, f := range prog {
		code = binary.LittleEndian.AppendUint16(code, f.Code)
		code = append(code, f.Jt, f.Jf)
		code = binary.LittleEndian.AppendUint32(code, f.K)
	}
	progAt := (saved.Rsp - 8192) &^ 15
	fprog := binary.LittleEndian.AppendUint64(nil, uint64(len(prog)))
	fprog = binary.LittleEndian.AppendUint64(fprog, progAt+16)
	if _, err := unix.PtracePokeData(pid, uintptr(progAt), append(fprog, code...)); err != nil {
		return fmt.Errorf("ptrace pokedata: %w", err)
	}

	ret, err := inject(pid, saved, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, progAt)
	if err == nil && ret == -int64(unix.EACCES) { // not root
		if ret, err = inject(pid, saved, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err == nil && ret == 0 {
			ret, err = inject(pid, saved, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, progAt)
		}
	}
	switch {
	case err != nil:
		return err
	case ret != 0:
		return fmt.Errorf("seccomp: %w", unix.Errno(-ret))
	}
	return nil
}

// inject lets the stopped program execute one system call and puts its
// registers and code back.
func inject(pid int, saved unix.PtraceRegsAmd64, nr, a, b, c uint64) (ret int64, err error) {
	at := uintptr(saved.Rip)
	old := make([]byte, 8)
	if _, err := unix.PtracePeekText(pid, at, old); err != nil {
		return 0, fmt.Errorf("ptrace peektext: %w", err)
	}
	patched := append([]byte{0x0f, 0x05}, old[2:]...) // syscall
	if _, err := unix.PtracePokeText(pid, at, patched); err != nil {
		return 0, fmt.Errorf("ptrace poketext: %w", err)
	}
	regs := saved
	regs.Rax, regs.Orig_rax = nr, ^uint64(0)
	regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8 = a, b, c, 0, 0
	if err := unix.PtraceSetRegsAmd64(pid, &regs); err != nil {
		return 0, fmt.Errorf("ptrace setregs: %w", err)
	}
	if err := unix.PtraceSingleStep(pid); err != nil {
		return 0, fmt.Errorf("ptrace singlestep: %w", err)
	}
	var ws unix.WaitStatus
	if _, err := wait(pid, &ws); err != nil {
		return 0, err
	}
	if !ws.Stopped() || ws.StopSignal() != unix.SIGTRAP {
		return 0, fmt.Errorf("single step ended with status %#x", uint32(ws))
	}
	if err := unix.PtraceGetRegsAmd64(pid, &regs); err != nil {
		return 0, fmt.Errorf("ptrace getregs: %w", err)
	}
	if _, err := unix.PtracePokeText(pid, at, old); err != nil {
		return 0, fmt.Errorf("ptrace poketext: %w", err)
	}
	if err := unix.PtraceSetRegsAmd64(pid, &saved); err != nil {
		return 0, fmt.Errorf("ptrace setregs: %w", err)
	}
	return int64(regs.Rax), nil
}
