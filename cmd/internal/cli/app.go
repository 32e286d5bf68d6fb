// Package cli is the command line: flags, arguments, and all wording that a
// person or a script sees. What it does is done by the packages below it.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/internal/place"
)

// App is the command line tool of one generation.
type App struct {
	Generation     place.Generation
	Name, Version  string
	Stdout, Stderr io.Writer

	// Hook runs a stage of the OCI hook and UdevEvent the udev helper; both
	// return the exit code.
	Hook      func(stage string, args []string) int
	UdevEvent func(args []string) int
}

// exitCode is how a personality that is run as a subcommand ends.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Run does what argv asks for and returns the exit code. A failure is its
// message on standard error and exit code 1.
func (a App) Run(argv []string) int {
	app := cli.NewApp()
	app.Name, app.HelpName, app.Version = a.Name, a.Name, a.Version
	app.Usage = "give running and starting containers kernel modules, devices and paths of the host"
	app.Writer, app.ErrWriter = a.Stdout, a.Stderr
	app.Flags = globalFlags
	app.Commands = slices.Concat(a.commands(), a.moduleCommands(), a.personalities())
	app.ExitErrHandler = func(*cli.Context, error) {} // only main exits
	app.Action = func(c *cli.Context) error {
		if c.NArg() > 0 {
			return unknownSubcommand(c.Args().First())
		}
		return cli.ShowAppHelp(c)
	}
	var notFound error
	app.CommandNotFound = func(_ *cli.Context, name string) { notFound = unknownSubcommand(name) }

	err := errors.Join(app.Run(argv), notFound)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(a.Stderr, err)
	return 1
}

func unknownSubcommand(name string) error { return fmt.Errorf("unknown subcommand %s", name) }

var globalFlags = []cli.Flag{
	cli.StringFlag{Name: "engine", Value: "isula", Usage: "who knows the containers: isula, runc, or runc:ROOT with runc's --root"},
}

// personalities are the hook's stages and the udev helper, as subcommands.
func (a App) personalities() []cli.Command {
	var commands []cli.Command
	for _, stage := range []string{"prestart", "poststart", "poststop"} {
		commands = append(commands, cli.Command{
			Name:            stage,
			Usage:           "run the OCI hook of this stage: the container's state comes on standard input",
			Category:        "hooks",
			SkipFlagParsing: true,
			Action:          func(c *cli.Context) error { return exit(a.Hook(stage, c.Args())) },
		})
	}
	return append(commands, cli.Command{
		Name:            "udev-event",
		Usage:           "serve an event of udev: ACTION CONTAINER PARTITION PATH DISK",
		Category:        "hooks",
		SkipFlagParsing: true,
		Action:          func(c *cli.Context) error { return exit(a.UdevEvent(c.Args())) },
	})
}

func exit(code int) error {
	if code == 0 {
		return nil
	}
	return exitCode(code)
}

// argv0 is the program as it was called, in the messages about arguments.
func argv0() string { return os.Args[0] }
