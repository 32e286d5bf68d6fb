//go:build vmguest

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// modules is what lsmod shows: name -> the modules that use it.
func modules(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line) // name size uses users state address
		list[f[0]] = strings.Trim(f[3], ",-")
	}
	return list
}

// requireLoaded fails unless all of the modules are loaded.
func requireLoaded(t *testing.T, names ...string) {
	t.Helper()
	list := modules(t)
	for _, n := range names {
		if _, ok := list[n]; !ok {
			t.Errorf("module %s is not loaded", n)
		}
	}
}

// requireUnloaded fails when one of the modules is loaded.
func requireUnloaded(t *testing.T, names ...string) {
	t.Helper()
	list := modules(t)
	for _, n := range names {
		if _, ok := list[n]; ok {
			t.Errorf("module %s is loaded", n)
		}
	}
}

// without makes sure that the modules are not loaded, neither by an earlier test
// now nor by this one at its end. Users come before what they use.
func without(t *testing.T, names ...string) {
	t.Helper()
	unload := func() {
		list := modules(t)
		for _, n := range names {
			if _, ok := list[n]; !ok {
				continue
			}
			// Releasing a container's network namespace, which uses some of them,
			// takes the kernel a moment: rmmod alone would fail.
			if out, err := exec.Command("modprobe", "-r", "--wait", "5000", n).CombinedOutput(); err != nil {
				t.Fatalf("unload %s: %v: %s", n, err, out)
			}
		}
	}
	unload()
	requireUnloaded(t, names...)
	t.Cleanup(unload)
}

// load loads modules by hand, as an operator would.
func load(t *testing.T, names ...string) {
	t.Helper()
	if out, err := exec.Command("modprobe", append([]string{"-a"}, names...)...).CombinedOutput(); err != nil {
		t.Fatalf("modprobe %v: %v: %s", names, err, out)
	}
	requireLoaded(t, names...)
}

// builtIn names a module that the kernel has built in, with a '_' in its name.
func builtIn(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name := strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko")
		if strings.Contains(name, "_") {
			return name
		}
	}
	t.Fatal("modules.builtin names none with a _")
	return ""
}

// modprobeConf writes a file into /etc/modprobe.d for the time of the test.
func modprobeConf(t *testing.T, lines ...string) {
	t.Helper()
	path := filepath.Join("/etc/modprobe.d", filepath.Base(t.Name())+".conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
}
