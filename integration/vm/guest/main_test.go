//go:build vmguest

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// share is the host's folder with the binary under test and its installer.
const share = "/share"

func TestMain(m *testing.M) {
	if os.Getenv("ISULAD_VM") != "1" {
		fmt.Fprintln(os.Stderr, "guest: this is not the test machine: run `go test ./integration/vm`")
		os.Exit(1)
	}
	out, err := exec.Command(share+"/install", "install", share+"/isulad-tools").CombinedOutput()
	fmt.Printf("%s", out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest: install isulad-tools:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
