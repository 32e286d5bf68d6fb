package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/container/engines"
	"isula.org/isulad-tools/inspection"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/resource"
)

// lookWait bounds how long a check waits for a container's lock: what holds it longer is
// told, and is looked at by a person.
const lookWait = 10 * time.Second

var allFlag = cli.BoolFlag{Name: "all", Usage: "all containers, instead of those that are named"}

func (a App) inspectCommands() []cli.Command {
	return []cli.Command{
		{
			Name:      "inspect",
			Usage:     "show what a container has: as recorded, as granted, and in the kernel",
			ArgsUsage: "<container>",
			Flags:     []cli.Flag{showFlag("print in this `FORMAT`: table, json, or a Go template, such as {{.PID}}, for the fields of the JSON")},
			Action:    a.inspect,
		},
		{
			Name:      "check",
			Usage:     "show where a container differs from its record; exit code 0: no difference, 1: differences, 2: something cannot be read",
			ArgsUsage: "<container> [container...]",
			Flags:     []cli.Flag{allFlag, showFlag("print in this `FORMAT`: table, a line each; json; or a Go template for each")},
			Action:    a.check,
		},
		{
			Name:      "repair",
			Usage:     "give a running container what is recorded, and revoke what was granted and is not recorded",
			ArgsUsage: "<container> [container...]",
			Flags:     []cli.Flag{allFlag, dryRunFlag, cli.BoolFlag{Name: "orphans", Usage: "remove leftovers of containers that are gone, instead"}},
			Action:    a.repair,
		},
		{
			Name:   "doctor",
			Usage:  "check the host: what containers need, and leftovers of containers that are gone; exit code 0: all is well, 1: something is wrong, 2: something cannot be read",
			Flags:  []cli.Flag{showFlag("print in this `FORMAT`: table, a line each; json; or a Go template for each")},
			Action: a.doctor,
		},
		{
			Name:      "who",
			Usage:     "show which containers have or record a device, a host path (or one above or below it), a link, or a bridge",
			ArgsUsage: "PATH|LINK",
			Flags:     []cli.Flag{showFlag("print in this `FORMAT`: table, a line each; json; or a Go template for each")},
			Action:    a.listHolders,
		},
	}
}

func showFlag(usage string) cli.Flag {
	return cli.StringFlag{Name: "format", Value: "table", Usage: usage}
}

// subject opens the container for a look at it.
func (s *session) subject(found container.Container) (subject *inspection.Subject, closeAll func(), err error) {
	if closeAll, err = s.open(found); err != nil {
		return nil, nil, err
	}
	return s.asSubject(), closeAll, nil
}

func (s *session) asSubject() *inspection.Subject {
	return &inspection.Subject{
		Name: s.name, ID: s.id, Bundle: s.dir, Engine: s.engine, Generation: s.app.Generation,
		Doc: s.doc, Broken: s.broken, Spec: s.spec, Start: s.start, Target: s.target,
	}
}

// look looks at a container; under its lock, nothing of ours changes meanwhile.
func (a App) look(found container.Container, name string, locked bool) (r inspection.Report, err error) {
	s := &session{app: a, name: name, id: found.ID, dir: found.Dir, engine: found.Engine, wait: deadline.NewWaiter(a.interrupts)}
	defer s.wait.Close()
	if locked {
		lock, err := config.LockContainer(a.interrupts, found.Dir, lookWait)
		if err != nil {
			return r, err
		}
		defer lock.Unlock()
	}
	s.doc, s.broken = config.Load(found.Dir)
	if s.broken != nil {
		s.doc = nil
	}
	subject, closeAll, err := s.subject(found)
	if err != nil {
		return r, err
	}
	defer closeAll()
	if r, err = inspection.Look(subject); err != nil && subject.Target != nil && !subject.Target.Init.Lives() {
		subject.Target = nil // it ended meanwhile
		return inspection.Look(subject)
	}
	return r, err
}

// search finds a container also while its engine does not answer: by its start.
func (a App) search(c *cli.Context, name string) (container.Container, error) {
	found, err := a.find(c, name)
	if err == nil || !container.ValidName(name) {
		return found, err
	}
	id, s, e := container.FindStart(name)
	if e != nil || !s.Init.Lives() {
		return found, err
	}
	return container.Container{ID: id, Dir: s.Bundle, PID: s.Init.PID, Start: s.Init.Start}, nil
}

