package cli

import (
	"fmt"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/inspection"
	"isula.org/isulad-tools/internal/command"
)

func (a App) who(c *cli.Context) error {
	if err := minimum(c, 1); err != nil {
		return err
	}
	if err := noMore(c, 1); err != nil {
		return err
	}
	show, err := formatOf(c.String("format"), a.Stdout, func(h inspection.Holder) error {
		_, err := fmt.Fprintln(a.Stdout, command.Printable(h.String()))
		return err
	})
	if err != nil {
		return err
	}
	thing, err := inspection.ThingOf(c.Args().First())
	if err != nil {
		return err
	}
	granted := inspection.AllGranted()
	list := []inspection.Holder{}
	json, failed := c.String("format") == "json", error(nil)
	err = a.each(c, func(found container.Container, name string, err error) error {
		if err == nil {
			var held []inspection.Holder
			held, err = thing.HeldBy(found, name, granted)
			list = append(list, held...)
		}
		if err != nil {
			a.complain(name, err)
			failed = exitCode(1)
		}
		for _, h := range list {
			if json {
				break
			}
			if err := show(h); err != nil {
				return err
			}
		}
		if !json {
			list = list[:0]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if json {
		if err := printJSON(a.Stdout, list, false); err != nil {
			return err
		}
	}
	return failed
}
