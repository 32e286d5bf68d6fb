package vm

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/integration/table"
)

var update = flag.Bool("update", false, "write what the scenario finds under cgroup v2 into the table of docs/compatibility.md and its summary in README.md")

// emulated are the tests of package scenario that want what only this machine has:
// the I/O controller of cgroup v2, disks of every kind, an older kernel's verifier
// of device programs.
var emulated = []string{
	"TestScenario", "TestBlockFactsAreThoseOfLsblk", "TestDeviceProgram", "TestAContainerMayHaveManyDevices",
	"TestCommandsExecuteNothingElse",
}

// scenarioCgroupV2 runs them where cgroup v2 is alone, and compares the
// table of docs/compatibility.md with what they find.
func scenarioCgroupV2(t *testing.T) {
	dir := share(t, "scenario")
	disks, err := os.ReadFile("disks.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "disks.sh"), disks, 0o755); err != nil {
		t.Fatal(err)
	}
	m := machine{
		name: "scenario", limit: 1200 * time.Second, sources: "../scenario/*_test.go",
		options: []string{"--cgroup", "v2", "--hot", "32M", "--hot", "32M", "--env", "ISULAD_TOOLS_BIN=/opt/isulad-tools"},
		script: `modprobe -a fuse overlay && ./disks.sh && mkdir -p /opt && cp isulad-tools scenario.test /opt/ && ` +
			`exec /opt/scenario.test -test.v "$@"`,
		// What is written elsewhere is lost with the sandbox.
		flags:  []string{"-test.outputdir=/share", "-columns=/share/columns.json"},
		wanted: func(test string) bool { return slices.Contains(emulated, test) },
	}
	m.boot(t, dir)
	if only != "" {
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, "columns.json"))
	if err != nil {
		t.Fatal(err)
	}
	var found table.Results
	if err := json.Unmarshal(data, &found); err != nil {
		t.Fatal(err)
	}
	root, err := sandbox.Module()
	if err != nil {
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
