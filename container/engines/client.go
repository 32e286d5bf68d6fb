package engines

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

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/command"
)

// Client asks iSulad, by its client. That waits while iSulad starts or stops the
// container.
type Client struct {
	Path string        // its path; "": as a person's PATH finds it
	Wait time.Duration // for the daemon; 0: as long as it may take to answer
}

// errNoClient says that there is no client to ask.
var errNoClient = errors.New("isula, iSulad's client, is not installed")

// inspectWait is how long isulad may take to answer; it does not while it
// starts, or while it starts or stops this very container.
const inspectWait = 150 * time.Second

// clientGrace is for a client that does not give up by itself.
const clientGrace = time.Second

// inspected is what we read of `isula inspect NAME`, an array of one.
type inspected struct {
	ID    string `json:"Id"`
	Name  string
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
func (c Client) Find(ctx context.Context, name string) (container.Container, error) {
	args, env, wait := []string{"inspect", name}, clientEnv(os.Environ()), inspectWait
	if c.Wait > 0 {
		args, wait = []string{"inspect", "-t", strconv.Itoa(int(c.Wait.Seconds())), name}, c.Wait+clientGrace
	}
	if c.Path == "" {
		path, err := exec.LookPath("isula")
		if err != nil {
			// Compat: isula-not-installed
			return container.Container{}, errNoClient
		}
		c.Path = path
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// No "--": the client would take it for a name. Ours cannot begin with "-".
	out, err := command.Cmd{Path: c.Path, Args: args, Env: env}.Run(ctx)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		// Compat: unknown-container-add-device
		said := strings.TrimSpace(string(out.Stdout) + string(out.Stderr))
		return container.Container{}, fmt.Errorf("%s: %w", cmp.Or(said, "isula inspect "+name), exit)
	}
	if err != nil {
		return container.Container{}, err
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

func parseInspect(data []byte, name string) (container.Container, error) {
	var list []inspected
	if err := json.Unmarshal(data, &list); err != nil {
		return container.Container{}, fmt.Errorf("isula inspect %s: %w", name, err)
	}
	if len(list) != 1 || list[0].ID == "" {
		return container.Container{}, fmt.Errorf("isula inspect %s: it describes %d objects, not one container", name, len(list))
	}
	c := list[0]
	found := container.Container{
		ID: c.ID, Name: c.Name, Engine: Isulad, PID: c.State.Pid,
		CgroupParent: cmp.Or(c.HostConfig.CgroupParent, isuladParent),
	}
	for _, p := range []string{c.ResolvConfPath, c.HostsPath, c.LogPath} {
		if dir := filepath.Dir(p); filepath.IsAbs(p) && filepath.Base(dir) == c.ID {
			found.Dir = dir
			return found, nil
		}
	}
	return container.Container{}, fmt.Errorf("isula inspect %s: no path in its state directory", name)
}
