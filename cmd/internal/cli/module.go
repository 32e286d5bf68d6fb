package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/resource"
)

// commandLockWait is how long a command waits for a lock that another holds.
const commandLockWait = 60 * time.Second

// loadWait bounds modprobe; a module's init function may look for hardware.
const loadWait = 120 * time.Second

var formatFlag = cli.StringFlag{Name: "format", Value: "json", Usage: "print in this `FORMAT`: table or json"}

func (a App) moduleCommands() []cli.Command {
	return []cli.Command{
		{
			Name:      "add-module",
			Usage:     "load kernel modules for a container, now if it runs, and at its every start",
			ArgsUsage: "<container> NAME...",
			Action:    func(c *cli.Context) error { return a.moduleChange(c, "add", a.addModules) },
		},
		{
			Name:      "remove-module",
			Usage:     "stop loading kernel modules for a container",
			ArgsUsage: "<container> NAME...",
			Flags:     []cli.Flag{cli.BoolFlag{Name: "unload", Usage: "unload them, too, unless somebody needs them"}},
			Action:    func(c *cli.Context) error { return a.moduleChange(c, "remove", a.removeModules) },
		},
		{
			Name:      "list-module",
			Usage:     "list the kernel modules that containers, or one container, ask for, and those that were loaded for them",
			ArgsUsage: "[<container>]",
			Flags:     []cli.Flag{prettyFlag, formatFlag},
			Action:    a.listModules,
		},
		{
			Name:      "check-module",
			Usage:     "show whether a start that needs these kernel modules would succeed (dry run)",
			ArgsUsage: "NAME...",
			Flags:     []cli.Flag{prettyFlag, cli.StringFlag{Name: "format", Value: "table", Usage: "print in this `FORMAT`: table or json"}},
			Action:    a.checkModules,
		},
	}
}

// moduleArgs are a command's container and what it asks for.
type moduleArgs struct {
	name      string // of the container, as given
	container container.Container
	modules   []string
	unload    bool
}

// moduleChange resolves the container, before any lock is taken.
func (a App) moduleChange(c *cli.Context, verb string, do func(context.Context, moduleArgs) ([]kmod.Result, error)) error {
	if err := atLeastArgs(c, 2); err != nil {
		return err
	}
	args := moduleArgs{name: c.Args().First(), modules: c.Args().Tail(), unload: c.Bool("unload")}
	err := kmod.CheckNames(args.modules)
	if err == nil {
		args.container, err = a.find(c, args.name)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(a.interrupts, loadWait)
		defer cancel()
		var results []kmod.Result
		results, err = do(ctx, args)
		a.auditModules(c, verb, args, results, err)
		if !errors.Is(err, config.ErrBusy) {
			a.renewDevices(c, args)
		}
	}
	if err != nil {
		//lint:ignore ST1005 as for devices and paths
		return fmt.Errorf("Failed to %s module: %w", verb, err)
	}
	return nil
}

// renewDevices makes the devices of a container that runs what they are on the host now, as
// each other command does first: a driver that came or went has changed their numbers.
func (a App) renewDevices(c *cli.Context, args moduleArgs) {
	_, runs, err := container.Running(args.container)
	if err == nil && !runs {
		return
	}
	if doc, err := config.Load(args.container.Dir); err == nil && !hasDevices(doc) {
		return
	}
	err = a.transactNamed(c, args.container, args.name, "", resource.Stop, func(*session) error { return nil })
	if err != nil {
		a.warn("the numbers of the devices of container "+args.name+" were not looked up again", err)
	}
}

// addModules loads first and records afterwards: what is loaded stays, so there is
// nothing to take back, and the container's lock is not held while modprobe runs.
func (a App) addModules(ctx context.Context, args moduleArgs) (results []kmod.Result, err error) {
	loader := kmod.Loader{Wait: commandLockWait}
	by := requester(args.container, args.name)
	if by.Init.PID > 0 {
		results, err = loader.Load(ctx, by, args.modules)
	} else {
		err = dryRunModules(loader, args.modules)
	}
	if err != nil {
		return results, err
	}
	err = changeModules(ctx, args.container.Dir, &by, func(old []string) []string {
		return append(slices.Clone(old), kmod.Without(args.modules, old)...)
	})
	if err != nil {
		return results, err
	}
	for _, m := range args.modules {
		fmt.Fprintf(a.Stdout, "Add module (%s) to container(%s) done.\n", m, args.name)
	}
	return results, nil
}

