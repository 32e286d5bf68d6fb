// Command install puts isulad-tools into place and takes it away again.
//
//	install [-destdir DIR] [-graph DIR] install BINARY
//	install [-destdir DIR] [-graph DIR] uninstall
//
// It keeps no list of what it did. A file is ours when it is a build of
// isulad-tools (Go stamps the main package's path into every binary) or the hook
// spec that we would write; anything else belongs to somebody and is kept.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"isula.org/isulad-tools/internal/terminal"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(terminal.NewWriter(os.Stderr), "install:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	flags := flag.NewFlagSet("install", flag.ContinueOnError)
	destdir := flags.String("destdir", "", "install below `DIR` instead of /")
	graph := flags.String("graph", "", "iSulad's root `DIR`; default: what its daemon.json says")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir := "/"
	if *destdir != "" {
		if dir, err = filepath.Abs(*destdir); err != nil {
			return err
		}
	}
	verb := flags.Arg(0)
	if !(verb == "install" && flags.NArg() == 2 || verb == "uninstall" && flags.NArg() == 1) {
		return errors.New("usage: install [-destdir DIR] [-graph DIR] install BINARY | uninstall")
	}
	t, err := openTree(dir, verb == "install")
	if err != nil {
		return err
	}
	defer t.close()
	out := terminal.NewWriter(os.Stdout) // what is half installed when nobody reads is worse than what is not told
	if verb == "install" {
		return install(t, *graph, flags.Arg(1), out)
	}
	return uninstall(t, *graph, out)
}
