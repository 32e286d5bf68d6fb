package hooks

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
)

// poststop removes what the host has of a container that ended. It never
// stops at an error: each is logged. Only an id that cannot be known is one
// for the runtime.
func (h *Hook) poststop(ctx context.Context, relabel bool) error {
	st, err := readState(ctx, h.Stdin, false)
	if err != nil {
		return err
	}
	if h.onDemand && !relabel && untouched(st) {
		return nil
	}
	log := h.log.WithField("id", st.ID)
	warn := func(err error) {
		if err != nil {
			log.Warn("poststop: " + command.OneLine(err.Error()))
		}
	}
	if filepath.IsAbs(st.Bundle) {
		lock, err := config.LockContainer(ctx, st.Bundle, lockWait)
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
		return nil
	}
	h.reload, err = devices.SyncRules(ctx, h.Generation, st.ID, nil, lockWait)
	warn(err)
	if sp, err := container.ReadSpec(st.Bundle); err == nil { // the bundle may be gone
		warn(h.unleak(st, sp))
		if relabel {
			warn(h.unlabel(st, sp))
		}
	}
	warn(mounts.Clean(st.ID))
	grants, err := container.OpenLedger(h.Generation, st.ID, container.Start{}, nil)
	warn(err)
	defer grants.Close()
	err = freeNetwork(ctx, st, grants)
	warn(err)
	warn(kmod.Loader{}.Forget(st.ID))
	warn(container.RemoveStart(st.ID))
	if !errors.Is(err, network.ErrStuck) {
		warn(grants.Remove())
	}
	return nil
}

// freeNetwork takes back the interfaces of a container and unpins its network
// namespace, unless one is still in there. What the ledger knows needs no record.
func freeNetwork(ctx context.Context, st state, grants *ledger.Ledger) error {
	var nics []network.NIC
	var err error
	if filepath.IsAbs(st.Bundle) {
		var doc *config.Document
		if doc, err = config.Load(st.Bundle); err == nil {
			nics, err = config.List[network.NIC](doc, config.NetInterfaces)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // the bundle may be gone
		}
	}
	if e := (network.Cleanup{ID: st.ID, Ledger: grants, Records: nics, Ports: true}).Do(ctx); errors.Is(e, network.ErrStuck) {
		return e
	} else if e != nil {
		err = errors.Join(err, e)
	}
	return errors.Join(err, network.Unpin(st.ID))
}
