package units

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/process"
)

const envAlone = "UNITS_TEST_ENDS_ITS_FIRST_THREAD"

func init() {
	if os.Getenv(envAlone) == "" {
		return
	}
	runtime.LockOSThread() // of init: the first thread
	go func() {
		_, _ = io.ReadAll(os.Stdin)
		os.Exit(0)
	}()
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// The kernel shows a process whose first thread has ended alone as a zombie. An init
// can do that, and its container goes on.
func TestAProcessWhoseFirstThreadHasEndedLives(t *testing.T) {
	t.Parallel()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), envAlone+"=1")
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	for zombie := false; !zombie; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		zombie = strings.Contains(string(stat), ") Z ")
		time.Sleep(time.Millisecond)
	}
	id, err := process.ByPID(pid)
	if err != nil || id.PID != pid || !id.Lives() {
		t.Errorf("found %+v, %v, lives: %v", id, err, id.Lives())
	}
	for name, want := range map[string]string{"root": "/", "ns/mnt": "mnt:"} {
		t.Run(name, func(t *testing.T) {
			if got, err := os.Readlink(process.Path(pid, name)); err != nil || !strings.HasPrefix(got, want) {
				t.Errorf("%s is %q, %v, want %s", name, got, err, want)
			}
		})
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if id.Lives() {
		t.Error("it lives, and has ended")
	}
}
