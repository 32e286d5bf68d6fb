package container

import (
	"context"
	"fmt"

	"isula.org/isulad-tools/internal/process"
)

// Container is what an engine knows of one.
type Container struct {
	ID     string
	Name   string // "" where the engine has ids only
	Engine string // who answered, as in --engine: isula, podman, runc or crun
	Also   string // who has another one of that name; "": nobody was found
	PID    int    // of its init; 0 when it does not run
	// Start is when its init started, as in process.ID; 0: the engine does not say.
	Start uint64
	Dir   string // its state directory, where device_hook.json is
	// CgroupParent is its cgroup's parent, where no config.json says more.
	CgroupParent string
}

// Init is its init, as it runs now. process.ErrGone: it does not.
func (c Container) Init() (process.ID, error) {
	init, err := process.ByPID(c.PID)
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

// Lister knows all of its containers.
type Lister interface {
	// List returns them, those too that do not run; with an error those that
	// could be read.
	List(ctx context.Context) ([]Container, error)
}
