package hooks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// recorded is what a container's resource file asks for.
type recorded struct {
	wait       *deadline.Waiter
	doc        *config.Document
	host       *devices.Host // as it was when the records were read
	devices    resource.Plan[devices.Device]
	paths      resource.Plan[mounts.Bind]
	modules    []string
	limits     []resource.Plan[devices.Limit]
	interfaces resource.Plan[network.NIC]
	routes     resource.Plan[network.Route]
}

// load reads the resource file of the container whose bundle is dir.
func (h *Hook) load(dir string) (recorded, error) {
	doc, err := config.Load(dir)
	if err != nil {
		return recorded{}, err
	}
	r := recorded{wait: h.wait, doc: doc}
	if err := r.plan(); err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Join(dir, config.Name), err)
	}
	return r, nil
}

func (r *recorded) plan() (err error) {
	if r.modules, err = kmod.Recorded(r.doc); err != nil {
		return err
	}
	if err = devices.RenewLimits(r.doc); err != nil {
		return err
	}
	if err = r.planDevices(); err != nil {
		return err
	}
	if r.paths, err = mounts.Restore(r.wait, r.doc); err != nil {
		return err
	}
	if err = r.planLimits(); err != nil {
		return err
	}
	if r.interfaces, err = network.Interfaces.Restore(r.doc); err != nil {
		return err
	}
	r.routes, err = network.Routes.Restore(r.doc)
	return err
}

// planDevices plans the devices as the host has them now.
func (r *recorded) planDevices() (err error) {
	r.host = &devices.Host{}
	r.devices, err = (&devices.Adder{Force: true, Host: r.host}).Kind().Restore(r.doc)
	return err
}

// planLimits plans the limits, which follow the numbers of the devices.
func (r *recorded) planLimits() error {
	r.limits = nil
	for _, kind := range devices.LimitKinds() {
		plan, err := kind.Restore(r.doc)
		if err != nil {
			return err
		}
		r.limits = append(r.limits, plan)
	}
	return nil
}

// scan plans the partitions and selected devices that came and went while nobody could
// look, too, and tells whether there were any.
func (r *recorded) scan() (changed bool, err error) {
	if !r.doc.Has(config.Devices) && !r.doc.Has(config.Selectors) {
		return false, nil
	}
	plan, err := devices.PlanHotplug(r.doc)
	if err != nil {
		return false, err
	}
	if err := plan.ScanPartitions(); err != nil {
		return false, err
	}
	// What is away only, or ambiguous, changes no record.
	changes := func(t *resource.Task) bool { return t.Err == nil && t.Verb != "withdraw" }
	if err := plan.Record(); err != nil || !slices.ContainsFunc(plan.Change.Tasks, changes) {
		return false, err
	}
	return true, errors.Join(r.planDevices(), r.planLimits())
}

// rescan makes the container's devices, and their rules, what they became after it was
// looked, and before udevd knew whom to tell of them.
func (h *Hook) rescan(ctx context.Context, st state, sp *container.Spec, init process.ID) (reload bool, err error) {
	lock, err := config.LockContainer(ctx, st.Bundle, hookLockWait)
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	doc, err := config.Load(st.Bundle)
	if err != nil {
		return false, err
	}
	plan, err := devices.PlanHotplug(doc)
	if err != nil {
		return false, err
	}
	// Without a full ledger nobody knows what the container was given.
	if grants, doubt := container.OpenLedger(h.Generation, st.ID, container.Start{Init: init, Bundle: st.Bundle}, nil); doubt == nil {
		plan.Has = devices.Granted(grants)
		defer grants.Close()
	}
	plan.Check = mounts.Container{ID: st.ID, Bundle: st.Bundle, Trees: sp.Trees(st.Bundle)}.DeviceCheck(h.wait)
	if err := plan.Rescan(); err != nil || len(plan.Change.Tasks) == 0 {
		return false, err
	}
	target, closeTarget, err := container.Open(h.wait, h.Generation, st.ID, container.Start{Init: init, Bundle: st.Bundle, Root: st.Root}, sp)
	if err != nil {
		return false, err
	}
	defer closeTarget()
	target.Detect = mounts.DetectSharedPath
	if err := plan.Do(ctx, target); err != nil {
		return false, err
	}
	told := plan.AllowInUnit(ctx, target)
	reload, err = plan.SyncRules(ctx, h.Generation, st.ID, hookLockWait)
	return reload, errors.Join(plan.Failed(), told, err)
}
