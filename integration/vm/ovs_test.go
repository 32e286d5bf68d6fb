package vm

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// ovsLimit is three times what a run took on two busy cores, 120 s.
const ovsLimit = 360 * time.Second

// TestOpenVSwitch runs the tests of guest/ovs, where Open vSwitch has the kernel
// for its datapath, as on a host.
func TestOpenVSwitch(t *testing.T) {
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dependOn(t, root)
	buildImage(t, root)
	share := t.TempDir()
	build(t, root, "build", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(share, "isulad-tools"), "./cmd/isulad-tools")
	build(t, root, "build", "-o", filepath.Join(share, "install"), "./hack/install")
	build(t, root, "test", "-c", "-tags", "vmguest", "-o", filepath.Join(share, "ovs.test"), "./integration/vm/guest/ovs")

	only := os.Getenv("GUEST_RUN")
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "hack/vm/run"),
		"--cgroup", "v1", "--share", share, "--timeout", strconv.Itoa(int(ovsLimit.Seconds())),
		"--", "sh", "-c", `cp ovs.test /run/ && exec /run/ovs.test -test.v -test.run "$1"`, "sh", only)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(t.Output(), &out)
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	err = cmd.Run()
	t.Logf("the machine ran for %.0f s of at most %.0f", time.Since(start).Seconds(), ovsLimit.Seconds())
	if err != nil {
		t.Fatalf("tests in the guest: %v", err)
	}
	if only != "" {
		return
	}
	declared, err := os.ReadFile("guest/ovs/ovs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	want := len(regexp.MustCompile(`(?m)^func Test\w+\(t \*testing\.T\)`).FindAll(declared, -1))
	passed := len(regexp.MustCompile(`(?m)^--- PASS: `).FindAll(out.Bytes(), -1))
	if want == 0 || passed != want {
		t.Errorf("%d of %d tests passed in the guest", passed, want)
	}
}
