package cli

import (
	"context"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
)

// askContainer has plan ask what the container may choose, and what it was given.
func (s *session) askContainer(plan *devices.Hotplug) {
	plan.Check = s.container().DeviceCheck(s.wait)
	if s.target != nil && s.target.Doubt == nil {
		plan.Has = devices.Granted(s.target.Ledger)
	}
}

// refreshDevices makes the running container's devices what they are on the host now, whatever
// the command is about: a number may be another device's by now.
func (s *session) refreshDevices(ctx context.Context, renew func(*devices.Hotplug) error) error {
	if !hasDevices(s.doc) {
		return nil
	}
	plan, err := devices.PlanHotplug(s.doc)
	if err != nil {
		return nil // whoever changes devices says so
	}
	s.askContainer(plan)
	plan.Host = s.host
	if err := renew(plan); err != nil || len(plan.Change.Tasks) == 0 {
		return err
	}
	s.host = &devices.Host{} // which may change meanwhile
	if err := plan.Do(ctx, s.target); err != nil && s.target.Init.Lives() {
		return err
	}
	if err := plan.Failed(); err != nil && err.Error() != s.failed {
		s.failed = err.Error()
		s.app.warn("the container does not have all its devices under their present numbers", err)
	}
	s.renewed = plan.Renewed()
	if s.reload, err = plan.SyncRules(ctx, s.app.Generation, s.id, commandLockWait); err != nil {
		s.app.warn("udev rules not renewed: until the next command or start nobody notices when a renumbered device goes", err)
	}
	if err := plan.AllowInUnit(ctx, s.target); err != nil {
		s.app.warn("systemd's next daemon-reload undoes the change of the container's devices", err)
	}
	return nil
}

// hasDevices tells whether devices are recorded, or may be.
func hasDevices(doc *config.Document) bool {
	return doc.Has(config.Devices) || doc.Has(config.Selectors)
}

// tellUdevd tells it that rules changed. All is done; it is what udevd will find when it starts.
func (s *session) tellUdevd() {
	err := devices.ReloadRules(context.Background())
	if err == nil {
		return
	}
	what := "udev rules changed, but udevd was not told"
	if !devices.UdevdRuns() {
		what += ", because none runs here: only the next command or start notices a device that goes or comes"
	}
	s.app.warn(what, err)
}

// lookAgainWait is how long the second look waits for whoever has the lock by now, and looks, too.
const lookAgainWait = 5 * time.Second

// lookAgain makes the devices of the running container what they became before udevd knew the
// rules, and tells whether the rules changed again.
func (s *session) lookAgain(found container.Container) bool {
	if s.target == nil {
		return false
	}
	again := &session{app: s.app, name: s.name, id: s.id, dir: s.dir, host: &devices.Host{}, failed: s.failed}
	if err := again.renew(context.WithoutCancel(s.app.interrupts), found); err != nil {
		s.app.warn("devices that came or went meanwhile are not looked up", err)
	}
	s.failed = again.failed
	return again.reload
}

func (s *session) renew(ctx context.Context, found container.Container) error {
	leave, err := s.enter(ctx, found, lookAgainWait)
	if err != nil {
		return err
	}
	defer leave()
	closeTarget, err := s.open(found)
	defer closeTarget()
	if err != nil || s.target == nil {
		return err
	}
	return s.refreshDevices(ctx, (*devices.Hotplug).Rescan)
}
