package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// standIns are the programs that the recorder replaced. This test binary is
// each of them, by the name it is called by, in these directories.
var standIns = map[string]struct {
	dirs []string
	run  func(args []string) int
}{
	"modprobe":  {[]string{"/usr/sbin", "/rig/fake/bin"}, standInModprobe},
	"udevadm":   {[]string{"/usr/sbin", "/rig/fake/bin"}, func([]string) int { return 0 }},
	"isula":     {[]string{"/usr/sbin", "/rig/fake/bin"}, standInIsula},
	"ovs-vsctl": {[]string{"/rig/fake/ovs"}, standInOvs},
	"lsblk":     {[]string{lsblkSaysDisk}, func([]string) int { return 1 }},
}

const (
	callsDir  = "/run/golden/calls"        // what stand-ins were called with, a file each call
	isulaFile = "/run/golden/inspect.json" // what isula inspect says
	// modprobeExit holds an exit status for modprobe.
	modprobeExit = "/goldhost/modprobe.exit"
	// modprobeLoads makes modprobe do its work, which the recorder's did not.
	modprobeLoads = "/run/golden/modprobe.loads"
	sysModule     = "/sys/module" // a tmpfs in the sandbox
	ovsBridge     = "ovsbr0"      // of Open vSwitch
)

// standIn runs as the stand-in that this process is called as.
func standIn() (code int, ok bool) {
	name := filepath.Base(os.Args[0])
	s, ok := standIns[name]
	if !ok {
		return 0, false
	}
	data, err := json.Marshal(append([]string{name}, os.Args[1:]...))
	if err == nil {
		err = os.WriteFile(fmt.Sprintf("%s/%s.%d", callsDir, name, os.Getpid()), data, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125, true
	}
	return s.run(os.Args[1:]), true
}

// calls returns the argument lists that a stand-in got, in an order of its own.
func calls(name string) ([][]string, error) {
	files, err := filepath.Glob(filepath.Join(callsDir, name+".*"))
	if err != nil {
		return nil, err
	}
	var list [][]string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var argv []string
		if err := json.Unmarshal(data, &argv); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		list = append(list, argv)
	}
	slices.SortFunc(list, slices.Compare)
	return list, nil
}

func standInModprobe(args []string) int {
	if text, err := os.ReadFile(modprobeExit); err == nil {
		var code int
		if _, err := fmt.Sscan(string(text), &code); err != nil {
			return 125
		}
		return code
	}
	if _, err := os.Stat(modprobeLoads); err != nil {
		return 0
	}
	for _, name := range args {
		if strings.HasPrefix(name, "-") {
			continue
		}
		dir := filepath.Join(sysModule, strings.ReplaceAll(name, "-", "_"))
		if os.MkdirAll(dir, 0o755) != nil || os.WriteFile(filepath.Join(dir, "initstate"), []byte("live\n"), 0o444) != nil {
			return 125
		}
	}
	return 0
}

// standInIsula knows the one container, and of the options only what a
// program needs that asks for the whole description at once.
func standInIsula(args []string) int {
	switch {
	case len(args) == 1 && args[0] == "info":
		fmt.Println("Containers: 1\nCgroup Driver: cgroupfs\niSulad Root Dir: /var/lib/isulad")
		return 0
	case len(args) >= 2 && args[0] == "inspect" && !slices.Contains(args, "-f"):
		name := strings.TrimPrefix(args[len(args)-1], "/")
		text, err := os.ReadFile(isulaFile)
		if err == nil && (name == containerName || strings.HasPrefix(containerID, name)) {
			fmt.Println(string(text))
			return 0
		}
		fmt.Fprintf(os.Stderr, "Error response from daemon: Inspect container error: No such container:%s\n", name)
		return 1
	}
	fmt.Fprintf(os.Stderr, "stand-in isula: unexpected arguments %q\n", args)
	return 125
}

// standInOvs has one bridge.
func standInOvs(args []string) int {
	words := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") })
	if len(words) == 2 && words[0] == "br-exists" && words[1] != ovsBridge {
		return 2
	}
	return 0
}
