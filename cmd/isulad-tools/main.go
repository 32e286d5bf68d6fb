// Command isulad-tools is one program under six names: the command line tool,
// the OCI hook and the udev helper of two generations. The base name of
// argv[0], and where that says nothing the executable's, picks which.
package main

import (
	"os"
	"path/filepath"

	"isula.org/isulad-tools/cmd/internal/cli"
	"isula.org/isulad-tools/hooks"
	"isula.org/isulad-tools/internal/goroutine"
	"isula.org/isulad-tools/internal/place"
	_ "isula.org/isulad-tools/internal/startup"
	"isula.org/isulad-tools/internal/terminal"
	"isula.org/isulad-tools/udev"
)

// version is set by the build.
var version = "devel"

func main() {
	// What may never return is left to a goroutine of its own (internal/deadline):
	// goroutines that change places with this one wake a thread each time.
	code := make(chan int)
	go func() {
		goroutine.ReserveStack()
		code <- run(os.Args)
	}()
	os.Exit(<-code)
}

func run(argv []string) int {
	if len(argv) == 0 {
		argv = []string{""}
	}
	g, role, name := programFor(argv[0])
	stdout, stderr := terminal.NewWriter(os.Stdout), terminal.NewWriter(os.Stderr)
	hook := func() *hooks.Hook {
		return &hooks.Hook{Generation: g, Version: version, Stdin: os.Stdin, Stdout: stdout, Stderr: stderr}
	}
	switch role {
	case hookRole:
		return hook().Run(name, argv[1:])
	case helperRole:
		return udev.Helper(g, name, argv[1:], stderr)
	}
	app := cli.App{
		Generation: g, Name: name, Version: version,
		Stdout: stdout, Stderr: stderr,
		Hook: func(stage string, args []string) int {
			return hook().Run(name+" "+stage, append([]string{"--state", stage}, args...))
		},
		UdevEvent: func(args []string) int { return udev.Helper(g, name+" udev-event", args, stderr) },
	}
	return app.Run(argv)
}

type role int

const (
	toolRole role = iota
	hookRole
	helperRole
)

// programFor returns the program's role, generation and name. A runtime may pass any
// argv[0], also an empty one.
func programFor(argv0 string) (place.Generation, role, string) {
	exe, _ := os.Executable()
	for _, path := range []string{argv0, exe} {
		name := filepath.Base(path)
		for _, g := range place.Generations {
			switch name {
			case g.Tool:
				return g, toolRole, name
			case g.Hook:
				return g, hookRole, name
			case g.Helper:
				return g, helperRole, name
			}
		}
	}
	return place.Isulad, toolRole, place.Isulad.Tool
}
