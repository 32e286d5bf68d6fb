package hooks

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
)

// slowPipe is a non-blocking pipe, as lcr gives one, whose content comes in pieces.
func slowPipe(t *testing.T, pieces ...string) *os.File {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	in, out := os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "out")
	t.Cleanup(func() { in.Close() })
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		defer out.Close()
		for _, p := range pieces {
			time.Sleep(2 * time.Millisecond)
			if _, err := out.WriteString(p); err != nil {
				t.Error(err)
			}
		}
	}()
	return in
}

func TestANonBlockingPipeIsWaitedFor(t *testing.T) {
	t.Parallel()
	in := slowPipe(t, `{"id":"abc",`, `"pid":7,`, `"bundle":"/b"}`, "\n")
	got, err := readState(deadline.After(time.Minute), in, true)
	if diff := cmp.Diff(state{State: specs.State{ID: "abc", Pid: 7, Bundle: "/b"}}, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}
