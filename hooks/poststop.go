package hooks

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/inspection"
	"isula.org/isulad-tools/internal/command"
)

// poststop removes what the host has of a container that ended. It never
// stops at an error: each is logged. Only an id that cannot be known is one
// for the runtime.
func (h *Hook) poststop(ctx context.Context, relabel bool) (*followUp, error) {
	st, err := readState(ctx, h.Stdin, false)
	if err != nil {
		return nil, err
	}
	if h.onDemand && !relabel && untouched(st) {
		return nil, nil
	}
	log := h.log.WithField("id", st.ID)
	warn := func(err error) {
		if err != nil {
			log.Warn("poststop: " + command.OneLine(err.Error()))
		}
	}
	if filepath.IsAbs(st.Bundle) {
		lock, err := config.LockContainer(ctx, st.Bundle, hookLockWait)
		switch {
		case err == nil:
			defer lock.Unlock()
			warn(config.Sweep(st.Bundle))
		case !errors.Is(err, fs.ErrNotExist): // the bundle may be gone
			warn(err)
		}
	}
	running, err := container.ReadStart(st.ID)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		warn(err)
	}
	if err == nil && running.Init.PID != st.Pid && running.Init.Lives() {
		log.Infof("poststop: nothing removed, the container runs as process %d", running.Init.PID)
		return nil, nil
	}
	if sp, err := container.ReadSpec(st.Bundle); err == nil { // the bundle may be gone
		warn(h.unleak(st, sp))
		if relabel {
			warn(h.unlabel(st, sp))
		}
	}
	return &followUp{reload: inspection.Clear(ctx, h.Generation, st.ID, st.Bundle, warn)}, nil
}
