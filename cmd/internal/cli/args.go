package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli"
)

// Compat: missing-args-*. The options are out of the way when these look; which
// words they took with them is the library's doing (a word after a boolean option
// moves with it, "--" ends the options), as it was.

// argv0 is the program as it was called.
func argv0() string { return os.Args[0] }

// usageError is a message about a command's arguments.
func usageError(c *cli.Context, format string, args ...any) error {
	return fmt.Errorf("%s: %q %s", argv0(), c.Command.Name, fmt.Sprintf(format, args...))
}

// minimum refuses fewer than n arguments.
func minimum(c *cli.Context, n int) error {
	if c.NArg() < n {
		return usageError(c, "requires a minimum of %d args", n)
	}
	return nil
}

// noMore refuses arguments behind the first n.
func noMore(c *cli.Context, n int) error {
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
