package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/process"
)

const runcRoot = "/run/runc" // where --engine runc looks

// The commands in a container with so many entries before, of which they leave
// one more.
const few, many = 1, 100

// commands is what a person waits for, against an empty program.
var commands = group{
	name:   "commands, --engine runc",
	rounds: 150,
	subjects: []subject{
		{empty, warm(func(w *world) (sample, error) { return w.program("empty", "prestart").run() })},
		{listing(few), func(w *world) (sample, error) { return w.lists(few) }},
		{listing(many), func(w *world) (sample, error) { return w.lists(many) }},
		{inspecting, inspects},
		{adding("device", few), func(w *world) (sample, error) { return w.adds(few, charDevices, addDevice) }},
		{adding("device", many), func(w *world) (sample, error) { return w.adds(many, charDevices, addDevice) }},
		{adding("path", few), func(w *world) (sample, error) { return w.adds(few, binds, addPath) }},
		{adding("path", many), func(w *world) (sample, error) { return w.adds(many, binds, addPath) }},
	},
	figures: []figure{
		overEmpty(listing(few)), overEmpty(listing(many)), overEmpty(inspecting).atMost(3),
		overEmpty(adding("device", few)), overEmpty(adding("device", many)),
		overEmpty(adding("path", few)), overEmpty(adding("path", many)),
	},
}

func listing(n int) string { return fmt.Sprintf("list-device, %d", n) }

func adding(what string, n int) string { return fmt.Sprintf("add-%s, to make it %d", what, n) }

func overEmpty(name string) figure {
	return figure{name + " / empty", func(r round) float64 { return r.wall(name) / r.wall(empty) }, "", 4}
}

// tool is a command of the command line tool, which begins what it prints with
// says. runc's state of the container is there.
func (w *world) tool(says string, args ...string) (invocation, error) {
	init, err := process.ByPID(w.PID)
	if err != nil {
		return invocation{}, err
	}
	state, err := json.Marshal(map[string]any{
		"id": id, "init_process_pid": init.PID, "init_process_start": init.Start,
		"config": map[string]any{"labels": []string{"bundle=" + bundle}},
	})
	if err != nil {
		return invocation{}, err
	}
	if err := os.MkdirAll(filepath.Join(runcRoot, id), 0o700); err != nil {
		return invocation{}, err
	}
	return invocation{
		path: filepath.Join(bin, "isulad-hooks"), args: append([]string{"isulad-tools", "--engine", "runc"}, args...), dir: "/", says: says,
	}, os.WriteFile(filepath.Join(runcRoot, id, "state.json"), state, 0o600)
}

// inspecting looks at a container with a device and a path.
const inspecting = "inspect, a device and a path"

func inspects(w *world) (sample, error) {
	if err := errors.Join(charDevices.prepare(w, few), binds.prepare(w, few)); err != nil {
		return sample{}, err
	}
	records := charDevices.records(w, few)
	maps.Copy(records, binds.records(w, few))
	return w.started(records, func(hook invocation) (sample, error) {
		if s, err := hook.run(); err != nil {
			return s, err
		}
		look, err := w.tool("container  ", "inspect", id)
		if err != nil {
			return sample{}, err
		}
		return look.run()
	})
}

func (w *world) lists(n int) (sample, error) {
	if err := charDevices.prepare(w, n); err != nil {
		return sample{}, err
	}
	return w.started(charDevices.records(w, n), func(hook invocation) (sample, error) {
		if s, err := hook.run(); err != nil {
			return s, err
		}
		list, err := w.tool(`[{"Type":"c",`, "list-device", id)
		if err != nil {
			return sample{}, err
		}
		return list.run()
	})
}

// command is the arguments that add the i-th of something, and what is said.
type command func(i int) (args []string, says string)

func addDevice(i int) ([]string, string) {
	path := charDevice(nil, i).path()
	return []string{"add-device", id, path + ":" + path + ":rw"}, "Add device (" + path + ")"
}

