package bench

import (
	"fmt"
	"os"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// holderName as argv[0] makes the test binary the init of a container.
const holderName = "holder"

func TestMain(m *testing.M) {
	if os.Args[0] == holderName {
		if err := holderMain(os.Args[1], os.Args[2:]...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	sandbox.Main(m)
}
