package holder

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kernel is an older kernel, as far as its system calls tell: a program that is
// run as on one finds that those which came later do not exist (ENOSYS).
type Kernel struct {
	Name string
	// last is the newest system call; 0: all that there are. One table serves
	// all architectures from 424 on; what came before stands in each one's own.
	last uint32
}

// The kernels. 4.19 is openEuler 20.03's, before openat2, pidfds and the new mount
// calls; 5.10 is openEuler 22.03's, before mount_setattr, which came with 5.12.
var (
	Running = Kernel{Name: "as it is"}
	V5_10   = Kernel{Name: "5.10", last: 440} // process_madvise
	V4_19   = Kernel{Name: "4.19", last: lastBeforeUnified}
)

// Command is the program and its arguments, argv[0] first, by which path is
// executed as on the kernel.
func (k Kernel) Command(path string, argv []string) (string, []string, error) {
	if k.last == 0 {
		return path, argv, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	return self, append([]string{asKernelCmd, strconv.Itoa(int(k.last)), path}, argv...), nil
}

// asKernelMain sets the filter and executes the program: args are the newest
// system call, the program's path and its argv.
func asKernelMain(args []string) error {
	runtime.LockOSThread() // the filter is a thread's
	last, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return err
	}
	// As it is: os.Environ leaves out the second of a name.
	text, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return err
	}
	env := strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: uint32(last), Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Root needs no PR_SET_NO_NEW_PRIVS, which the program would notice.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	runtime.KeepAlive(filter)
	return fmt.Errorf("execute %s: %w", args[1], unix.Exec(args[1], args[2:], env))
}
