package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli"
)

// referenceCommands tell of the other commands: to a shell, and to man.
func (a App) referenceCommands() []cli.Command {
	return []cli.Command{
		{
			Name:      "completion",
			Usage:     "print a shell's completion script: commands, options, containers and their resources",
			ArgsUsage: "bash|zsh",
			Action:    a.printCompletion,
		},
		{
			Name:      "manual",
			Usage:     "print the source of a manual page, of a command or of all together",
			ArgsUsage: "[COMMAND]",
			Action: func(c *cli.Context) error {
				if err := atMostArgs(c, 1); err != nil {
					return err
				}
				if c.NArg() == 0 {
					fmt.Fprint(a.Stdout, toolPage(c.App, time.Now()))
					return nil
				}
				command := c.App.Command(c.Args().First())
				if command == nil || command.Hidden {
					return unknownSubcommand(c.Args().First())
				}
				fmt.Fprint(a.Stdout, commandPage(*command, time.Now()))
				return nil
			},
		},
		{
			Name: "complete", Usage: "print the completions of the last of these words", Hidden: true, SkipFlagParsing: true,
			Action: func(c *cli.Context) error {
				for _, word := range complete(c.App, c.Args()) {
					fmt.Fprintln(a.Stdout, word)
				}
				return nil
			},
		},
	}
}

func (a App) printCompletion(c *cli.Context) error {
	if c.NArg() != 1 {
		return usageError(c, "needs the name of the shell: bash or zsh")
	}
	script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion}[c.Args().First()]
	if !ok {
		return fmt.Errorf("no completion for %s: only for bash and zsh", c.Args().First())
	}
	fmt.Fprint(a.Stdout, strings.TrimPrefix(script, "\n"))
	return nil
}
