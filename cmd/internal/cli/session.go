package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

var (
	dryRunFlag     = cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and change nothing"}
	forgetFlag     = cli.BoolFlag{Name: "forget", Usage: "remove the record even if the container still holds the resource, with a warning"}
	configOnlyFlag = cli.BoolFlag{Name: "update-config-only", Usage: "change the record only: the container's next start applies it"}
)

// session is one command's transaction on one container.
type session struct {
	app    App
	name   string // of the container, as it was typed
	id     string
	dir    string // its bundle
	doc    *config.Document
	broken error  // why there is no doc
	engine string // who knows it
	// spec is the container's specification; without a config.json it is empty.
	spec   *container.Spec
	noSpec bool // there is no config.json
	wait   *deadline.Waiter
	// target is the running container; nil when it does not run, or when only its
	// file is meant.
	target   *resource.Target
	start    container.Start // how it runs
	change   *resource.Change
	forget   bool             // what cannot be taken away is a warning
	messages []func() string  // what is printed afterwards; "" is nothing
	reload   bool             // udevd must be told that rules changed
	after    func()           // once the change is done
	host     *devices.Host    // looked at under the lock
	renewed  []devices.Device // that the container got by other numbers before all else
	failed   string           // what was said of those that it could not get
}

// bareError is an error that says by itself what failed.
type bareError struct{ error }

// transact resolves the container that is the command's first argument, takes
// its lock, looks again, and does what plan puts into the session's change; then
// it prints what was done. prefix begins the error. Nothing under the lock talks
// to isulad, which may be waiting for a hook that waits for the lock.
func (a App) transact(c *cli.Context, prefix string, p resource.Policy, plan func(*session) error) error {
	found, err := a.find(c, c.Args().First())
	if err != nil {
		return err
	}
	return a.transactOn(c, found, prefix, p, plan)
}

// transactOn is transact on a container that is found already.
func (a App) transactOn(c *cli.Context, found container.Container, prefix string, p resource.Policy, plan func(*session) error) error {
	return a.transactNamed(c, found, c.Args().First(), prefix, p, plan)
}

// transactNamed is transactOn where the container is not the first argument.
func (a App) transactNamed(c *cli.Context, found container.Container, name, prefix string, p resource.Policy, plan func(*session) error) error {
	s := &session{app: a, name: name, id: found.ID, dir: found.Dir, host: &devices.Host{}}
	err := s.locked(a.interrupts, c, found, p, plan)
	s.audit(c, err)
	if s.after != nil {
		s.after()
	}
	if s.reload {
		// After all locks: udevd may wait for a helper that waits for one.
		devices.Settle(true, s.tellUdevd, func() bool { return s.lookAgain(found) })
	}
	return s.report(prefix, err)
}

// warn says what a command does not fail for.
func (a App) warn(what string, err error) {
	what += ": " + command.OneLine(err.Error())
	fmt.Fprintln(a.Stderr, "warning: "+what)
	a.log.Warn(what)
}

func (s *session) locked(ctx context.Context, c *cli.Context, found container.Container, p resource.Policy, plan func(*session) error) error {
	leave, err := s.enter(ctx, found, commandLockWait)
	if err != nil {
		return err
	}
	defer leave()
	s.forget = c.Bool(forgetFlag.Name)
	closeTarget, err := s.open(found)
	defer closeTarget()
	if err != nil && s.forget {
		s.app.warn("container "+s.name, err)
		s.target, s.spec = nil, cmp.Or(s.spec, new(container.Spec))
	} else if err != nil {
		return err
	}
	if s.target != nil && s.target.Doubt != nil {
		s.app.warn("container "+s.name, s.target.Doubt)
	}
	if c.Bool(configOnlyFlag.Name) {
		s.target = nil
	}
	if s.target != nil && !c.Bool(dryRunFlag.Name) {
		if err := s.refreshDevices(context.WithoutCancel(ctx), (*devices.Hotplug).Renew); err != nil {
			return err
		}
	}
	s.change = resource.NewChange(s.doc, p)
	if err := plan(s); err != nil {
		return err
	}
	for _, t := range s.change.Tasks {
		t.Forget = s.forget
	}
	if c.Bool(dryRunFlag.Name) {
		s.preview()
		return nil
	}
	if err := s.app.interrupts.begin(); err != nil {
		return err
	}
	return s.change.Do(context.WithoutCancel(ctx), s.target)
}