// named calls do for each container of a command's arguments, or with --all for all.
func (a App) named(c *cli.Context, do func(found container.Container, name string, err error) error) error {
	if c.Bool(allFlag.Name) {
		if err := atMostArgs(c, 0); err != nil {
			return err
		}
		return a.each(c, do)
	}
	if err := atLeastArgs(c, 1); err != nil {
		return err
	}
	for _, name := range c.Args() {
		found, err := a.search(c, name)
		if err := do(found, name, err); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for all containers: those that an engine knows, and those that run and of
// whose start there is a record, under whatever engine.
func (a App) each(c *cli.Context, do func(found container.Container, name string, err error) error) error {
	all, err := a.all(c)
	if err != nil {
		if err := do(container.Container{}, "all containers", err); err != nil {
			return err
		}
	}
	for _, found := range all {
		if err := do(found, cmp.Or(found.Name, found.ID), nil); err != nil {
			return err
		}
	}
	return nil
}

// all are these containers; with an error, as far as they could be found.
func (a App) all(c *cli.Context) ([]container.Container, error) {
	word, graph := c.GlobalString(engineFlag.Name), c.GlobalString(graphFlag.Name)
	all, unlisted := engines.List(a.interrupts, graph)
	if engine, err := engines.New(word, graph); err == nil && word != engines.Any {
		if l, ok := engine.(container.Lister); ok {
			more, err := l.List(a.interrupts)
			all, unlisted = append(all, more...), errors.Join(unlisted, err)
		}
	}
	started, err := container.Starts()
	all, unlisted = append(all, started...), errors.Join(unlisted, err)
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(c container.Container) bool {
		before := seen[c.Dir]
		seen[c.Dir] = true
		return before
	}), unlisted
}

func (a App) inspect(c *cli.Context) error {
	name, err := oneContainer(c)
	if err != nil {
		return err
	}
	show, err := formatOf(c.String("format"), a.Stdout, a.showReport)
	if err != nil {
		return err
	}
	found, err := a.search(c, name)
	if err != nil {
		return err
	}
	r, err := a.look(found, name, false)
	if r.Schema == 0 {
		return err
	}
	if shown := show(r); shown != nil {
		return shown
	}
	return err
}

// Exit codes of check.
const (
	differs   exitCode = 1
	notLooked exitCode = 2
)

func (a App) check(c *cli.Context) error {
	var code error
	list, err := newListing(c.String("format"), a.Stdout, lines[inspection.Finding](a.Stdout))
	if err == nil {
		err = a.named(c, func(found container.Container, name string, err error) error {
			var r inspection.Report
			if err == nil {
				r, err = a.differences(found, name)
			}
			if err != nil {
				a.warnContainer(name, err)
				code = notLooked
			}
			findings := r.Findings()
			if code == nil && len(findings) > 0 {
				code = differs
			}
			return list.add(findings...)
		})
	}
	if err == nil {
		err = list.end()
	}
	if err != nil {
		a.warnContainer("check", err)
		return notLooked
	}
	return code
}

// warnContainer says what is no end of a command on several containers.
func (a App) warnContainer(what string, err error) {
	line := strings.TrimPrefix(command.OneLine(err.Error()), what+": ")
	fmt.Fprintln(a.Stderr, what+": "+line)
	a.log.Error(what + ": " + line)
}

// differences looks at a container, and, where it is not as it should be, once more under
// its lock: a command may have been at work.
func (a App) differences(found container.Container, name string) (inspection.Report, error) {
	r, err := a.look(found, name, false)
	if err == nil && len(r.Findings()) == 0 || errors.As(err, new(*deadline.NoAnswer)) {
		return r, err
	}
	return a.look(found, name, true)
}

func (a App) repair(c *cli.Context) error {
	if c.Bool("orphans") {
		return a.repairOrphans(c)
	}
	var errs []error
	err := a.named(c, func(found container.Container, name string, err error) error {
		if err == nil {
			err = a.repairOne(c, found, name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("repair container %s: %w", name, err))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// repairOne repairs one container. Kernel modules are loaded first, without its lock.
func (a App) repairOne(c *cli.Context, found container.Container, name string) error {
	dry := c.Bool(dryRunFlag.Name)
	before, err := a.look(found, name, false)
	if err != nil && before.Schema == 0 {
		return err
	}
	var left []error
	if names := before.Modules(); len(names) > 0 && dry {
		for _, m := range names {
			fmt.Fprintf(a.Stdout, "would load kernel module %s, now\n", m)
		}
	} else if len(names) > 0 {
		by := kmod.Requester{ID: found.ID, Name: name}
		_, err := kmod.Loader{}.Load(context.WithoutCancel(a.interrupts), by, names)
		left = append(left, err)
		for _, m := range names {
			a.audit(c, change{id: found.ID, name: name, what: "repair kernel module " + m, err: err})
			if err == nil {
				fmt.Fprintf(a.Stdout, "Repair kernel module %s in container %s done\n", m, name)
			}
		}
	}
	err = a.transactNamed(c, found, name, "", resource.Skip, func(s *session) error {
		subject := s.asSubject()
		r, err := inspection.Look(subject)
		if err != nil {
			return err
		}
		for _, f := range r.Findings() {
			if !f.Mends {
				left = append(left, fmt.Errorf("%s %s: %s: %s", f.Kind, f.Name, f.What, f.Why))
			}
		}
		if err := inspection.Repair(subject, r, s.change); err != nil {
			return err
		}
		if !dry { // what a command left that was killed while it wrote
			if err := config.Sweep(s.dir); err != nil {
				return err
			}
		}
		for _, t := range s.change.Tasks {
			s.printOnSuccess(t, "%s %s %s in container %s done", strings.ToUpper(t.Verb[:1])+t.Verb[1:], t.Kind, t.Record, name)
		}
		s.after = func() { s.reload = s.reload || subject.Reload }
		return nil
	})
	return errors.Join(append(left, err)...)
}
