package process

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// child is a process of its own, ended by end and then waited for by reap.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// start starts a program that waits for its standard input to end, under the
// given name.
func start(t *testing.T, name string) child {
	t.Helper()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(cat, path); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil { // now it runs, under its name
		t.Fatal(err)
	}
	return child{c, stdin}
}

func (c child) pid() int { return c.cmd.Process.Pid }

// end ends it and waits until it is a zombie.
func (c child) end(t *testing.T) {
	t.Helper()
	c.stdin.Close()
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, c.pid(), &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}

func TestAProcessIsFoundWhateverItsName(t *testing.T) {
	t.Parallel()
	// The name stands in the middle of what is parsed, in parentheses.
	for _, name := range []string{"plain", "a b", ")", "a) Z 1 2 3 4 5", "(x) (y)", "new\nline", "Z", ") X", "\xff"} {
		c := start(t, name)
		id, err := ByPID(c.pid())
		if err != nil || id.PID != c.pid() || id.Start == 0 {
			t.Errorf("%q: %v, %v", name, id, err)
		}
		if !id.Lives() {
			t.Errorf("%q: it does not live", name)
		}
		again, err := ByPID(c.pid())
		if err != nil || again != id {
			t.Errorf("%q: %v, then %v, %v", name, id, again, err)
		}
		c.end(t)
		if id.Lives() {
			t.Errorf("%q: a zombie lives", name)
		}
		if _, err := ByPID(c.pid()); !errors.Is(err, ErrGone) {
			t.Errorf("%q: a zombie is found: %v", name, err)
		}
		if err := c.cmd.Wait(); err != nil {
			t.Error(err)
		}
		if _, err := ByPID(c.pid()); !errors.Is(err, ErrGone) {
			t.Errorf("%q: after its end: %v", name, err)
		}
	}
}

func TestAPidWithoutAProcessIsGone(t *testing.T) {
	t.Parallel()
	for _, pid := range []int{0, -1, -1 << 63, 1 << 30, 1<<63 - 1} {
		id, err := ByPID(pid)
		if !errors.Is(err, ErrGone) || id != (ID{}) {
			t.Errorf("%d: %v, %v, want ErrGone", pid, id, err)
		}
		if (ID{PID: pid}).Lives() {
			t.Errorf("%d lives", pid)
		}
	}
}

func TestAProcessThatGotThePidLaterIsAnother(t *testing.T) {
	t.Parallel()
	c := start(t, "cat")
	id, err := ByPID(c.pid())
	if err != nil {
		t.Fatal(err)
	}
	earlier := ID{PID: id.PID, Start: id.Start - 1}
	if earlier.Lives() {
		t.Errorf("%v lives, but %v has its pid", earlier, id)
	}
	c.end(t)
	if err := c.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestTheStartTimeSurvivesJSON(t *testing.T) {
	t.Parallel()
	want := ID{PID: 4711, Start: 1<<64 - 1}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != `{"pid":4711,"start":18446744073709551615}` {
		t.Errorf("written as %s", b)
	}
	var got ID
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("read as %v, %v", got, err)
	}
}