func addPath(i int) ([]string, string) {
	return []string{"add-path", id, bindSource(i) + ":" + bindTarget(i)}, "Add path (" + bindSource(i) + ")"
}

// adds has a command add the n-th record of a kind to a running container.
func (w *world) adds(n int, k kind, add command) (sample, error) {
	if err := syslog(); err != nil {
		return sample{}, err
	}
	if err := k.prepare(w, n); err != nil {
		return sample{}, err
	}
	return w.started(k.records(w, n-1), func(hook invocation) (sample, error) {
		if s, err := hook.run(); err != nil {
			return s, err
		}
		args, says := add(n - 1)
		tool, err := w.tool(says, args...)
		if err != nil {
			return sample{}, err
		}
		s, err := tool.run()
		if err != nil {
			return s, err
		}
		return s, k.check(w, n)
	})
}

const (
	rulesDir  = "/etc/udev/rules.d"
	rulesFile = rulesDir + "/99-isulad-tools.rules"

	noRules   = "add-device of a disk, no other rule"
	tenK      = "add-device of a disk, 10,000 rules"
	startNone = "prestart, nothing recorded, no rule"
	startTenK = "prestart, nothing recorded, 10,000 rules"
	ruleCount = 10000
)

// udevRules is what a file that holds the rules of many containers costs one.
var udevRules = group{
	name:   "udev rules",
	rounds: 100,
	subjects: []subject{
		{noRules, func(w *world) (sample, error) { return w.addsDisk(0) }},
		{tenK, func(w *world) (sample, error) { return w.addsDisk(ruleCount) }},
		{startNone, func(w *world) (sample, error) { return w.startsAmong(0) }},
		{startTenK, func(w *world) (sample, error) { return w.startsAmong(ruleCount) }},
	},
	figures: []figure{
		{"add-device, 10,000 / none", func(r round) float64 { return r.wall(tenK) / r.wall(noRules) }, "", 3},
		{"prestart, 10,000 / none", func(r round) float64 { return r.wall(startTenK) / r.wall(startNone) }, "", 3},
	},
}

// otherRules makes the file of n rules of other containers.
func otherRules(n int) error {
	var text strings.Builder
	text.WriteString("## This File is auto-generated by isulad-tools.\n## DO   NOT  EDIT   IT\n\n")
	for i := range n {
		fmt.Fprintf(&text, `KERNEL=="sd%c*",ACTION=="add|remove", ENV{DEVTYPE}=="partition", SUBSYSTEM=="block", `+
			`RUN{program}+="/lib/udev/isulad-tools_wrapper $env{ACTION} %08x $name /dev/sdx sd%[1]c"`+"\n", 'a'+i%26, i)
	}
	return os.WriteFile(rulesFile, []byte(text.String()), 0o600)
}

func (w *world) startsAmong(n int) (sample, error) {
	if err := otherRules(n); err != nil {
		return sample{}, err
	}
	return startNothing(w)
}

// addsDisk adds a disk, for which there is a rule then.
func (w *world) addsDisk(n int) (sample, error) {
	const disk = "/dev/benchdisk"
	if err := errors.Join(sandbox.Disk(disk), syslog(), otherRules(n)); err != nil {
		return sample{}, err
	}
	return w.started(nil, func(hook invocation) (sample, error) {
		if s, err := hook.run(); err != nil {
			return s, err
		}
		tool, err := w.tool("Add device ("+disk+")", "add-device", id, disk)
		if err != nil {
			return sample{}, err
		}
		s, err := tool.run()
		if err != nil {
			return s, err
		}
		text, err := os.ReadFile(rulesFile)
		if err != nil {
			return s, err
		}
		if lines := strings.Count(string(text), "\n"); lines != 3+n+2 { // for the partitions, and for the disk
			return s, fmt.Errorf("%s has %d lines", rulesFile, lines)
		}
		return s, nil
	})
}
