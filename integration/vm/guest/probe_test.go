//go:build vmguest

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The probe is this program as a container's init: it tells those outside what
// the container can use, and since when. What a device node is worth, only a
// process of the container's own cgroup and namespaces can tell.

const (
	probeVariable = "GUEST_PROBE"
	probeSocket   = "/probe.sock"
)

// question asks a probe to wait until a path is a block device that can be read, or a
// character device that can be opened, the one of that number unless it is 0, or until
// nothing is there.
type question struct {
	Path  string
	Rdev  uint64
	Gone  bool
	Limit time.Duration
}

// answer says what the probe found at last. Time is that of the monotonic
// clock, which containers share.
type answer struct {
	Err  string
	Rdev uint64
	Data []byte // the device's first bytes
	Time int64
}

// probe answers until it is killed.
func probe() error {
	_ = os.Remove(probeSocket) // of an earlier start
	listener, err := net.Listen("unix", probeSocket)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			var q question
			if json.NewDecoder(conn).Decode(&q) == nil {
				_ = json.NewEncoder(conn).Encode(q.answer())
			}
		}()
	}
}

func (q question) answer() answer {
	for end := time.Now().Add(q.Limit); ; time.Sleep(20 * time.Millisecond) { // the processor is udevd's, too
		a, err := q.look()
		a.Time = monotonic()
		if err == nil {
			return a
		}
		if time.Now().After(end) {
			a.Err = err.Error()
			return a
		}
	}
}

func (q question) look() (a answer, err error) {
	if q.Gone { // not opened: closing a serial line that was pulled takes up to 30 s
		if _, err := os.Stat(q.Path); !errors.Is(err, fs.ErrNotExist) {
			return a, fmt.Errorf("it is still there (%v)", err)
		}
		return a, nil
	}
	a, err = look(q.Path)
	if err == nil && q.Rdev != 0 && q.Rdev != a.Rdev {
		err = fmt.Errorf("it is device %#x, want %#x", a.Rdev, q.Rdev)
	}
	return a, err
}

// look reads a block device's beginning, and opens a character device.
func look(path string) (a answer, err error) {
	// A serial line may wait for its other end, and hangs up on those that it controls.
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return a, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return a, err
	}
	a.Rdev, a.Data = st.Rdev, make([]byte, 16)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return a, nil
	case unix.S_IFBLK:
	default:
		return a, errors.New("not a device")
	}
	_, err = f.Read(a.Data)
	return a, err
}

func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

// asks has the container's probe answer a question.
func (c *container) asks(q question) (answer, error) {
	socket := filepath.Join(c.root, probeSocket)
	var conn net.Conn
	var err error
	for range 2000 { // it may have started just now
		if conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return answer{}, err
	}
	if a.Err != "" {
		return a, fmt.Errorf("in container %s, %s: %s", c.id[:8], q.Path, a.Err)
	}
	return a, nil
}

// patience is how long an event may take to arrive in a container: far more than
// it should, as this machine is slow and may be busy.
const patience = 20 * time.Second

// gets requires the container to have at path, in time, the device that is
// at host's path outside, and returns when it could be used.
func (c *container) gets(t *testing.T, path, host string) int64 {
	t.Helper()
	a, err := c.asks(question{Path: path, Rdev: stat(t, host).Rdev, Limit: patience})
	if err != nil {
		t.Fatal(err)
	}
	return a.Time
}

// loses requires path to vanish from the container in time, and returns when it
// had.
func (c *container) loses(t *testing.T, path string) int64 {
	t.Helper()
	a, err := c.asks(question{Path: path, Gone: true, Limit: patience})
	if err != nil {
		t.Fatal(err)
	}
	return a.Time
}
