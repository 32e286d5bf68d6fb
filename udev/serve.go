package udev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sirupsen/logrus"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

type helper struct {
	generation place.Generation
	log        *logrus.Logger
}

// serve brings the container's records, and the container if it runs, in line
// with what the kernel has now. What the event says happened is only when to
// look: events may overtake each other on their way here.
func (h *helper) serve(ctx context.Context, ev event) error {
	found, err := find(ctx, ev.container)
	if errors.Is(err, fs.ErrNotExist) {
		h.log.Infof("%s %s: %v", ev.action, ev.name, err)
		return nil // its next start looks for itself
	}
	if err != nil {
		return err
	}
	lock, err := config.LockContainer(ctx, found.Dir, lockWait)
	if err != nil {
		return err
	}
	again, err := h.locked(ctx, ev, found)
	lock.Unlock()
	if err == nil && again {
		err = respawn(ctx, ev)
	}
	return err
}

// locked serves the event under the container's lock. again: this process may
// not do what it takes.
func (h *helper) locked(ctx context.Context, ev event, found container.Container) (again bool, err error) {
	doc, err := config.Load(found.Dir)
	if err != nil {
		return false, err
	}
	start, runs, err := container.Running(found)
	if err != nil {
		return false, err
	}
	var target *resource.Target
	if runs {
		spec, err := container.ReadSpec(found.Dir)
		if err != nil {
			return false, err
		}
		if spec.UserNS() && !ev.direct && underSystemd() {
			return true, nil // its nodes are bound
		}
		t, closeTarget, err := container.Open(found.ID, start, spec)
		if err != nil {
			return false, err
		}
		defer closeTarget()
		mounts.Find(t)
		target = t
	}
	plan, err := devices.PlanHotplug(doc)
	if err != nil {
		return false, err
	}
	if ev.ofDisk() {
		err = plan.Disk(ctx, target, ev.path)
	} else {
		err = plan.Partition(ev.path, ev.disk, ev.name)
	}
	if err != nil {
		return false, err
	}
	change := plan.Change
	if ev.ofDisk() {
		change.Last(func(ctx context.Context) error {
			// udevd looks for itself whether rules changed, before its next event.
			disks, err := plan.Disks()
			if err == nil {
				_, err = devices.SyncRules(ctx, h.generation, found.ID, disks, lockWait)
			}
			return err
		})
	}
	err = change.Do(ctx, target)
	return false, errors.Join(err, h.report(found.ID, change))
}

// report logs what was done and returns what failed.
func (h *helper) report(id string, c *resource.Change) error {
	var failed []string
	for _, t := range c.Tasks {
		entry := h.log.WithFields(logrus.Fields{"id": id, "kind": t.Kind})
		if t.Err == nil {
			entry.Infof("%s %s", t.Verb, t.Record)
		} else if !errors.Is(t.Err, resource.ErrNotTried) {
			failed = append(failed, fmt.Sprintf("%s %s %s: %v", t.Verb, t.Kind, t.Record, t.Err))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return errors.New(strings.Join(failed, "; "))
}
