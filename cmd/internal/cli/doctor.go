package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/inspection"
	"isula.org/isulad-tools/internal/command"
)

func (a App) doctor(c *cli.Context) error {
	if err := noMore(c, 0); err != nil {
		return err
	}
	show, err := formatOf(c.String("format"), a.Stdout, func(f inspection.Fact) error {
		_, err := fmt.Fprintln(a.Stdout, command.Printable(f.String()))
		return err
	})
	if err != nil {
		a.complain("doctor", err)
		return notLooked
	}
	var host inspection.Host
	host.Containers, host.Unlisted = a.all(c)
	facts := host.Examine(a.interrupts)
	var code error
	for _, f := range facts {
		if f.State != inspection.OK {
			code = differs
		}
		if c.String("format") == "json" {
			continue
		}
		if err := show(f); err != nil {
			return err
		}
	}
	if c.String("format") == "json" {
		if err := printJSON(a.Stdout, facts, false); err != nil {
			return err
		}
	}
	return code
}

// repairOrphans removes what the host has of containers that are gone. Where not all
// containers can be found, nobody knows which those are.
func (a App) repairOrphans(c *cli.Context) error {
	if err := noMore(c, 0); err != nil {
		return err
	}
	known, err := a.all(c)
	if err != nil {
		return fmt.Errorf("repair --orphans: not all containers can be found: %w", err)
	}
	var failed []error
	reload := false
	for _, o := range inspection.Orphans(known) {
		left := strings.Join(o.Left, ", ")
		if c.Bool(dryRunFlag.Name) {
			fmt.Fprintf(a.Stdout, "would remove what container %s left: %s\n", o.ID, left)
			continue
		}
		var errs []error
		changed, err := a.clear(o, func(err error) { errs = append(errs, err) })
		reload = reload || changed
		if err = errors.Join(append(errs, err)...); err != nil {
			failed = append(failed, fmt.Errorf("remove what container %s left: %w", o.ID, err))
		} else {
			fmt.Fprintf(a.Stdout, "Remove what container %s left: %s done\n", o.ID, left)
		}
		a.audit(c, change{id: o.ID, name: o.ID, what: "remove leftovers: " + left, err: err})
	}
	if reload {
		if err := devices.ReloadRules(context.Background()); err != nil {
			a.warn("udev rules changed, but udevd was not told", err)
		}
	}
	return errors.Join(failed...)
}

// clear clears after one container, under its lock where its bundle is there still.
func (a App) clear(o inspection.Orphan, warn func(error)) (reload bool, err error) {
	if o.Bundle != "" {
		switch lock, err := config.LockContainer(a.interrupts, o.Bundle, lockWait); {
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
