package units

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// envKernel makes the test binary's kernel look like an older one.
const envKernel = "ISULAD_TOOLS_UNITS_KERNEL"

// missing are the system calls that a kernel does not have yet, by its release.
var missing = map[string][]uint32{
	"5.10": {unix.SYS_MOUNT_SETATTR},
	"4.19": {
		unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
		unix.SYS_OPENAT2, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_CLONE3, unix.SYS_FACCESSAT2,
	},
}

// lacks tells whether the kernel, or the one that we pretend to have, has no
// such call.
func lacks(call uint32) bool { return slices.Contains(missing[os.Getenv(envKernel)], call) }

// pretendKernel makes the calls that the release lacks fail with ENOSYS, in all
// threads and children of this process.
func pretendKernel(release string) error {
	calls, ok := missing[release]
	if !ok {
		return fmt.Errorf("no kernel %q", release)
	}
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // seccomp_data.nr
	for i, nr := range calls {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(calls) - i)})
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if _, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter))); err != 0 {
		return os.NewSyscallError("seccomp", err)
	}
	return nil
}

// TestAgainOnOlderKernels runs this package's other tests with the system calls
// that older kernels lack taken away. It is the fallbacks' only test besides old
// machines.
func TestAgainOnOlderKernels(t *testing.T) {
	if os.Getenv(envKernel) != "" {
		return // this is the second run
	}
	for release := range missing {
		t.Run(release, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.skip", "^(TestAgainOnOlderKernels|TestRunc.*|TestAProgramThatHangs.*|TestWhatIsNoFile.*|TestAnInterrupt.*)$", "-test.v="+fmt.Sprint(testing.Verbose()))
			cmd.Env = append(os.Environ(), envKernel+"="+release)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("as on Linux %s: %v\n%s", release, err, out)
				return
			}
			t.Logf("as on Linux %s:\n%s", release, out)
		})
	}
}

// The pretence is what it says.
func TestPretendedKernelLacksItsCalls(t *testing.T) {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err == nil {
		unix.Close(fd)
	}
	if want := lacks(unix.SYS_OPENAT2); (err == unix.ENOSYS) != want { //nolint:errorlint // an errno
		t.Errorf("openat2: %v, lacking: %v", err, want)
	}
}
