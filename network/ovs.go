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
// gives up by itself after ovsTimeout seconds, and is killed after a little more.
const ovsTimeout = 4

// vsctl runs ovs-vsctl. installed is false when the host has none.
func (w *session) vsctl(ctx context.Context, args ...string) (installed bool, err error) {
	look := w.LookPath
	if look == nil {
		look = command.LookPath
	}
	path, err := look("ovs-vsctl")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, (ovsTimeout+1)*time.Second)
	defer cancel()
	_, err = command.Cmd{Path: path, Args: append([]string{fmt.Sprintf("--timeout=%d", ovsTimeout)}, args...)}.Run(ctx)
	return true, err
}

// ovsDatabase runs ovs-vsctl for what the database alone can do. When that does not
// answer, it is not asked again.
func (w *session) ovsDatabase(ctx context.Context, args ...string) (installed bool, err error) {
	if w.ovsErr != nil {
		return true, w.ovsErr
	}
	installed, err = w.vsctl(ctx, args...)
	exit := (*exec.ExitError)(nil)
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &exit) && exit.ExitCode() < 0 {
		w.ovsErr = err // it was killed, by us or by its own alarm
	}
	return installed, err
}

// isOVSBridge tells whether Open vSwitch has a bridge of this name.
func (w *session) isOVSBridge(ctx context.Context, name string) (bool, error) {
	installed, err := w.ovsDatabase(ctx, "--", "br-exists", name)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return false, nil // its way to say no
	}
	return installed && err == nil, err
}

// ovsAddPort makes the host's link a port of a bridge of Open vSwitch.
func (w *session) ovsAddPort(ctx context.Context, bridge, port string) error {
	_, err := w.vsctl(ctx, "--", "--may-exist", "add-port", bridge, port)
	return wrapOp(opEnslave, err)
}

// ovsRemovePort takes a port out of a bridge of Open vSwitch, and waits for the switch:
// until it has let go, the kernel gives the link to no other bridge (EOPNOTSUPP).
func (w *session) ovsRemovePort(ctx context.Context, bridge, port string) error {
	_, err := w.vsctl(ctx, "--", "--if-exists", "del-port", bridge, port)
	return wrapOp("failed to remove from bridge", err)
}

// ovsForgetPort takes a port that is recorded to be in this bridge out of it, when
// it is a bridge of Open vSwitch: its database keeps ports whose links are gone.
// A Linux bridge, and a port that is gone, are fine.
func (w *session) ovsForgetPort(ctx context.Context, bridge, port string) error {
	if bridge == "" || port == "" {
		return nil
	}
	link, err := linkByName(w.host, bridge)
	if err != nil || link != nil && link.Kind == "bridge" {
		return err
	}
	is, err := w.isOVSBridge(ctx, bridge)
	if err != nil || !is {
		return err
	}
	// The switch itself, which may be dead, is not waited for.
	_, err = w.ovsDatabase(ctx, "--no-wait", "--", "--if-exists", "del-port", bridge, port)
	return wrapOp("failed to remove from bridge", err)
}
