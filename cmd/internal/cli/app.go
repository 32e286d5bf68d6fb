// Package cli is the command line: flags, arguments, and all wording that a
// person or a script sees. What it does is done by the packages below it.
package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"

	"isula.org/isulad-tools/container/engines"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/logging"
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

	log        *logging.Log
	interrupts *interrupts
}

// exitCode is how a hook or the udev helper that is run as a subcommand ends.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Run does what argv asks for and returns the exit code. A failure is its
// message on standard error and in the log, and exit code 1.
func (a App) Run(argv []string) int {
	a.log, a.interrupts = new(logging.Log), new(interrupts)
	// Until the options are read; nothing can be wrong with the defaults.
	_ = a.openLog(logging.Options{File: logging.DefaultFile, Level: logging.DefaultLevel, Format: logging.DefaultFormat})
	app := cli.NewApp()
	app.Name, app.HelpName, app.Version = a.Name, a.Name, a.Version
	app.Usage = "give running and starting containers kernel modules, devices, paths and network interfaces of the host"
	app.Writer, app.ErrWriter = a.Stdout, a.Stderr
	app.Flags = globalFlags
	app.Commands = ofBundles(slices.Concat(a.deviceCommands(), a.pathCommands(), a.commands(), a.nicCommands(), a.routeCommands(), a.moduleCommands(), a.inspectCommands(), a.relabelCommands(), a.installCommands(), a.hookCommands(), a.referenceCommands()))
	describe(app, argv)
	app.Before = a.readGlobals
	app.ExitErrHandler = func(*cli.Context, error) {} // only main exits
	app.Action = func(c *cli.Context) error {
		if c.NArg() > 0 {
			return unknownSubcommand(c.Args().First())
		}
		return cli.ShowAppHelp(c)
	}
	var notFound error
	app.CommandNotFound = func(_ *cli.Context, name string) { notFound = unknownSubcommand(name) }

	err := withHint(app, argv, errors.Join(app.Run(argv), notFound))
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(a.Stderr, err)
	a.log.Error(command.OneLine(err.Error()))
	return 1
}

// ofBundles lets each command that is about a container find that by its bundle.
func ofBundles(commands []cli.Command) []cli.Command {
	for i, c := range commands {
		if strings.Contains(c.ArgsUsage, "<container>") {
			commands[i].Flags = append(c.Flags, bundleFlag)
		}
	}
	return commands
}

// readGlobals refuses bad global options before anything is done.
func (a App) readGlobals(c *cli.Context) error {
	o := logging.Options{
		File: c.String("log"), Level: c.String("log-level"), Format: c.String("log-format"), Syslog: c.String("syslog-service"),
	}
	err := a.openLog(o)
	if c.Bool("debug") {
		a.log.SetLevel(logrus.DebugLevel)
	}
	_, badEngine := engines.New(c.String(engineFlag.Name), c.String(graphFlag.Name))
	return errors.Join(err, badEngine)
}

// openLog makes the log that all commands share.
func (a App) openLog(o logging.Options) error {
	log, err := logging.Tool(a.Generation.Tool, o, a.Stdout, a.Stderr)
	*a.log = *log
	return err
}

func unknownSubcommand(name string) error { return fmt.Errorf("unknown subcommand %s", name) }

var globalFlags = []cli.Flag{
	cli.StringFlag{Name: "log", Value: logging.DefaultFile, Usage: "append the log to this `FILE`; . stands for standard output, \"\" for standard error"},
	cli.StringFlag{Name: "log-level", Value: logging.DefaultLevel, Usage: "log entries of this `LEVEL` and above: debug, info, warn, error, fatal or panic"},
	cli.BoolFlag{Name: "debug", Usage: "the same as --log-level debug"},
	cli.StringFlag{Name: "log-format", Value: logging.DefaultFormat, Usage: "write the log in this `FORMAT`: text or json"},
	cli.StringFlag{Name: "syslog-service", Value: logging.DefaultSyslog, Usage: "log to the syslog at this `ADDRESS`, too: unix://PATH, udp://HOST:PORT or tcp://HOST:PORT"},
	engineFlag, graphFlag,
}

var (
	engineFlag = cli.StringFlag{Name: "engine", Value: engines.Any, Usage: "container `ENGINE` to query: isula, podman, podman:GRAPHROOT, runc, runc:ROOT (runc's --root), crun, or any: the first that has the container"}
	graphFlag  = cli.StringFlag{Name: "graph", EnvVar: "ISULAD_GRAPH", Usage: "iSulad's root `DIR`; by default that of its configuration"}
)

// hookCommands are the hook's stages and the udev helper, as subcommands.
func (a App) hookCommands() []cli.Command {
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
		Usage:           "serve an event of udev: ACTION CONTAINER DEVICE PATH DISK",
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
