//go:build linux && amd64

package fault

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// holderName as argv[0] makes the test binary the init of a container.
const holderName = "holder"

// The first thread cannot end: it enters no container's namespace.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if os.Args[0] == holderName {
		if err := holderMain(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	sandbox.Main(m)
}
