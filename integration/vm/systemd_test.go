package vm

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// systemdBoot is how the tests begin that run where systemd is PID 1, with
// cgroup v2 alone, as on today's hosts.
const systemdBoot = "TestSystemd"

// systemdLimit is three times what a run took beside other jobs, 300 s.
const systemdLimit = 900 * time.Second

func TestSystemdIsPID1(t *testing.T) {
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dependOn(t, root)
	buildImage(t, root)
	share := t.TempDir()
	buildGuest(t, root, share)

	only := os.Getenv("GUEST_RUN")
	if only == "" {
		only = "^" + systemdBoot
	}
	machine := []string{
		"--timeout", strconv.Itoa(int(systemdLimit.Seconds())),
		"--systemd", "--cgroup", "v2", "--hot", "64M", "--hot", "64M",
		// As a unit of their own, as daemons run.
		"--env", "AS=systemd-run --quiet --wait --pipe --collect --same-dir --setenv=ISULAD_VM --setenv=GUEST_BOOT --setenv=HOME",
	}
	out := boot(t, root, share, "systemd", machine, "-test.run", only)
	if os.Getenv("GUEST_RUN") == "" {
		requireTests(t, out, func(name string) bool { return strings.HasPrefix(name, systemdBoot) })
	}
}

// buildGuest puts into the shared folder what every boot of package guest wants.
func buildGuest(t *testing.T, root, share string) {
	t.Helper()
	build(t, root, "build", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(share, "isulad-tools"), "./cmd/isulad-tools")
	build(t, root, "build", "-o", filepath.Join(share, "install"), "./hack/install")
	build(t, root, "test", "-c", "-tags", "vmguest", "-o", filepath.Join(share, "guest.test"), "./integration/vm/guest")
}
