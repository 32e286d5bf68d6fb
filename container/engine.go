package container

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// Container is what an engine answers for a name.
type Container struct {
	ID  string
	PID int // of its init; 0 when it does not run
	// Start is when its init started, as in process.ID; 0: the engine does not say.
	Start uint64
	Dir   string // its state directory, where device_hook.json is
	// CgroupParent is its cgroup's parent, where no config.json says more.
	CgroupParent string
}

// Init is its init, as it runs now. process.ErrGone: it does not.
func (c Container) Init() (process.ID, error) {
	init, err := process.Find(c.PID)
	if err == nil && c.Start != 0 && c.Start != init.Start {
		err = fmt.Errorf("process %d: %w", c.PID, process.ErrGone)
	}
	return init, err
}

// Engine answers for containers by name.
type Engine interface {
	// Find returns the container that name, an id or, where the engine has
	// them, a name or the beginning of an id, stands for.
	Find(ctx context.Context, name string) (Container, error)
}

// NewEngine returns the engine that a word stands for: "isula", "runc" or
// "runc:ROOT", ROOT being runc's --root.
func NewEngine(word string) (Engine, error) {
	name, root, hasRoot := strings.Cut(word, ":")
	switch {
	case name == "isula" && !hasRoot:
		return Isula{}, nil
	case name == "runc" && !hasRoot:
		return Runc{Root: RuncRoot}, nil
	case name == "runc" && filepath.IsAbs(root):
		return Runc{Root: root}, nil
	}
	return nil, fmt.Errorf("unknown engine %q: want isula, runc or runc:ROOT", word)
}

// Isula asks iSulad, by its client.
type Isula struct {
	Client string        // its path; "": as a person's PATH finds it
	Wait   time.Duration // for the daemon; 0: as long as it may take to answer
}

// inspectWait is how long isulad may take to answer; it does not while it
// starts, or while it starts or stops this very container.
const inspectWait = 150 * time.Second

// clientGrace is for a client that does not give up by itself.
const clientGrace = time.Second

// inspected is what we read of `isula inspect NAME`, an array of one.
type inspected struct {
	ID    string `json:"Id"`
	State struct {
		Pid int
	}
	HostConfig struct {
		CgroupParent string
	}
	ResolvConfPath, HostsPath, LogPath string // they lie in the state directory
}

// Find implements Engine. An error of the client is its output and exit
// status.
func (i Isula) Find(ctx context.Context, name string) (Container, error) {
	args, env, wait := []string{"inspect", name}, clientEnv(os.Environ()), inspectWait
	if i.Wait > 0 {
		args, wait = []string{"inspect", "-t", strconv.Itoa(int(i.Wait.Seconds())), name}, i.Wait+clientGrace
	}
	if i.Client == "" {
		path, err := exec.LookPath("isula")
		if err != nil {
			// Compat: isula-not-installed
			return Container{}, errors.New("isula, iSulad's client, is not installed: where plain runc has the container, say so: --engine runc, or runc:ROOT")
		}
		i.Client = path
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// No "--": the client would take it for a name. Ours cannot begin with "-".
	out, err := command.Cmd{Path: i.Client, Args: args, Env: env}.Run(ctx)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		// Compat: unknown-container-add-device
		said := strings.TrimSpace(string(out.Stdout) + string(out.Stderr))
		return Container{}, fmt.Errorf("%s: %w", cmp.Or(said, "isula inspect "+name), exit)
	}
	if err != nil {
		return Container{}, err
	}
	return parseInspect(out.Stdout, name)
}

// clientEnv is what the client may want of a person's environment: where its
// daemon and its certificates are.
func clientEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		return !strings.HasPrefix(e, "HOME=") && !strings.HasPrefix(e, "ISULA")
	})
}

func parseInspect(data []byte, name string) (Container, error) {
	var list []inspected
	if err := json.Unmarshal(data, &list); err != nil {
		return Container{}, fmt.Errorf("isula inspect %s: %w", name, err)
	}
	if len(list) != 1 || list[0].ID == "" {
		return Container{}, fmt.Errorf("isula inspect %s: it describes %d objects, not one container", name, len(list))
	}
	c := list[0]
	parent := c.HostConfig.CgroupParent
	if parent == "" {
		parent = "/isulad"
	}
	for _, p := range []string{c.ResolvConfPath, c.HostsPath, c.LogPath} {
		if dir := filepath.Dir(p); filepath.IsAbs(p) && filepath.Base(dir) == c.ID {
			return Container{ID: c.ID, PID: c.State.Pid, Dir: dir, CgroupParent: parent}, nil
		}
	}
	return Container{}, fmt.Errorf("isula inspect %s: no path in its state directory", name)
}

// RuncRoot is where runc keeps its state, unless it is told otherwise.
const RuncRoot = "/run/runc"

// Runc reads the state that plain runc keeps below its root directory. It
// executes nothing.
type Runc struct{ Root string }

// Find implements Engine; name is the whole id.
func (r Runc) Find(_ context.Context, name string) (Container, error) {
	path := filepath.Join(r.Root, name, "state.json")
	b, err := open.Read(path, maxState)
	if errors.Is(err, os.ErrNotExist) {
		return Container{}, fmt.Errorf("no container %s of runc in %s", name, r.Root)
	}
	if err != nil {
		return Container{}, err
	}
	// libcontainer's State
	var s struct {
		ID     string `json:"id"`
		PID    int    `json:"init_process_pid"`
		Start  uint64 `json:"init_process_start"`
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return Container{}, fmt.Errorf("%s: %w", path, err)
	}
	if s.Start == 0 {
		s.PID = 0 // nobody knows whose it is
	}
	// Annotations are labels too; runc's own come after them.
	for _, l := range slices.Backward(s.Config.Labels) {
		if dir, ok := strings.CutPrefix(l, "bundle="); ok && filepath.IsAbs(dir) {
			// runc keeps the state of a container that ended: its pid may be another's.
			return Container{ID: s.ID, PID: s.PID, Start: s.Start, Dir: dir}, nil
		}
	}
	return Container{}, fmt.Errorf("%s: it names no bundle", path)
}
