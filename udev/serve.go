package udev

import (
	"context"
	"errors"
	"io/fs"

	"github.com/sirupsen/logrus"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

type helper struct {
	generation place.Generation
	log        *logrus.Logger
}

// pending is what a look at the container left to be done when its lock is gone.
type pending struct {
	elsewhere bool // this process may not do what it takes
	rules     bool // udevd must be told that they changed
}

// serve brings the container's records, and the container if it runs, in line
// with what the kernel has now.
func (h *helper) serve(ctx context.Context, ev event) error {
	found, err := findContainer(ctx, ev.container)
	if errors.Is(err, fs.ErrNotExist) {
		// Its next start looks for itself.
		h.log.WithField("id", ev.container).Infof("%s %s: the container does not run: %s", ev.action, ev.name, command.OneLine(err.Error()))
		return h.removeRulesOfGone(ctx, ev.container)
	}
	if err != nil {
		return err
	}
	ofEvent := func(plan *devices.Hotplug) error { return plan.Event(ev.path, ev.name) }
	todo, err := h.applyPlan(ctx, ev, found, ofEvent, ev.isOfDevice())
	errs := []error{h.leave(ctx, ev, todo, err)}
	if todo.rules || ev.direct { // which may have been left what the second look found
		// udevd finds changed rules by itself, but only every few seconds.
		devices.Settle(todo.rules, func() { errs = append(errs, devices.ReloadRules(ctx)) }, func() bool {
			again, err := h.applyPlan(ctx, ev, found, rescan, true)
			errs = append(errs, h.leave(ctx, ev, again, err))
			return again.rules
		})
	}
	return errors.Join(errs...)
}

func rescan(plan *devices.Hotplug) error {
	plan.Given = true
	return plan.Rescan()
}

// leave has a unit of systemd serve the event again, where this process may not do it or
// another has a lock for long, who need not keep udevd waiting, too. Else it returns err.
func (h *helper) leave(ctx context.Context, ev event, todo pending, err error) error {
	if todo.elsewhere || errors.Is(err, config.ErrBusy) && ev.handsOver() {
		return h.respawn(ctx, ev)
	}
	return err
}

// applyPlan does, under the container's lock, what plan plans; that may change its rules, unless it
// is about a partition only.
func (h *helper) applyPlan(ctx context.Context, ev event, found container.Container, plan func(*devices.Hotplug) error, rules bool) (todo pending, err error) {
	lock, err := config.LockContainer(ctx, found.Dir, ev.lockWait())
	if err != nil {
		return todo, err
	}
	defer lock.Unlock()
	doc, err := config.Load(found.Dir)
	if err != nil {
		return todo, err
	}
	hotplug, err := devices.PlanHotplug(doc)
	if err != nil {
		return todo, err
	}
	start, runs, err := container.Running(found)
	if err != nil {
		return todo, err
	}
	if runs {
		// Without a full ledger nobody knows what the container was given.
		if grants, doubt := container.OpenLedger(h.generation, found.ID, start, nil); doubt == nil {
			hotplug.Has = devices.Granted(grants)
			defer grants.Close()
		}
	}
	wait := deadline.NewWaiter(ctx)
	defer wait.Close()
	spec, specErr := container.ReadSpec(found.Dir)
	if specErr != nil && !errors.Is(specErr, fs.ErrNotExist) {
		return todo, specErr
	}
	hotplug.Check = mounts.Container{ID: found.ID, Bundle: found.Dir, Trees: spec.Trees(found.Dir)}.DeviceCheck(wait)
	if err := plan(hotplug); err != nil {
		return todo, err
	}
	var target *resource.Target
	if runs && len(hotplug.Change.Tasks) > 0 {
		if specErr != nil {
			return todo, specErr
		}
		if todo.elsewhere = ev.handsOver() && (spec.UserNS() || devices.Binds(found.ID)); todo.elsewhere {
			return todo, nil // its nodes are bound
		}
		t, closeTarget, err := container.Open(wait, h.generation, found.ID, start, spec)
		switch {
		case err == nil:
			defer closeTarget()
			if t.Doubt != nil {
				h.log.WithField("id", found.ID).Warn(command.OneLine(t.Doubt.Error()))
			}
			t.Detect, target = mounts.DetectSharedPath, t
		case start.Init.Lives():
			return todo, err
		}
	}
	if err := hotplug.Do(ctx, target); err != nil {
		return todo, err
	}
	h.report(found.ID, hotplug.Change)
	err = hotplug.Failed()
	if target != nil {
		err = errors.Join(err, hotplug.AllowInUnit(ctx, target))
	}
	if rules {
		var e error
		todo.rules, e = hotplug.SyncRules(ctx, h.generation, found.ID, ev.lockWait())
		err = errors.Join(err, e)
	}
	return todo, err
}

// report logs what was done.
func (h *helper) report(id string, c *resource.Change) {
	for _, t := range c.Tasks {
		entry := h.log.WithFields(logrus.Fields{"id": id, "kind": t.Kind})
		if t.Err == nil {
			entry.Infof("%s %s", t.Verb, t.Record)
		}
		if t.Warning != nil {
			entry.Warnf("%s %s: %s", t.Verb, t.Record, command.OneLine(t.Warning.Error()))
		}
	}
}
