package engines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/container"
)

// Where the runtimes keep their state, unless they are told otherwise.
const (
	RuncRoot = "/run/runc"
	CrunRoot = "/run/crun"
)

// Runc reads the state that plain runc keeps below its root directory. It
// executes nothing.
type Runc struct{ Root string }

// Find implements container.Engine; name is the whole id.
func (r Runc) Find(_ context.Context, name string) (container.Container, error) {
	return runtimeState(runc, r.Root, name, r.read)
}

// List implements container.Lister.
func (r Runc) List(ctx context.Context) ([]container.Container, error) {
	return listStates(ctx, r.Root, r)
}

// read understands libcontainer's State.
func (r Runc) read(id string) (container.Container, error) {
	path := filepath.Join(r.Root, id, "state.json")
	var s struct {
		ID     string `json:"id"`
		PID    int    `json:"init_process_pid"`
		Start  uint64 `json:"init_process_start"`
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if err := decode(path, &s); err != nil {
		return container.Container{}, err
	}
	// Annotations are labels too; runc's own come after them.
	for _, l := range slices.Backward(s.Config.Labels) {
		if dir, ok := strings.CutPrefix(l, "bundle="); ok && filepath.IsAbs(dir) {
			return started(runc, s.ID, s.PID, s.Start, dir), nil
		}
	}
	return container.Container{}, fmt.Errorf("%s: it names no bundle", path)
}

// crunOf reads the state of plain crun below its root directory.
type crunOf string

// Find implements container.Engine; name is the whole id.
func (c crunOf) Find(_ context.Context, name string) (container.Container, error) {
	return runtimeState(crun, string(c), name, c.read)
}

// List implements container.Lister.
func (c crunOf) List(ctx context.Context) ([]container.Container, error) {
	return listStates(ctx, string(c), c)
}

func (c crunOf) read(id string) (container.Container, error) {
	path := filepath.Join(string(c), id, "status")
	var s struct {
		PID    int    `json:"pid"`
		Start  uint64 `json:"process-start-time"`
		Bundle string `json:"bundle"`
	}
	if err := decode(path, &s); err != nil {
		return container.Container{}, err
	}
	if !filepath.IsAbs(s.Bundle) {
		return container.Container{}, fmt.Errorf("%s: it names no bundle", path)
	}
	return started(crun, id, s.PID, s.Start, s.Bundle), nil
}

// started is a container as its runtime left it: the state outlives the process,
// whose pid may be another's.
func started(engine, id string, pid int, start uint64, bundle string) container.Container {
	if start == 0 {
		pid = 0 // nobody knows whose it is
	}
	return container.Container{ID: id, Engine: engine, PID: pid, Start: start, Dir: bundle}
}

func runtimeState(runtime, root, id string, read func(id string) (container.Container, error)) (container.Container, error) {
	id = strings.TrimPrefix(id, "/")
	if !container.ValidID(id) {
		return container.Container{}, fmt.Errorf("%w %s of %s in %s", errUnknown, id, runtime, root)
	}
	c, err := read(id)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w %s of %s in %s", errUnknown, id, runtime, root)
	}
	return c, err
}

// listStates finds all that a runtime has below its root directory.
func listStates(ctx context.Context, root string, e container.Engine) ([]container.Container, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []container.Container
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		c, e := e.Find(ctx, entry.Name())
		switch {
		case e == nil:
			all = append(all, c)
		case !errors.Is(e, errUnknown): // or it is just made, or removed
			err = errors.Join(err, e)
		}
	}
	return all, err
}