// requester is the container as the records have it. name is what the user calls it,
// which may be its id or the beginning of that.
func requester(c container.Container, name string) kmod.Requester {
	by := kmod.Requester{ID: c.ID}
	if name = strings.TrimPrefix(name, "/"); !strings.HasPrefix(c.ID, name) {
		by.Name = name
	}
	if init, err := c.Init(); err == nil {
		by.Init = init
	}
	return by
}

// dryRunModules refuses, for a container that does not run, what its start would fail
// for.
func dryRunModules(loader kmod.Loader, names []string) error {
	list, err := loader.Check(names)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range list {
		if f.Fails() {
			errs = append(errs, fmt.Errorf("%s: %s", f.Name, f.Reason))
		}
	}
	return errors.Join(errs...)
}

// changeModules changes the container's file and what is remembered of it, under
// its lock. The start record beats what the engine said: by becomes what runs now.
func changeModules(ctx context.Context, dir string, by *kmod.Requester, change func([]string) []string) error {
	lock, err := config.LockContainer(ctx, dir, commandLockWait)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	doc, err := config.Load(dir)
	if err != nil {
		return err
	}
	old, err := kmod.Recorded(doc)
	if err != nil {
		return err
	}
	want := change(old)
	if err := kmod.SetRecorded(doc, want); err != nil {
		return err
	}
	if start, err := container.ReadStart(by.ID); err == nil {
		by.Init = start.Init
	}
	if !by.Init.Lives() {
		return nil // its next start will tell
	}
	ofSpec, err := kmod.OfSpec(dir)
	if err != nil {
		return err
	}
	return kmod.Loader{}.Record(*by, append(ofSpec, kmod.Without(want, ofSpec)...))
}

func (a App) removeModules(ctx context.Context, args moduleArgs) ([]kmod.Result, error) {
	dir := args.container.Dir
	doc, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	old, err := kmod.Recorded(doc)
	if err != nil {
		return nil, err
	}
	ofSpec, err := kmod.OfSpec(dir)
	if err != nil {
		return nil, err
	}
	if others := kmod.Without(args.modules, old); len(others) > 0 {
		if len(kmod.Without(others[:1], ofSpec)) == 0 {
			return nil, fmt.Errorf("kernel module %s is named by KERNEL_MODULES in the container's environment, which no command changes: create the container without it", others[0])
		}
		return nil, fmt.Errorf("kernel module %s is not added by %s, can not remove it, please check input parameter", others[0], a.Name)
	}
	by := requester(args.container, args.name)
	loader := kmod.Loader{Wait: commandLockWait}
	if args.unload {
		still := append(ofSpec, kmod.Without(kmod.Without(old, args.modules), ofSpec)...)
		if err := loader.Unloadable(by.ID, args.modules, still); err != nil {
			return nil, err
		}
	}
	err = changeModules(ctx, dir, &by, func(old []string) []string { return kmod.Without(old, args.modules) })
	if err != nil {
		return nil, err
	}
	for _, m := range args.modules {
		fmt.Fprintf(a.Stdout, "Remove module (%s) from container(%s) done.\n", m, args.name)
	}
	if !args.unload {
		return nil, nil
	}
	gone, err := loader.Unload(ctx, args.modules)
	results := make([]kmod.Result, len(gone))
	for i, m := range gone {
		results[i] = kmod.Result{Name: m, Outcome: kmod.Unloaded}
		fmt.Fprintf(a.Stdout, "Unload module (%s) done.\n", m)
	}
	return results, err
}

// auditModules writes one line for each module that was asked for or unloaded; an alias
// stands for several. The modules that a failed command has loaded stay.
func (a App) auditModules(c *cli.Context, verb string, args moduleArgs, results []kmod.Result, err error) {
	names := slices.Clone(args.modules)
	for _, r := range results {
		names = append(names, kmod.Without([]string{r.Name}, names)...)
	}
	for _, name := range names {
		ch := change{id: args.container.ID, name: args.name, what: verb + " kernel module " + name, err: err}
		if i := slices.IndexFunc(results, func(r kmod.Result) bool { return kmod.Same(r.Name, name) }); i >= 0 {
			r := results[i]
			ch.more = logrus.Fields{"outcome": string(r.Outcome)}
			switch {
			case r.Reason != "":
				ch.err = errors.New(r.Reason)
			case r.Outcome == kmod.Unloaded:
				ch.err = nil
			}
		}
		a.audit(c, ch)
	}
}
