package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Bundle is the one container whose bundle is Dir. It need not be known to any engine: one
// that does not start is known to nobody.
type Bundle struct {
	Dir string
	// Runs finds running containers; one with another bundle is an error.
	Runs Engine
}

// Find implements Engine; name is the id that the container has, or will have.
func (b Bundle) Find(ctx context.Context, name string) (Container, error) {
	dir, err := filepath.Abs(b.Dir)
	if err != nil {
		return Container{}, err
	}
	if _, err := os.Lstat(filepath.Join(dir, SpecName)); err != nil {
		return Container{}, fmt.Errorf("--bundle %s: no bundle of a container: %w", b.Dir, err)
	}
	if c, err := b.Runs.Find(ctx, name); err == nil && sameDir(c.Dir, dir) {
		return c, nil
	}
	switch s, err := ReadStart(name); {
	case err == nil && s.Init.Lives() && !sameDir(s.Bundle, dir):
		return Container{}, fmt.Errorf("container %s runs, from another bundle: %s", name, s.Bundle)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return Container{}, err
	}
	return Container{ID: name, Dir: dir}, nil
}

func sameDir(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
