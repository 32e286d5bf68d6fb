package udev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/command"
)

// inspectWait is what isulad gets to answer. It does not while it starts or
// stops the very container; what happens to its disks then, the start finds out.
const inspectWait = 3 * time.Second

// find returns the container that a rule means: by its start record, which needs
// no lock and no daemon, else by asking isulad. fs.ErrNotExist: nobody knows it.
func find(ctx context.Context, id string) (container.Container, error) {
	full, start, err := container.FindStart(id)
	if err == nil {
		return container.Container{ID: full, PID: start.Init.PID, Dir: start.Bundle}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return container.Container{}, err
	}
	client, err := command.Find("isula")
	if err != nil {
		return container.Container{}, fmt.Errorf("container %s does not run: %w", id, fs.ErrNotExist)
	}
	found, err := container.Isula{Client: client, Wait: inspectWait}.Find(ctx, id)
	if err != nil {
		return container.Container{}, fmt.Errorf("container %s does not run, and isulad does not know it: %v: %w", id, err, fs.ErrNotExist)
	}
	return found, nil
}

// respawn serves the event in a transient unit of systemd: udevd's own service
// may not mount anything, and kills what outlives an event.
func respawn(ctx context.Context, ev event) error {
	run, err := command.Find("systemd-run")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, err = command.Cmd{Path: run, Args: []string{
		"--no-block", "--collect", "--quiet", "--", self, direct, ev.action, ev.container, ev.name, ev.path, ev.disk,
	}}.Run(ctx)
	return err
}
