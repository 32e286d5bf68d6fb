// Package golden replays recorded runs of the tool's predecessor, v0.9, under
// the names of both generations, and compares exit status, the container's
// resource file and every effect on container and host. testdata holds the
// recordings, COMPAT.md the differences that are wanted.
//
// The layers: a case (case_test.go) meets a world (world_test.go), is run
// there (run_test.go) between two looks at it (observe_test.go), and what was
// seen is compared (compare_test.go) with the recording or, for a case of
// COMPAT.md, with what is expected instead (compat_test.go, expect_test.go).
// A new group of cases is one file in testdata and its kind in runners.
package golden

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/integration/sandbox"
)

// containerID and containerName are those of the recordings.
const (
	containerID   = "a1b2c3d4e5f60718293a4b5c6d7e8f90112233445566778899aabbccddeeff00"
	containerName = "gold"
)

// names is one generation: the words in a recording that it replaces.
type names struct{ tool, hook string }

var (
	recordedNames = names{"syscontainer-tools", "syscontainer-hooks"}
	generations   = []names{recordedNames, {"isulad-tools", "isulad-hooks"}}
)

// runDir is where this generation keeps its state.
func (n names) runDir() string { return "/run/" + n.tool }

// rules is this generation's generated udev rules file.
func (n names) rules() string { return "/etc/udev/rules.d/99-" + n.tool + ".rules" }

// testCase is one recorded run.
type testCase struct {
	Name  string            `json:"name"`
	Kind  string            `json:"kind"` // hook-runc, hook-direct, cli
	Argv  []string          `json:"argv"`
	Stdin string            `json:"stdin"`
	Env   map[string]string `json:"env"`
	Setup setup             `json:"setup"`

	Stdout          string          `json:"stdout"`
	Stderr          string          `json:"stderr"`
	Exit            int             `json:"exit"`
	DeviceHookAfter json.RawMessage `json:"device_hook_after"`
	Effects         effects         `json:"effects"`
	SuspectedBug    string          `json:"suspected_bug"`

	// The recording also says these, which follow from the rest.
	Group             string `json:"group"`
	DeviceHookChanged bool   `json:"device_hook_changed"`

	names names
	// local puts names and numbers of this world into words of the recording.
	local func(string) string
}

// setup is what the recorder prepared.
type setup struct {
	Container    string          `json:"container"` // running, stopped, or made by the case
	Graph        string          `json:"graph"`
	CgroupParent string          `json:"cgroup_parent"`
	DeviceHook   json.RawMessage `json:"device_hook_before"`
	// SpecExtras are merged into the container's specification.
	SpecExtras map[string]any `json:"spec_extras"`
	// SpecOverrides are merged into the config.json that the hook reads, which
	// is not the one that runc reads; "MISSING" stands for no such file.
	SpecOverrides any        `json:"hook_spec_overrides"`
	Shell         []string   `json:"shell"`
	PreCommands   [][]string `json:"pre_commands"`
	Note          string     `json:"note"`
}

// dir is the container's state directory, which is its bundle.
func (c *testCase) dir() string {
	return filepath.Join(c.Setup.Graph, "engines/lcr", containerID)
}

func (c *testCase) cgroup() string { return filepath.Join(c.Setup.CgroupParent, containerID) }

// userNamespace tells whether the container has one of its own.
func (c *testCase) userNamespace() bool {
	linux, _ := c.Setup.SpecExtras["linux"].(map[string]any)
	list, _ := linux["namespaces"].([]any)
	return slices.ContainsFunc(list, func(ns any) bool {
		n, _ := ns.(map[string]any)
		return n["type"] == "user"
	})
}

// sysctls are the kernel parameters that only the hook reads of.
func (c *testCase) sysctls() map[string]any {
	spec, _ := c.Setup.SpecOverrides.(map[string]any)
	linux, _ := spec["linux"].(map[string]any)
	values, _ := linux["sysctl"].(map[string]any)
	return values
}

// loadCases reads a group under the given names, with the numbers of our loop
// devices. A field that this program does not know is an error: nothing recorded
// goes unnoticed.
func loadCases(group string, n names, loops loops) ([]*testCase, error) {
	data, err := os.ReadFile(filepath.Join("testdata", group+".jsonl"))
	if err != nil {
		return nil, err
	}
	replace := strings.NewReplacer(
		recordedNames.tool, n.tool,
		recordedNames.hook, n.hook,
		"/origgold", sandbox.CgroupParent()+"/origgold",
	)
	var cases []*testCase
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		asDisk := strings.Contains(lines.Text(), lsblkSaysDisk)
		c := &testCase{names: n, local: func(text string) string { return loops.localise(replace.Replace(text), asDisk) }}
		d := json.NewDecoder(strings.NewReader(c.local(lines.Text())))
		d.DisallowUnknownFields()
		if err := d.Decode(c); err != nil {
			return nil, fmt.Errorf("%s: case %d: %w", group, len(cases)+1, err)
		}
		cases = append(cases, c)
	}
	return cases, lines.Err()
}

// rawResourceFiles are the cases whose device_hook.json the recording's JSON
// cannot tell from no file at all.
var rawResourceFiles = map[string]string{
	"hook-prestart-null-config":       "null",
	"list-path-config-null":           "null",
	"empty-config-file":               "",
	"hook-prestart-empty-config-file": "",
}

// resourceFile is the content of device_hook.json before the run, false for
// no file.
func (c *testCase) resourceFile() (string, bool) {
	if text, ok := rawResourceFiles[c.Name]; ok {
		return text, true
	}
	var text string
	switch {
	case c.Name == "hook-poststop-corrupt-device-hook":
		return "", false // the shell commands break it, after the start
	case c.Kind == "cli" && len(c.Setup.PreCommands) > 0:
		return "", false // these commands make it, see runCLI
	case c.Name == "hook-poststop-config-lost-deletes-host-data":
		// What its add-path recorded; the shell commands then lose the file.
		return `{"bindToAdd":["/goldhost/newdir:/x:rw,rslave"]}`, true
	case len(c.Setup.DeviceHook) == 0 || string(c.Setup.DeviceHook) == "null":
		return "", false
	case json.Unmarshal(c.Setup.DeviceHook, &text) == nil:
		return text, true // not JSON, recorded as a string
	}
	return string(c.Setup.DeviceHook), true
}

// resources are what device_hook.json records before the run, as far as it
// can be read.
type resources struct {
	Binds   []string `json:"bindToAdd"`
	Devices []struct {
		Type, PathInContainer, CgroupPermissions string
		Major, Minor                             int
	} `json:"deviceToAdd"`
}

func (c *testCase) resources() resources { return readResources(c.Setup.DeviceHook) }

func readResources(data json.RawMessage) resources {
	var r resources
	if json.Unmarshal(data, &r) != nil {
		return resources{}
	}
	return r
}
