package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/logging"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/kmod"
)

// lockWait is how long a command waits for a lock that another holds.
const lockWait = 60 * time.Second

// loadWait bounds modprobe; a module's init function may look for hardware.
const loadWait = 120 * time.Second

var formatFlag = cli.StringFlag{Name: "format", Value: "json", Usage: "print a `table` or json"}

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
			Usage:     "load kernel modules for a container no more",
			ArgsUsage: "<container> NAME...",
			Flags:     []cli.Flag{cli.BoolFlag{Name: "unload", Usage: "unload them, too, unless somebody needs them"}},
			Action:    func(c *cli.Context) error { return a.moduleChange(c, "remove", a.removeModules) },
		},
		{
			Name:      "list-module",
			Usage:     "list the kernel modules that containers ask for, or one container, and those loaded for them",
			ArgsUsage: "[<container>]",
			Flags:     []cli.Flag{prettyFlag, formatFlag},
			Action:    a.listModules,
		},
		{
			Name:      "check-module",
			Usage:     "tell what a start that asks for kernel modules would come to, and touch nothing",
			ArgsUsage: "NAME...",
			Flags:     []cli.Flag{prettyFlag, cli.StringFlag{Name: "format", Value: "table", Usage: "print a `table` or json"}},
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
func (a App) moduleChange(c *cli.Context, verb string, do func(context.Context, moduleArgs) error) error {
	switch {
	case c.NArg() == 0:
		return fmt.Errorf("%s: %q must accept a container-id", argv0(), c.Command.Name)
	case c.NArg() == 1:
		return fmt.Errorf("%s: %q must accept a kernel module's name", argv0(), c.Command.Name)
	}
	args := moduleArgs{name: c.Args().First(), modules: c.Args().Tail(), unload: c.Bool("unload")}
	err := kmod.CheckNames(args.modules)
	if err == nil {
		args.container, err = find(c, args.name)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), loadWait)
		defer cancel()
		err = do(ctx, args)
	}
	if err != nil {
		//lint:ignore ST1005 as for devices and paths
		return fmt.Errorf("Failed to %s module: %w", verb, err)
	}
	return nil
}

// addModules loads first and records afterwards: what is loaded stays, so there is
// nothing to take back, and the container's lock is not held while modprobe runs.
func (a App) addModules(ctx context.Context, args moduleArgs) error {
	loader := kmod.Loader{Wait: lockWait}
	by := asker(args.container, args.name)
	if by.Init.PID > 0 {
		results, err := loader.Load(ctx, by, args.modules)
		a.audit(by, results)
		if err != nil {
			return err
		}
	} else if err := forecast(loader, args.modules); err != nil {
		return err
	}
	err := changeModules(ctx, args.container.Dir, &by, func(old []string) []string {
		return append(slices.Clone(old), kmod.Others(args.modules, old)...)
	})
	if err != nil {
		return err
	}
	for _, m := range args.modules {
		fmt.Fprintf(a.Stdout, "Add module (%s) to container(%s) done.\n", m, args.name)
	}
	return nil
}

// asker is the container as the records have it. name is what the user calls it,
// which may be its id or the beginning of that.
func asker(c container.Container, name string) kmod.Asker {
	by := kmod.Asker{ID: c.ID}
	if name = strings.TrimPrefix(name, "/"); !strings.HasPrefix(c.ID, name) {
		by.Name = name
	}
	if init, err := process.Find(c.PID); err == nil {
		by.Init = init
	}
	return by
}

