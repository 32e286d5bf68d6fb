package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/inspection"
)

func (a App) doctor(c *cli.Context) error {
	if err := atMostArgs(c, 0); err != nil {
		return err
	}
	list, err := newListing(c.String("format"), a.Stdout, lines[inspection.Fact](a.Stdout))
	if err != nil {
		a.warnContainer("doctor", err)
		return notLooked
	}
	var host inspection.Host
	host.Containers, host.Unlisted = a.all(c)
	facts := host.Examine(a.interrupts)
	var code error
	if slices.ContainsFunc(facts, func(f inspection.Fact) bool { return f.State != inspection.OK }) {
		code = differs
	}
	if err := list.add(facts...); err != nil {
		return err
	}
	return cmp.Or(list.end(), code)
}

// repairOrphans removes what the host has of containers that are gone. Where not all
// containers can be found, nobody knows which those are.
func (a App) repairOrphans(c *cli.Context) error {
	if err := atMostArgs(c, 0); err != nil {
		return err
	}
	known, err := a.all(c)
	if err != nil {
		return fmt.Errorf("repair --orphans: nothing removed, not all containers can be found: %w", err)
	}
	orphans, err := inspection.Orphans(known)
	if err != nil {
		return fmt.Errorf("repair --orphans: not all that containers were granted can be read: %w", err)
	}
	var failed []error
	reload := false
	for _, o := range orphans {
		left := strings.Join(o.Left, ", ")
		if c.Bool(dryRunFlag.Name) {
			fmt.Fprintf(a.Stdout, "would remove leftovers of container %s: %s\n", o.ID, left)
			continue
		}
		var errs []error
		changed, err := a.clear(o, func(err error) { errs = append(errs, err) })
		reload = reload || changed
		if err = errors.Join(append(errs, err)...); err != nil {
			failed = append(failed, fmt.Errorf("remove leftovers of container %s: %w", o.ID, err))
		} else {
			fmt.Fprintf(a.Stdout, "Remove leftovers of container %s: %s done\n", o.ID, left)
		}
		a.audit(c, change{id: o.ID, name: o.ID, what: "remove leftovers: " + left, err: err})
	}
	failed = append(failed, a.returnLinks(c))
	if reload {
		if err := devices.ReloadRules(context.Background()); err != nil {
			a.warn("udev rules changed, but udevd was not told", err)
		}
	}
	return errors.Join(failed...)
}

// returnLinks gives links back to the host that were lent to containers that are gone.
func (a App) returnLinks(c *cli.Context) error {
	links, err := inspection.OrphanLinks()
	if err != nil {
		return fmt.Errorf("repair --orphans: %w", err)
	}
	var failed []error
	for _, l := range links {
		what := fmt.Sprintf("link %s, which was lent to a container that is gone, as %s", l.Name, l.Was)
		if c.Bool(dryRunFlag.Name) {
			fmt.Fprintf(a.Stdout, "would return %s\n", what)
			continue
		}
		if err := a.interrupts.begin(); err != nil {
			return errors.Join(append(failed, err)...)
		}
		err := l.Return()
		if err != nil {
			failed = append(failed, fmt.Errorf("return %s: %w", what, err))
		} else {
			fmt.Fprintf(a.Stdout, "Return %s done\n", what)
		}
		a.audit(c, change{what: "return link " + l.Name + " as " + l.Was, err: err})
	}
	return errors.Join(failed...)
}

// clear clears after one container, under its lock where its bundle is there still.
func (a App) clear(o inspection.Orphan, warn func(error)) (reload bool, err error) {
	if o.Bundle != "" {
		switch lock, err := config.LockContainer(a.interrupts, o.Bundle, commandLockWait); {
		case err == nil:
			defer lock.Unlock()
		case !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	if s, err := container.ReadStart(o.ID); err == nil && s.Init.Lives() {
		return false, nil // it was started meanwhile
	}
	if err := a.interrupts.begin(); err != nil {
		return false, err
	}
	return inspection.Clear(context.WithoutCancel(a.interrupts), a.Generation, o.ID, o.Bundle, warn), nil
}
