package isula

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The stand-in's files, where no fingerprint of the host looks.
const (
	home  = "/srv/isulad"
	calls = home + "/calls" // a line for each call of the client
)

// Bin is the folder that the client is in, for PATH.
const Bin = home + "/bin"

// Install makes the client. Nothing is known to it yet.
func Install() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(Bin, 0o755); err != nil {
		return err
	}
	err = os.Symlink(self, filepath.Join(Bin, clientName))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Container is one that the daemon knows.
type Container struct {
	ID, Name string
	Dir      string // its state directory
	Pid      int    // 0: it does not run

	change sync.Mutex // as a flock is the process'
}

// Create makes the container known, stopped.
func Create(id, name, dir string) (*Container, error) {
	c := &Container{ID: id, Name: name, Dir: dir}
	return c, c.Do(func() (int, error) { return 0, nil })
}

// Remove makes it unknown.
func (c *Container) Remove() error {
	return errors.Join(os.Remove(c.file()), os.Remove(lockFile(c.ID)))
}

// Do has the daemon start or stop the container: its lock is held until change
// returns the pid of what then runs, 0 for nothing.
func (c *Container) Do(change func() (pid int, err error)) error {
	c.change.Lock()
	defer c.change.Unlock()
	lock, err := take(c.ID)
	if err != nil {
		return err
	}
	defer lock.Close()
	pid, failed := change()
	c.Pid = pid
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// Whole at any time: who asks for another container reads them all.
	if err := os.WriteFile(c.file()+"~", text, 0o600); err != nil {
		return err
	}
	return errors.Join(failed, os.Rename(c.file()+"~", c.file()))
}

func (c *Container) file() string { return filepath.Join(home, c.ID+".json") }

func lockFile(id string) string { return filepath.Join(home, id+".lock") }

// take takes the lock of a container.
func take(id string) (*os.File, error) {
	f, err := os.OpenFile(lockFile(id), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return f, nil
}

// find returns the container that a name, an id or the beginning of one is.
func find(name string) (*Container, error) {
	files, err := filepath.Glob(home + "/*.json")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		c := new(Container)
		if err := json.Unmarshal(text, c); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if c.Name == strings.TrimPrefix(name, "/") || strings.HasPrefix(c.ID, name) {
			return c, nil
		}
	}
	return nil, fs.ErrNotExist
}

// Calls returns what the client was asked since the last Calls, a line each.
func Calls() ([]string, error) {
	text, err := os.ReadFile(calls)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), os.Remove(calls)
}
