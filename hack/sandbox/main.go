// Command sandbox runs a command in a throw-away world: in namespaces of its own,
// on a layer over this machine's files, without what this machine has of
// isulad-tools and iSulad.
//
//	go run ./hack/sandbox COMMAND [ARG...]
package main

import (
	"fmt"
	"os"

	"isula.org/isulad-tools/integration/sandbox"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: sandbox COMMAND [ARG...]")
		os.Exit(2)
	}
	sandbox.Execute(os.Args[1:])
}
