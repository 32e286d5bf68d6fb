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
	if os.Getenv(probeVariable) != "" { // we are a container's init
		fmt.Fprintln(os.Stderr, "guest: probe:", probe())
		os.Exit(1)
	}
	if os.Getenv("ISULAD_VM") != "1" {
		fmt.Fprintln(os.Stderr, "guest: this is not the test machine: run `go test ./integration/vm`")
		os.Exit(1)
	}
	out, err := exec.Command(share+"/isulad-tools", "install").CombinedOutput()
	fmt.Printf("%s", out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest: install isulad-tools:", err)
		os.Exit(1)
	}
	if os.Getenv("GUEST_BOOT") != "systemd" { // it has a log daemon of its own
		if err := syslog.listen("/dev/log"); err != nil {
			fmt.Fprintln(os.Stderr, "guest:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if os.Getenv("GUEST_BOOT") == "1" {
		if err := leaveForSecondBoot(); err != nil {
			fmt.Fprintln(os.Stderr, "guest: leave for the second boot:", err)
			os.Exit(1)
		}
	}
	os.Exit(code)
}
