package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli"
)

// Compat: missing-args-*. These run after urfave/cli has removed the options. Its quirks
// are v0.9's and are kept: the word after a boolean option moves with it, "--" ends the
// options.

// argv0 is the program as it was called.
func argv0() string { return os.Args[0] }

// usageError is a message about a command's arguments.
func usageError(c *cli.Context, format string, args ...any) error {
	return fmt.Errorf("%s: %q %s", argv0(), c.Command.Name, fmt.Sprintf(format, args...))
}

// atLeastArgs refuses fewer than n arguments.
func atLeastArgs(c *cli.Context, n int) error {
	if c.NArg() < n {
		return usageError(c, "requires a minimum of %d args", n)
	}
	return nil
}

// atMostArgs refuses arguments behind the first n.
func atMostArgs(c *cli.Context, n int) error {
	if c.NArg() > n {
		return usageError(c, "takes no further arguments: %s", strings.Join(c.Args()[n:], " "))
	}
	return nil
}

// oneContainer returns the only argument, a container as typed.
func oneContainer(c *cli.Context) (string, error) {
	switch c.NArg() {
	case 0:
		return "", usageError(c, "must accept a container-id")
	case 1:
		return c.Args().First(), nil
	}
	//lint:ignore ST1005 the wording of v0.9
	return "", errors.New("Don't put container-id in the middle of options")
}
