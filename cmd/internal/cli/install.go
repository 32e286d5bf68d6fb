package cli

import (
	"github.com/urfave/cli"

	"isula.org/isulad-tools/install"
)

// installCommands put the program itself into place.
func (a App) installCommands() []cli.Command {
	flags := []cli.Flag{
		cli.StringFlag{Name: "root", Usage: "the `DIR` that is the root of the system, instead of /"},
		cli.StringFlag{Name: "graph", EnvVar: graphFlag.EnvVar, Usage: "iSulad's root `DIR`; by default that of its configuration"},
	}
	options := func(c *cli.Context) install.Options {
		return install.Options{Root: c.String("root"), Graph: c.String("graph")}
	}
	return []cli.Command{
		{
			Name:  "install",
			Usage: "install this program as tool, hook and udev helper, with hook specs for iSulad, podman and CRI-O",
			Flags: flags,
			Action: func(c *cli.Context) error {
				if err := atMostArgs(c, 0); err != nil {
					return err
				}
				return install.Add(options(c), a.Stdout)
			},
		},
		{
			Name:  "uninstall",
			Usage: "remove the installed files, and restore the files that they replaced",
			Flags: flags,
			Action: func(c *cli.Context) error {
				if err := atMostArgs(c, 0); err != nil {
					return err
				}
				return install.Remove(options(c), a.Stdout)
			},
		},
	}
}
