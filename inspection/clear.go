package inspection

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
)

// Clear removes what the host has of a container that ended. It never stops at an error: each
// is told to warn. It returns whether udevd must be told that rules changed. bundle need not
// be known, or there.
func Clear(ctx context.Context, g place.Generation, id, bundle string, warn func(error)) (reload bool) {
	reload, err := devices.SyncRules(ctx, g, id, nil, repairLockWait)
	warn(err)
	warn(mounts.PurgeStaging(id))
	grants, err := container.OpenLedger(g, id, container.Start{}, nil)
	warn(err)
	defer grants.Close()
	err = cleanupNetwork(ctx, id, bundle, grants)
	warn(err)
	warn(kmod.Loader{}.Forget(id))
	warn(container.RemoveStart(id))
	if !errors.Is(err, network.ErrStillInUse) {
		warn(grants.Remove())
	}
	return reload
}

// cleanupNetwork takes back the interfaces of a container and unpins its network
// namespace, unless one is still in there. What the ledger knows needs no record.
func cleanupNetwork(ctx context.Context, id, bundle string, grants *ledger.Ledger) error {
	var nics []network.NIC
	var err error
	if filepath.IsAbs(bundle) {
		var doc *config.Document
		if doc, err = config.Load(bundle); err == nil {
			nics, err = config.List[network.NIC](doc, config.NetInterfaces)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // the bundle may be gone
		}
	}
	if e := (network.Cleanup{ID: id, Ledger: grants, Records: nics, SwitchPorts: true}).Do(ctx); errors.Is(e, network.ErrStillInUse) {
		return e
	} else if e != nil {
		err = errors.Join(err, e)
	}
	return errors.Join(err, network.Unpin(id))
}
