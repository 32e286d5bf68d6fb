//go:build linux && amd64

package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/kmod"
)

// This kernel loads no modules: a stand-in does what modprobe and the kernel do,
// in a sysfs of its own. The VM has the real ones.
const (
	fakeModprobe = "#!/bin/sh\nfor m; do case $m in -*) ;; *) m=$(echo $m | tr - _); mkdir /sys/module/$m; echo live >/sys/module/$m/initstate ;; esac; done\n"
	fakeModules  = "fake_a,loop,fake-b"
)

// fakeKernel puts the stand-ins into the sandbox.
func fakeKernel(t *testing.T) {
	t.Helper()
	modprobe, err := exec.LookPath("modprobe")
	must(t, err)
	must(t, os.Remove(modprobe)) // a link to kmod
	must(t, os.WriteFile(modprobe, []byte(fakeModprobe), 0o755))
	must(t, unix.Mount("tmpfs", "/sys/module", "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { must(t, unix.Unmount("/sys/module", unix.MNT_DETACH)) })
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	must(t, err)
	dir := filepath.Join("/lib/modules", strings.TrimSpace(string(release)))
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "modules.dep"), []byte("kernel/fake_a.ko:\nkernel/fake-b.ko: kernel/fake_a.ko\n"), 0o644))
}

// resetModules is a freshly booted machine with a container that asks.
func (w *world) resetModules() {
	w.t.Helper()
	w.reset()
	for _, m := range []string{"fake_a", "fake_b"} {
		must(w.t, os.RemoveAll("/sys/module/"+m))
	}
	must(w.t, os.MkdirAll("/sys/module/loop", 0o755)) // built in
	must(w.t, sandbox.WriteBundle(&sandbox.Bundle{Dir: bundle, ID: id, Root: image, Env: []string{"KERNEL_MODULES=" + fakeModules}}))
}

// TestKilledWhileLoading kills a prestart that loads modules at every point. The
// next start must have them, and list-module must know who asked for them and who
// had them loaded.
func TestKilledWhileLoading(t *testing.T) {
	w := newWorld(t)
	fakeKernel(t)
	c := newTally(t, "kill loop, prestart that loads")
	for _, action := range kills {
		for n := 1; ; n++ {
			w.resetModules()
			w.start()
			f := supervisor.Fault{At: n, Action: action}
			hit := w.run("prestart", f).Hit
			w.stop()
			if hit == nil {
				break
			}
			c.add(f, hit, "", append(w.modulesListed("after the kill", false), w.nextStartLoads()...))
		}
	}
	c.log("before/after")
}

// nextStartLoads starts and stops the container again, undisturbed.
func (w *world) nextStartLoads() []string {
	w.t.Helper()
	w.start()
	res := w.run("prestart", supervisor.Fault{})
	lines := w.badEnd("next prestart", res, 0)
	lines = append(lines, w.modulesListed("in the next start", true)...)
	w.stop()
	lines = append(lines, w.badEnd("poststop", w.run("poststop", supervisor.Fault{}), 0)...)
	return append(lines, w.modulesListed("after its stop", false)...)
}

// modulesListed compares what list-module prints with what the kernel has.
func (w *world) modulesListed(when string, running bool) (lines []string) {
	w.t.Helper()
	out, err := exec.Command(w.bin, "list-module").CombinedOutput()
	if err != nil {
		return []string{fmt.Sprintf("%s: list-module: %v: %s", when, err, out)}
	}
	var list []kmod.Status
	if len(out) > 0 {
		if err := json.Unmarshal(out, &list); err != nil {
			return []string{fmt.Sprintf("%s: list-module prints %s", when, out)}
		}
	}
	byName := map[string]kmod.Status{}
	for _, s := range list {
		byName[s.Module] = s
	}
	for _, m := range []string{"fake_a", "fake_b"} {
		_, err := os.Stat("/sys/module/" + m + "/initstate")
		s, listed := byName[m]
		switch {
		case listed != (err == nil):
			lines = append(lines, fmt.Sprintf("%s: %s is listed: %v, there: %v", when, m, listed, err == nil))
		case running && err != nil:
			lines = append(lines, fmt.Sprintf("%s: %s is not there", when, m))
		case listed && (s.Origin != "loaded" || s.LoadedFor != id):
			lines = append(lines, fmt.Sprintf("%s: %+v", when, s))
		}
	}
	for _, m := range []string{"fake_a", "fake_b", "loop"} {
		if s := byName[m]; (len(s.RequestedBy) == 1 && s.RequestedBy[0].ID == id) != running {
			lines = append(lines, fmt.Sprintf("%s: %s is asked for by %+v", when, m, s.RequestedBy))
		}
	}
	return lines
}
