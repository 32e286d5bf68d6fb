// Package place knows the names and places of the two generations of the tool
// that one executable serves, and the directories that both share. It touches
// nothing.
package place

import (
	"path/filepath"
	"strings"
)

// The shared path, through which both generations carry host trees into
// running containers. It is one place for both, whatever the name we run under.
//
//	/.sharedpath                      its flock guards the two below
//	/.sharedpath/master               one shared tmpfs for all containers
//	/.sharedpath/master/<id>          seen by container <id> as its /.sharedpath
//	/.sharedpath/midpath/<id>         host trees on their way to master/<id>
const (
	SharedPath = "/.sharedpath"
	Master     = SharedPath + "/master"
	Midpath    = SharedPath + "/midpath"
)

// Kernel modules are the host's, so what is known of them has one place, too.
const (
	// ModulePolicy says which kernel modules containers may have.
	ModulePolicy = "/etc/isulad-tools/kmod.json"
	// Modules is the directory of what is remembered of kernel modules until the
	// next boot: who asks for which, and which we loaded.
	Modules = "/run/isulad-tools/modules"
)

// iSulad's places.
const (
	DaemonJSON = "/etc/isulad/daemon.json"
	// Graph is its root directory where its configuration names none, OldGraph that of
	// some installations of 2019.
	Graph    = "/var/lib/isulad"
	OldGraph = "/var/lib/lcrd"
)

// Generation is the set of names and places of one generation of the tool.
// What we write goes to the generation whose name we run under; what either
// left behind is recognised.
type Generation struct {
	Tool   string // name of the command line tool
	Hook   string // name of the OCI hook
	Helper string // name of the udev helper
	RunDir string // state that a reboot may forget
	Log    string // log file of the udev helper
}

// The two generations.
var (
	Isulad       = generation("isulad-tools", "isulad-hooks")
	Syscontainer = generation("syscontainer-tools", "syscontainer-hooks")

	// Generations lists both, the primary one first.
	Generations = []Generation{Isulad, Syscontainer}
)

func generation(tool, hook string) Generation {
	return Generation{
		Tool:   tool,
		Hook:   hook,
		Helper: tool + "_wrapper",
		RunDir: "/run/" + tool,
		Log:    "/var/log/hyperagent/" + tool + ".log",
	}
}

// NetNS is the directory of the pinned network namespaces, one file a container.
func (g Generation) NetNS() string { return filepath.Join(g.RunDir, "netns") }

// Starts is the directory of the start records, one file a container.
func (g Generation) Starts() string { return filepath.Join(g.RunDir, "containers") }

// Short is the word for a container's id in udev rules: of an id as iSulad makes
// them, 64 hexadecimal digits, its beginning; any other whole.
func Short(id string) string {
	if len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" {
		return id[:8]
	}
	return id
}

// Within tells whether a clean path is the directory dir or below it.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
