package vm

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/integration/table"
)

var update = flag.Bool("update", false, "write what the scenario finds under cgroup v2 into README.md's table")

// scenarioLimit is three times what a run took beside other jobs, 400 s.
const scenarioLimit = 1200 * time.Second

// TestScenarioCgroupV2 runs the tests of package scenario in the machine, where
// cgroup v2 is alone, and compares README.md's table with what they find.
func TestScenarioCgroupV2(t *testing.T) {
	root, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dependOn(t, root)
	buildImage(t, root)
	share := t.TempDir()
	build(t, root, "build", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(share, "isulad-tools"), "./cmd/isulad-tools")
	disks, err := os.ReadFile("disks.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(share, "disks.sh"), disks, 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, root, "test", "-c", "-o", filepath.Join(share, "scenario.test"), "./integration/scenario")

	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "hack/vm/run"),
		"--cgroup", "v2", "--hot", "32M", "--hot", "32M", "--share", share, "--timeout", strconv.Itoa(int(scenarioLimit.Seconds())),
		"--env", "ISULAD_TOOLS_BIN=/opt/isulad-tools",
		"--", "sh", "-c", `modprobe -a fuse overlay && ./disks.sh && mkdir -p /opt && cp isulad-tools scenario.test /opt/ && `+
			// -test.outputdir: what is written elsewhere is lost with the sandbox.
			`exec /opt/scenario.test -test.v -test.run "$1" -test.outputdir=/share -columns=/share/columns.json`, "sh", os.Getenv("GUEST_RUN"))
	cmd.Stdout = t.Output()
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		t.Fatalf("scenario in the guest: %v", err)
	}
	if os.Getenv("GUEST_RUN") != "" {
		return
	}
	data, err := os.ReadFile(filepath.Join(share, "columns.json"))
	if err != nil {
		t.Fatal(err)
	}
	var found table.Results
	if err := json.Unmarshal(data, &found); err != nil {
		t.Fatal(err)
	}
	differ, err := table.Publish(root, found, *update)
	if err != nil {
		t.Fatal(err)
	}
	if len(differ) > 0 {
		t.Errorf("run go test ./integration/vm -update:\n%s", strings.Join(differ, "\n"))
	}
}
