package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Held is a container that runc is just making: its namespaces and cgroups
// exist, its mounts are made, nothing is pivoted yet, and runc waits for the
// prestart hook. A test stands where a prestart hook stands and can look
// before and after what it runs there.
type Held struct {
	State []byte // what runc gave the hook on stdin
	Pid   int    // the container's init, as in State
	Root  string // its rootfs, also inside its mount namespace
	id    string
	runc  Runc
	done  chan error
	gate  *os.File
	dir   string
}

// CreateHeld writes the bundle with one prestart hook more, creates the
// container and returns once that hook, the first, runs. Release must follow.
func (r Runc) CreateHeld(b *Bundle) (*Held, error) {
	dir, err := os.MkdirTemp("", "held-")
	if err != nil {
		return nil, err
	}
	h := &Held{Root: b.rootfs(), id: b.ID, runc: r, done: make(chan error, 1), dir: dir}
	if err := h.create(b); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return h, nil
}

func (h *Held) create(b *Bundle) error {
	state, ready, gate := filepath.Join(h.dir, "state"), filepath.Join(h.dir, "ready"), filepath.Join(h.dir, "gate")
	var fifos []*os.File
	for _, p := range []string{ready, gate} {
		f, err := makeFifo(p)
		if err != nil {
			return err
		}
		fifos = append(fifos, f)
	}
	defer fifos[0].Close()
	h.gate = fifos[1]

	held := *b
	script := fmt.Sprintf("cat > %s; echo > %s; read line < %s; exit $line", state, ready, gate)
	held.Hooks.Prestart = append([]Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}}, b.Hooks.Prestart...)
	if err := WriteBundle(&held); err != nil {
		return err
	}
	go func() { h.done <- h.runc.Create(b.ID, b.Dir) }()
	entered := make(chan error, 1)
	go func() {
		_, err := fifos[0].Read(make([]byte, 1))
		entered <- err
	}()
	select {
	case err := <-h.done:
		return fmt.Errorf("hold %q at prestart: runc ended before the hook: %w", b.ID, err)
	case err := <-entered:
		if err != nil {
			return err
		}
	}
	data, err := os.ReadFile(state)
	if err != nil {
		return err
	}
	h.State = data
	s, err := decodeState(data)
	h.Pid = s.Pid
	return err
}

// Release lets the hook return with this exit status and waits for runc.
// The error is runc's, which is expected when the status is not 0.
func (h *Held) Release(status int) error {
	_, err := fmt.Fprintln(h.gate, status)
	return errors.Join(err, <-h.done, h.gate.Close(), os.RemoveAll(h.dir))
}

// Tree is the container's file tree as it will be after pivot_root.
func (h *Held) Tree() (map[string]Node, error) {
	return ContainerTree(h.Pid, strings.TrimPrefix(h.Root, "/"))
}

// makeFifo makes a named pipe and opens both its ends, so that neither open
// nor write waits for the other side. Non-blocking, so that Close ends a Read.
func makeFifo(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}
