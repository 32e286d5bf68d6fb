package cli

import (
	"cmp"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/inspection"
)

func (a App) listHolders(c *cli.Context) error {
	if err := atLeastArgs(c, 1); err != nil {
		return err
	}
	if err := atMostArgs(c, 1); err != nil {
		return err
	}
	list, err := newListing(c.String("format"), a.Stdout, lines[inspection.Holder](a.Stdout))
	if err != nil {
		return err
	}
	thing, err := inspection.ParseHostResource(c.Args().First())
	if err != nil {
		return err
	}
	var failed error
	granted, err := inspection.AllGranted()
	if err != nil {
		a.warnContainer("what containers were granted", err)
		failed = exitCode(1)
	}
	err = a.each(c, func(found container.Container, name string, err error) error {
		var held []inspection.Holder
		if err == nil {
			held, err = thing.HeldBy(found, name, granted)
		}
		if err != nil {
			a.warnContainer(name, err)
			failed = exitCode(1)
		}
		return list.add(held...)
	})
	if err == nil {
		err = list.end()
	}
	return cmp.Or(err, failed)
}
