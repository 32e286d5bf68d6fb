package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
	"isula.org/isulad-tools/sysctl"
)

// startRun is one container start, as the phases see it.
type startRun struct {
	state    state
	spec     *container.Spec
	target   *resource.Target
	recorded recorded
	found    []devices.OnHost // the host's, of the recorded devices
	modules  modules
	report   func(error) // of what a start survives
	after    followUp
}

// phase is one part of a start. The first that fails ends it; what the earlier
// ones did is poststop's, which the runtime runs.
type phase struct {
	name string
	do   func(*Hook, context.Context, *startRun) error
}

// phases lists what prestart does under the container's lock, in order. The
// kernel modules come before: devices may need them, and loading can be slow.
var phases = []phase{
	{"shared path", (*Hook).share},
	{"user namespace", (*Hook).sysctls},
	{"devices", (*Hook).devices},
	{"udev rules", (*Hook).rules},
	{"paths", (*Hook).paths},
	{"I/O limits", (*Hook).limits},
	{"network namespace", (*Hook).pin},
	{"network interfaces", (*Hook).interfaces},
	{"routes", (*Hook).routes},
}

func (h *Hook) share(ctx context.Context, s *startRun) error {
	if err := h.unleak(s.state, s.spec); err != nil {
		s.report(err)
	}
	return mounts.Share(ctx, s.target, s.report)
}

// unleak removes what the older generation's hook leaked on the host for a
// container that had changed its root.
func (h *Hook) unleak(st state, sp *container.Spec) error {
	root, err := sp.RootPath(st.Bundle, st.Root)
	if err != nil {
		return nil // then nothing was leaked there either
	}
	return h.wait.Do(st.whose(), root, func() error { return mounts.UnmountLeaked(root) })
}

func (h *Hook) sysctls(_ context.Context, s *startRun) error {
	if !s.spec.Mapped() {
		return nil // the runtime itself can set them
	}
	return sysctl.Set(s.state.Pid, s.target.Owner.UID, s.spec.Linux.Sysctl)
}

func (h *Hook) devices(ctx context.Context, s *startRun) error {
	whose := mounts.ContainerOf(s.target)
	s.found = s.recorded.host.Look(s.recorded.devices.Records)
	for i, d := range s.recorded.devices.Records {
		if s.found[i].IsPlain() {
			continue // what there is a container never chooses
		}
		if err := whose.CheckDevice(h.wait, d.PathOnHost); err != nil {
			return &resource.RecordError{Verb: "add", Kind: devices.Kind.Name, Record: d, Err: err}
		}
	}
	err := s.recorded.devices.Do(ctx, s.target, s.report)
	for tries := 0; err != nil && tries < 3; tries++ {
		// A partition may have gone since it was looked for: that ends no start.
		changed, e := s.recorded.scan()
		if e != nil || !changed {
			return err
		}
		if err := s.recorded.doc.Save(); err != nil {
			return err
		}
		s.found = s.recorded.host.Look(s.recorded.devices.Records)
		err = s.recorded.devices.Do(ctx, s.target, s.report)
	}
	if err != nil {
		return err
	}
	s.after.allowed = s.recorded.devices.Made
	if doc := s.recorded.doc; doc.Has(config.Devices) || doc.Has(config.Selectors) {
		s.after.unit = s.target.Cgroups.Unit()
	}
	return nil
}

func (h *Hook) rules(ctx context.Context, s *startRun) error {
	doc := s.recorded.doc
	followed, err := devices.FollowFound(doc, s.recorded.devices.Records, s.found)
	if err != nil {
		return err
	}
	if err := doc.Save(); err != nil {
		return err
	}
	if len(followed) > 0 {
		s.after.rescan = func() (reload bool, err error) {
			return h.rescan(ctx, s.state, s.spec, s.target.Init)
		}
	}
	s.after.reload, err = devices.SyncRules(ctx, h.Generation, s.state.ID, followed, hookLockWait)
	return err
}

func (h *Hook) paths(ctx context.Context, s *startRun) error {
	err := s.recorded.paths.Do(ctx, s.target, s.report)
	if err == nil {
		s.hidden()
	}
	return err
}

// hidden says which devices the container does not see, because a path was mounted over
// their nodes: the runtime's mounts were there before, and in those no node is made.
func (s *startRun) hidden() {
	var points []string
	for _, b := range s.recorded.paths.Made {
		points = append(points, b.Container)
	}
	if len(points) == 0 {
		return
	}
	for _, d := range s.recorded.devices.Made {
		if err := devices.Hidden(s.target, d); err != nil {
			by := "a mount over it"
			if i := d.Below(points); i >= 0 {
				by = "the path " + s.recorded.paths.Made[i].String()
			}
			s.report(fmt.Errorf("device %s is hidden by %s: remove-device or remove-path one of them: %w", d, by, err))
		}
	}
}

func (h *Hook) limits(ctx context.Context, s *startRun) error {
	for _, plan := range s.recorded.limits {
		if err := plan.Do(ctx, s.target, s.report); err != nil {
			return err
		}
	}
	return nil
}