// forecast refuses, for a container that does not run, what its start would fail
// for.
func forecast(loader kmod.Loader, names []string) error {
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
func changeModules(ctx context.Context, dir string, by *kmod.Asker, change func([]string) []string) error {
	lock, err := config.LockContainer(ctx, dir, lockWait)
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
	return kmod.Loader{}.Record(*by, append(ofSpec, kmod.Others(want, ofSpec)...))
}

func (a App) removeModules(ctx context.Context, args moduleArgs) error {
	dir := args.container.Dir
	doc, err := config.Load(dir)
	if err != nil {
		return err
	}
	old, err := kmod.Recorded(doc)
	if err != nil {
		return err
	}
	ofSpec, err := kmod.OfSpec(dir)
	if err != nil {
		return err
	}
	if others := kmod.Others(args.modules, old); len(others) > 0 {
		if len(kmod.Others(others[:1], ofSpec)) == 0 {
			return fmt.Errorf("kernel module %s is asked for by KERNEL_MODULES in the container's environment, which cannot be changed", others[0])
		}
		return fmt.Errorf("kernel module %s is not added by %s, can not remove it, please check input parameter", others[0], a.Name)
	}
	by := asker(args.container, args.name)
	loader := kmod.Loader{Wait: lockWait}
	if args.unload {
		still := append(ofSpec, kmod.Others(kmod.Others(old, args.modules), ofSpec)...)
		if err := loader.Unloadable(by.ID, args.modules, still); err != nil {
			return err
		}
	}
	err = changeModules(ctx, dir, &by, func(old []string) []string { return kmod.Others(old, args.modules) })
	if err != nil {
		return err
	}
	for _, m := range args.modules {
		fmt.Fprintf(a.Stdout, "Remove module (%s) from container(%s) done.\n", m, args.name)
	}
	if !args.unload {
		return nil
	}
	gone, err := loader.Unload(ctx, args.modules)
	results := make([]kmod.Result, len(gone))
	for i, m := range gone {
		results[i] = kmod.Result{Name: m, Outcome: kmod.Unloaded}
		fmt.Fprintf(a.Stdout, "Unload module (%s) done.\n", m)
	}
	a.audit(by, results)
	return err
}

// audit writes one line for each request, as the hook does.
func (a App) audit(by kmod.Asker, results []kmod.Result) {
	log := logging.Tool(a.Generation.Tool, io.Discard)
	for _, r := range results {
		log.WithFields(logrus.Fields(kmod.Audit(by, r))).Info("kernel module")
	}
}

func (a App) listModules(c *cli.Context) error {
	table, err := wantsTable(c)
	if err != nil {
		return err
	}
	var list []kmod.Status
	switch c.NArg() {
	case 0:
		list, err = kmod.Loader{}.List()
	default:
		list, err = listModulesOf(c)
	}
	if err != nil {
		return err
	}
	if table {
		return printModules(a.Stdout, list)
	}
	return printJSON(a.Stdout, some(list), c.Bool("pretty"))
}

func listModulesOf(c *cli.Context) ([]kmod.Status, error) {
	found, err := one(c)
	if err != nil {
		return nil, err
	}
	names, err := kmod.OfSpec(found.Dir)
	if err == nil {
		var doc *config.Document
		if doc, err = config.Load(found.Dir); err == nil {
			var recorded []string
			recorded, err = kmod.Recorded(doc)
			names = append(names, kmod.Others(recorded, names)...)
		}
	}
	if err != nil {
		//lint:ignore ST1005 as for devices and paths
		return nil, fmt.Errorf("Failed to list module in container: %w", err)
	}
	return kmod.Loader{}.ListFor(asker(found, c.Args().First()), names)
}

// wantsTable reads --format, which --pretty overrules.
func wantsTable(c *cli.Context) (bool, error) {
	switch f := c.String("format"); f {
	case "table":
		return !c.Bool("pretty"), nil
	case "json":
		return false, nil
	default:
		return false, fmt.Errorf("unknown format %s: want table or json", f)
	}
}

func printModules(w io.Writer, list []kmod.Status) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MODULE\tSTATE\tSIZE\tUSED\tUSED BY\tASKED FOR BY\tORIGIN\tSINCE")
	for _, m := range list {
		size, used, since := "-", "-", "-"
		if m.Size > 0 {
			size, used = fmt.Sprint(m.Size), fmt.Sprint(m.UseCount)
		}
		if m.LoadedAt != nil {
			since = m.LoadedAt.Local().Format(time.DateTime)
		}
		var askers []string
		for _, ask := range m.AskedBy {
			who := short(ask.Name, ask.ID)
			if !kmod.Same(ask.As, m.Module) {
				who += " as " + ask.As
			}
			if !ask.Running {
				who += " (stopped)"
			}
			askers = append(askers, who)
		}
		origin := m.Origin
		if origin == "loaded" {
			origin += " for " + short(m.LoadedName, m.LoadedFor)
		}
		fmt.Fprintln(t, strings.Join([]string{
			m.Module, m.State, size, used, dash(m.UsedBy), dash(askers), dash([]string{origin}), since,
		}, "\t"))
	}
	return t.Flush()
}

// short is what a table calls a container.
func short(name, id string) string {
	if name == "" {
		name = id
		if len(id) == 64 {
			name = id[:12]
		}
	}
	return name
}

func dash(list []string) string {
	if s := strings.Join(list, ","); s != "" {
		return s
	}
	return "-"
}

func (a App) checkModules(c *cli.Context) error {
	table, err := wantsTable(c)
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		return fmt.Errorf("%s: %q must accept a kernel module's name", argv0(), c.Command.Name)
	}
	list, err := kmod.Loader{}.Check(c.Args())
	if err != nil {
		return err
	}
	var failing []string
	for _, f := range list {
		if f.Fails() {
			failing = append(failing, f.Name)
		}
		if table {
			printForecast(a.Stdout, f)
		}
	}
	if !table {
		if err := printJSON(a.Stdout, list, c.Bool("pretty")); err != nil {
			return err
		}
	}
	if len(failing) > 0 {
		return fmt.Errorf("a container that asks for %s does not start", strings.Join(failing, ", "))
	}
	return nil
}

func printForecast(w io.Writer, f kmod.Forecast) {
	line := f.Name + ": " + string(f.State)
	if len(f.Modules) > 0 && !kmod.Same(f.Modules[0], f.Name) {
		line += ", alias for " + strings.Join(f.Modules, ", ")
	}
	if f.Reason != "" {
		line += ": " + f.Reason
	}
	fmt.Fprintln(w, line)
	for _, file := range f.Files {
		if !strings.HasPrefix(file, "install ") {
			file = "insmod " + file
		}
		fmt.Fprintln(w, "    "+file)
	}
	for _, note := range f.Notes {
		fmt.Fprintln(w, "    note: "+note)
	}
}
