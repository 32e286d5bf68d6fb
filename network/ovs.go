package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"time"

	"isula.org/isulad-tools/internal/command"
)

// Open vSwitch is asked by its own program, which is executed for nothing else. A
// database or a switch that does not answer must not hang a start: the program
// gives up by itself after patience seconds, and is killed after a little more.
const patience = 4

// vsctl runs ovs-vsctl. installed is false when the host has none.
func (w *work) vsctl(ctx context.Context, args ...string) (installed bool, err error) {
	look := w.Look
	if look == nil {
		look = command.Find
	}
	path, err := look("ovs-vsctl")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	end := time.Now().Add((patience + 1) * time.Second)
	if budget, ok := ctx.Deadline(); ok && budget.Before(end) {
		end = budget
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	_, err = command.Cmd{Path: path, Args: append([]string{fmt.Sprintf("--timeout=%d", patience)}, args...)}.Run(ctx)
	return true, err
}

// database runs ovs-vsctl for what the database alone can do. When that does not
// answer, it is not asked again.
func (w *work) database(ctx context.Context, args ...string) (installed bool, err error) {
	if w.silent != nil {
		return true, w.silent
	}
	installed, err = w.vsctl(ctx, args...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() < 0 {
		w.silent = err // it was killed, by its own alarm or by us
	}
	return installed, err
}

// isSwitch tells whether Open vSwitch has a bridge of this name.
func (w *work) isSwitch(ctx context.Context, name string) (bool, error) {
	installed, err := w.database(ctx, "--", "br-exists", name)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return false, nil // its way to say no
	}
	return installed && err == nil, err
}

// addPort makes the host's link a port of a bridge of Open vSwitch.
func (w *work) addPort(ctx context.Context, bridge, port string) error {
	_, err := w.vsctl(ctx, "--", "--may-exist", "add-port", bridge, port)
	return refused(join, err)
}

// removePort takes a port out of a bridge of Open vSwitch, and waits for the switch:
// until it has let go, the kernel gives the link to no other bridge (EOPNOTSUPP).
func (w *work) removePort(ctx context.Context, bridge, port string) error {
	_, err := w.vsctl(ctx, "--", "--if-exists", "del-port", bridge, port)
	return refused("failed to remove from bridge", err)
}

// leaveSwitch takes a port that is recorded to be in this bridge out of it, when
// it is a bridge of Open vSwitch: its database keeps ports whose links are gone.
// A Linux bridge, and a port that is gone, are fine.
func (w *work) leaveSwitch(ctx context.Context, bridge, port string) error {
	if bridge == "" || port == "" {
		return nil
	}
	link, err := find(w.host, bridge)
	if err != nil || link != nil && link.Kind == "bridge" {
		return err
	}
	is, err := w.isSwitch(ctx, bridge)
	if err != nil || !is {
		return err
	}
	// The switch itself, which may be dead, is not waited for.
	_, err = w.database(ctx, "--no-wait", "--", "--if-exists", "del-port", bridge, port)
	return refused("failed to remove from bridge", err)
}
