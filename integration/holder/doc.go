// Package holder makes light containers that stand where a prestart hook finds
// them, and stay there for as long as a test needs: the namespaces, mounts and
// cgroups are made, the hook has not run, nothing of the container has been
// executed. Two runtimes leave that moment differently, and both are here:
//
//   - unpivoted, as runc: the mounts are made below the root file system's path,
//     the host's other mounts are still visible;
//   - pivoted, as lcr of iSulad 2.1: the root has been changed and the host's is
//     gone; the limits are set.
//
// Afterwards commands can be run inside, as the container's root with the
// capabilities of a system container. The hook is called as lcr calls it.
//
// What runs inside is the test binary itself, so [Main] comes first in TestMain.
package holder

import (
	"fmt"
	"os"
)

// The names under which the test binary is executed for one of its other roles.
const (
	initName    = "isulad-test-init"      // is the container
	asKernelCmd = "isulad-test-as-kernel" // executes a program under a system call filter
)

// Main runs one of the package's other roles and exits, or returns when this
// process has none.
func Main() {
	var err error
	switch os.Args[0] {
	case initName:
		err = initMain(os.Args[1:])
	case asKernelCmd:
		err = asKernelMain(os.Args[1:])
	default:
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}
