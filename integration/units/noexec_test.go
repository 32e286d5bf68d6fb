package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/integration/sandbox"
)

// All that a command has to know of a container of iSulad's it reads.
func TestNoCommandExecutesAnotherProgram(t *testing.T) {
	graph := filepath.Join(t.TempDir(), "graph")
	must(t, os.CopyFS(graph, os.DirFS(recordedGraph)))
	write(t, filepath.Join(graph, "engines/runc/e4bba75bcbd4afc439294b467bcbd1c2c182d537ba8455a30fb104ce0cb13fe5", container.SpecName), "{}")
	fakeProgram(t, "isula", "exit 1")
	data := hostDir(t)
	bridges(t, "noexec0")
	for _, command := range [][]string{
		{"add-device", "created", "/dev/fuse:/dev/x"},
		{"list-device", "created"},
		{"remove-device", "created", "/dev/fuse:/dev/x"},
		{"add-path", "created", data + ":/mnt/x"},
		{"list-path", "e4bba75bcbd4"},
		{"remove-path", "/created", data + ":/mnt/x"},
		{"add-nic", "--type", "veth", "--bridge", "noexec0", "--name", "noexec1:eth0", "--ip", "10.0.0.2/24", "created"},
		{"update-nic", "--name", "eth0", "--ip", "10.0.0.3/24", "created"},
		{"list-nic", "created"},
		{"add-route", "created", `[{"dest":"10.1.0.0/16","gw":"10.0.0.1"}]`},
		{"list-route", "created"},
		{"remove-route", "created", `[{"dest":"10.1.0.0/16","gw":"10.0.0.1"}]`},
		{"remove-nic", "--name", "eth0", "created"},
		{"add-module", "created", "loop"},
		{"list-module", "created"},
		{"check-module", "loop"},
		{"remove-module", "created", "loop"},
	} {
		t.Run(command[0]+" "+command[1], func(t *testing.T) {
			trace := filepath.Join(t.TempDir(), "trace")
			args := append([]string{"-f", "-o", trace, "-e", "trace=execve,execveat", sandbox.Binary(t), "--graph", graph}, command...)
			out, err := exec.Command("strace", args...).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			calls := strings.Count(read(t, trace), "execve")
			if calls != 1 { // of the program itself
				t.Errorf("%d programs were executed besides:\n%s", calls-1, read(t, trace))
			}
		})
	}
}