// enter takes the container's lock, for so long, and reads its records.
func (s *session) enter(ctx context.Context, found container.Container, wait time.Duration) (leave func(), err error) {
	lock, err := config.LockContainer(ctx, found.Dir, wait)
	if err != nil {
		return nil, err
	}
	s.wait = deadline.NewWaiter(ctx)
	leave = func() {
		s.wait.Close()
		lock.Unlock()
	}
	if s.doc, err = config.Load(found.Dir); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// container is the one for which the host's paths are opened.
func (s *session) container() mounts.Container {
	return mounts.Container{ID: s.id, Bundle: s.dir, Trees: s.spec.Trees(s.dir)}
}

// open finds out, under the lock, whether the container runs, and opens it if it
// does. A start record beats what the engine said before.
func (s *session) open(found container.Container) (closeTarget func(), err error) {
	nothing := func() {}
	s.spec, err = container.ReadSpec(found.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		s.spec, s.noSpec, err = new(container.Spec), true, nil
		s.spec.Linux.CgroupsPath = filepath.Join(found.CgroupParent, found.ID)
	}
	if err != nil {
		return nothing, err
	}
	start, ok, err := container.Running(found)
	if !ok || err != nil {
		return nothing, err
	}
	s.start = start
	s.target, closeTarget, err = container.Open(s.wait, s.app.Generation, found.ID, start, s.spec)
	if errors.Is(err, process.ErrGone) || err != nil && !start.Init.Lives() {
		return nothing, nil // it ended meanwhile
	}
	if err != nil {
		return nothing, err
	}
	s.target.LookPath = exec.LookPath // a person runs this
	s.target.Detect = mounts.DetectSharedPath
	if s.noSpec {
		s.target.DeviceRules = nil
	}
	return closeTarget, nil
}

// printOnSuccess plans what is printed when task is done.
func (s *session) printOnSuccess(task *resource.Task, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.printLater(func() string {
		if task.Err == nil {
			return text
		}
		return ""
	})
}

// printLater plans that what line returns afterwards is printed, if it returns anything.
func (s *session) printLater(line func() string) { s.messages = append(s.messages, line) }

// report prints what was done and returns what failed: err, and the errors of
// the tasks.
func (s *session) report(prefix string, err error) error {
	for _, line := range s.messages {
		if text := line(); text != "" && s.change.Done {
			fmt.Fprintln(s.app.Stdout, text)
		}
	}
	var failed []string
	if s.change != nil {
		for _, t := range s.change.Tasks {
			if t.Warning != nil {
				s.app.warn(fmt.Sprintf("%s %s %s", t.Verb, t.Kind, t.Record), t.Warning)
			}
			if t.Err != nil && !errors.Is(t.Err, resource.ErrNotTried) && !errors.Is(t.Err, devices.ErrNoWeights) {
				failed = append(failed, t.Err.Error())
			}
		}
	}
	if err != nil {
		failed = append(failed, err.Error())
	}
	if errors.As(err, new(bareError)) {
		return err
	}
	if len(failed) == 0 {
		return nil
	}
	// One line, also of what could not be undone.
	return errors.New(prefix + strings.ReplaceAll(strings.Join(failed, " "), "\n", "; "))
}

// preview prints what would be done.
func (s *session) preview() {
	always := "now, and at every start"
	if s.target == nil {
		always = "at the next start"
	}
	for _, t := range s.change.Tasks {
		if t.Err != nil && s.change.Policy == resource.Stop {
			return
		}
		if t.Err == nil && t.Kind != "" && (t.Needs == nil || t.Needs.Err == nil) {
			where := always
			if t.Verb == "repair" || t.Verb == "withdraw" {
				where = "now"
			}
			fmt.Fprintf(s.app.Stdout, "would %s %s %s, %s\n", t.Verb, t.Kind, t.Record, where)
		}
	}
}
