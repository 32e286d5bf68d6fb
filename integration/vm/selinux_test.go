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

// selinuxLimit is three times what a run took on two cores with ten other jobs, 88 s;
// alone it takes 30.
const selinuxLimit = 270 * time.Second

// TestSELinux runs the tests of guest/selinux on a kernel that was started with
// SELinux; they load a policy, and enforce it.
func TestSELinux(t *testing.T) {
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dependOn(t, root)
	buildImage(t, root)
	share := t.TempDir()
	build(t, root, "build", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(share, "isulad-tools"), "./cmd/isulad-tools")
	build(t, root, "build", "-o", filepath.Join(share, "install"), "./hack/install")
	build(t, root, "test", "-c", "-tags", "vmguest", "-o", filepath.Join(share, "selinux.test"), "./integration/vm/guest/selinux")

	only := os.Getenv("GUEST_RUN")
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "hack/vm/run"),
		"--cgroup", "v1", "--append", "selinux=1 security=selinux", "--share", share, "--timeout", strconv.Itoa(int(selinuxLimit.Seconds())),
		"--", "sh", "-c", `cp selinux.test /run/ && exec /run/selinux.test -test.v -test.run "$1"`, "sh", only)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(t.Output(), &out)
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	err = cmd.Run()
	t.Logf("the machine ran for %.0f s of at most %.0f", time.Since(start).Seconds(), selinuxLimit.Seconds())
	if err != nil {
		t.Fatalf("tests in the guest: %v", err)
	}
	if only != "" {
		return
	}
	declared, err := os.ReadFile("guest/selinux/selinux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	want := len(regexp.MustCompile(`(?m)^func Test\w+\(t \*testing\.T\)`).FindAll(declared, -1))
	passed := len(regexp.MustCompile(`(?m)^--- PASS: `).FindAll(out.Bytes(), -1))
	if want == 0 || passed != want {
		t.Errorf("%d of %d tests passed in the guest", passed, want)
	}
}