// pin bind-mounts the network namespace. If an earlier start, after which no poststop
// ran, left a pin, its host interfaces are moved back first: replacing the pin would
// destroy them.
func (h *Hook) pin(ctx context.Context, s *startRun) error {
	before := network.Cleanup{ID: s.state.ID, Ledger: s.target.Ledger, Records: s.recorded.interfaces.Records}
	switch err := before.Do(ctx); {
	case errors.Is(err, network.ErrStillInUse):
		return err
	case err != nil:
		s.report(err)
	}
	return network.Pin(h.Generation, s.state.ID, s.state.Pid)
}

func (h *Hook) interfaces(ctx context.Context, s *startRun) error {
	for _, n := range s.recorded.interfaces.Records {
		// Those of a container with a user namespace are set already.
		if err := n.CheckIPv6(s.spec.Linux.Sysctl); err != nil && !s.spec.Mapped() {
			s.report(err)
		}
	}
	return s.recorded.interfaces.Do(ctx, s.target, s.report)
}

func (h *Hook) routes(ctx context.Context, s *startRun) error {
	return s.recorded.routes.Do(ctx, s.target, s.report)
}

// prestart makes the container's recorded resources real. It reads and checks
// everything before it changes anything.
func (h *Hook) prestart(ctx context.Context, relabel bool) (*followUp, error) {
	st, err := readState(ctx, h.Stdin, true)
	if err != nil {
		return nil, err
	}
	if err := checkRoot(st); err != nil {
		return nil, err
	}
	sp, err := container.ReadSpec(st.Bundle)
	if err != nil {
		return nil, err
	}
	if sp.Mapped() {
		if err := sysctl.Check(sp.Linux.Sysctl); err != nil {
			return nil, fmt.Errorf("%s: linux.sysctl: %w", filepath.Join(st.Bundle, "config.json"), err)
		}
	}
	wanted, err := kmod.Requested(sp.Process.Env)
	if err != nil {
		return nil, err
	}
	if h.onDemand && !relabel && len(wanted) == 0 && !(sp.Mapped() && len(sp.Linux.Sysctl) > 0) && untouched(st) {
		return nil, nil
	}
	init, err := process.ByPID(st.Pid)
	if err != nil {
		return nil, err
	}
	asked, lock, rec, err := h.requestModules(ctx, st, init, wanted)
	if err == nil {
		lock, rec, err = h.afterBoot(ctx, st.Bundle, lock, rec)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	s := &startRun{state: st, spec: sp, recorded: rec, modules: asked, report: func(err error) {
		h.log.WithField("id", st.ID).Warn(command.OneLine(err.Error()))
	}}
	var closeTarget func()
	if s.target, closeTarget, err = container.Open(h.wait, h.Generation, st.ID, container.Start{Init: init, Bundle: st.Bundle, Root: st.Root}, sp); err != nil {
		return nil, err
	}
	defer closeTarget()
	if s.target.Doubt != nil {
		s.report(s.target.Doubt)
	}
	switch before, err := container.ReadStart(st.ID); {
	case err == nil && before.Init == init:
		return nil, s.verify(ctx) // hook specs are merged: we may be listed twice
	case err == nil && before.Init.Lives():
		return nil, fmt.Errorf("container %s runs already, as process %d", st.ID, before.Init.PID)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		s.report(err)
	}
	if err := s.run(ctx, h); err != nil {
		return &s.after, h.advise(st, err)
	}
	if relabel {
		h.relabel(ctx, s)
	}
	return &s.after, nil
}

// run does the work of a first prestart. Renewed device numbers are saved
// first: whatever becomes of this start, the new ones are right.
func (s *startRun) run(ctx context.Context, h *Hook) error {
	if _, err := s.recorded.scan(); err != nil {
		return err
	}
	if err := s.recorded.doc.Save(); err != nil {
		return err
	}
	if err := s.modules.record(); err != nil {
		return err
	}
	for _, p := range phases {
		err := ctx.Err()
		if err == nil {
			err = p.do(h, ctx, s)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !s.target.Init.Lives() {
		return fmt.Errorf("process %d ended meanwhile", s.state.Pid)
	}
	return container.WriteStart(h.Generation, s.state.ID, s.record(h))
}

// verify is what a second prestart of the same start does.
func (s *startRun) verify(ctx context.Context) error {
	r := &s.recorded
	for _, plan := range []interface {
		Verify(context.Context, *resource.Target, func(error)) error
	}{&r.devices, &r.paths, &r.interfaces, &r.routes} {
		if err := plan.Verify(ctx, s.target, s.report); err != nil {
			return err
		}
	}
	return nil
}

func (s *startRun) record(h *Hook) container.Start {
	r := container.Start{
		Engine:  container.EngineOf(s.state.Bundle),
		Init:    s.target.Init,
		Bundle:  s.state.Bundle,
		Root:    s.state.Root,
		Cgroups: container.Cgroups{},
		Hook:    strings.TrimSpace(h.Generation.Hook + " " + h.Version),
	}
	for _, controller := range []string{"devices", "blkio"} {
		if dir, err := s.target.Cgroups.V1(controller); err == nil {
			r.Cgroups[controller] = dir
		}
	}
	if dir, err := s.target.Cgroups.V2(); err == nil {
		r.Cgroups[cgroup.Unified] = dir
	}
	return r
}
