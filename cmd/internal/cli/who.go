package cli

import (
	"cmp"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/inspection"
)

func (a App) who(c *cli.Context) error {
	if err := minimum(c, 1); err != nil {
		return err
	}
	if err := noMore(c, 1); err != nil {
		return err
	}
	list, err := newListing(c.String("format"), a.Stdout, lines[inspection.Holder](a.Stdout))
	if err != nil {
		return err
	}
	thing, err := inspection.ThingOf(c.Args().First())
	if err != nil {
		return err
	}
	var failed error
	granted, err := inspection.AllGranted()
	if err != nil {
		a.complain("what containers were granted", err)
		failed = exitCode(1)
	}
	err = a.each(c, func(found container.Container, name string, err error) error {
		var held []inspection.Holder
		if err == nil {
			held, err = thing.HeldBy(found, name, granted)
		}
		if err != nil {
			a.complain(name, err)
			failed = exitCode(1)
		}
		return list.add(held...)
	})
	if err == nil {
		err = list.end()
	}
	return cmp.Or(err, failed)
}
