package inspection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/hookspec"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/systemd"
	"isula.org/isulad-tools/kmod"
)

// maxHostConfig bounds what is read of configuration.
const maxHostConfig = 1 << 20

func specPath(g place.Generation) string {
	return filepath.Join("/etc", g.Tool, "hookspec.json")
}

// hookSpecs looks at the hook spec of each generation, and at the hook that it names.
func (h Host) hookSpecs(context.Context) (facts []Fact) {
	var found []string
	for _, g := range place.Generations {
		path := specPath(g)
		data, err := open.Read(path, maxHostConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = append(found, path)
		if err != nil {
			facts = append(facts, Fact{Bad, "hook spec", err.Error(), ""})
			continue
		}
		facts = append(facts, specFacts(g, path, data)...)
	}
	switch len(found) {
	case 0:
		facts = append(facts, Fact{Bad, "hook spec", "missing: no container can be started with the hook", "make install"})
	case 2:
		facts = append(facts, Fact{Warn, "generations", "both are installed: " + strings.Join(found, " and "), "use one hook spec for all containers"})
	}
	return facts
}

func specFacts(g place.Generation, path string, data []byte) (facts []Fact) {
	if f := writableByOthers("hook spec", path, 0o640); f != nil {
		facts = append(facts, *f)
	}
	hooks := []string{}
	for _, stage := range []string{"prestart", "poststop"} {
		one := ""
		listed, err := hookspec.Hooks(data, stage)
		if err != nil {
			return append(facts, Fact{Bad, "hook spec", path + ": " + err.Error(), "make install"})
		}
		for _, hook := range listed {
			if filepath.Base(hook.Path) == g.Hook || slices.Contains(hook.Args, g.Hook) {
				one = hook.Path
			}
		}
		if one == "" {
			facts = append(facts, Fact{Bad, "hook spec", path + " does not run the hook at " + stage, "make install"})
		} else if !slices.Contains(hooks, one) {
			hooks = append(hooks, one)
		}
	}
	for _, hook := range hooks {
		facts = append(facts, hookFact(path, hook))
	}
	return facts
}

// hookFact looks at the program that a hook spec names.
func hookFact(spec, hook string) Fact {
	info, err := os.Stat(hook)
	switch {
	case err != nil:
		return Fact{Bad, "hook", spec + ": " + err.Error(), "make install"}
	case info.Mode()&0o111 == 0:
		return Fact{Bad, "hook", hook + " cannot be executed", "chmod 0755 " + hook}
	}
	if f := writableByOthers("hook", hook, 0o755); f != nil {
		return *f
	}
	if ours, err := os.Stat("/proc/self/exe"); err == nil && ours.Size() != info.Size() {
		return Fact{Warn, "hook", hook + " is another version than this program", "make install"}
	}
	return Fact{OK, "hook", spec + " runs " + hook, ""}
}

// writableByOthers is for a file that root executes or believes and that others may change; nil: only
// root may.
func writableByOthers(what, path string, mode fs.FileMode) *Fact {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &Fact{Bad, what, path + ": " + err.Error(), ""}
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 {
		return &Fact{Bad, what, fmt.Sprintf("users other than root may write %s: its owner is %d, its mode %04o", path, st.Uid, st.Mode&0o7777), fmt.Sprintf("chown root: %s && chmod %04o %[1]s", path, mode)}
	}
	return nil
}

func (h Host) policy(context.Context) []Fact {
	if _, err := os.Lstat(place.ModulePolicy); errors.Is(err, fs.ErrNotExist) {
		return []Fact{{OK, "module policy", "missing: containers may have every kernel module", ""}}
	}
	if _, err := (kmod.Loader{}).Check(nil); err != nil {
		return []Fact{{Bad, "module policy", err.Error(), "edit " + place.ModulePolicy}}
	}
	if f := writableByOthers("module policy", place.ModulePolicy, 0o644); f != nil {
		return []Fact{*f}
	}
	return []Fact{{OK, "module policy", place.ModulePolicy, ""}}
}

func (h Host) udev(context.Context) (facts []Fact) {
	if _, err := os.Lstat("/run/udev/control"); err != nil {
		return []Fact{{Warn, "udev", "udevd does not run: devices that go or come are not followed", "start systemd-udevd"}}
	}
	if _, err := command.LookPath("udevadm"); err != nil {
		facts = append(facts, Fact{Warn, "udev", "udevadm is not installed: udevd is not told of rules", ""})
	}
	helper := devices.HelperPath(place.Isulad)
	if _, err := os.Stat(helper); err != nil {
		return append(facts, Fact{Bad, "udev", "the helper that the rules run is not there: " + err.Error(), "make install"})
	}
	if f := writableByOthers("udev", helper, 0o755); f != nil {
		return append(facts, *f)
	}
	return append(facts, Fact{OK, "udev", "udevd runs, and its rules have " + helper, ""})
}

func (h Host) systemd(context.Context) []Fact {
	if systemd.Runs() {
		return []Fact{{OK, "systemd", "it is told of devices, so that its daemon-reload does not revoke them", ""}}
	}
	return []Fact{{OK, "systemd", "it does not run", ""}}
}

func (h Host) modprobe(context.Context) []Fact {
	path, err := command.LookPath("modprobe")
	if err != nil {
		return []Fact{{Bad, "modprobe", "it is not installed: no kernel module can be loaded", "install kmod"}}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		dir := filepath.Join("/lib/modules", unix.ByteSliceToString(name.Release[:]))
		if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err != nil {
			return []Fact{{Warn, "modprobe", "the running kernel's modules are not there: " + err.Error(), "install the kernel's modules, or start the kernel that has some"}}
		}
	}
	return []Fact{{OK, "modprobe", path, ""}}
}

// versionWait bounds isulad telling its version.
const versionWait = 5 * time.Second

func (h Host) isulad(ctx context.Context) []Fact {
	path, err := command.LookPath("isulad")
	if err != nil {
		return []Fact{{OK, "iSulad", "it is not installed: containers are those of podman, runc or crun", ""}}
	}
	ctx, cancel := context.WithTimeout(ctx, versionWait)
	defer cancel()
	version := "of an unknown version"
	if out, err := (command.Cmd{Path: path, Args: []string{"--version"}}).Run(ctx); err == nil {
		version = command.OneLine(string(out.Stdout))
	}
	const config = place.DaemonJSON
	var daemon struct {
		Spec string `json:"hook-spec"`
	}
	data, err := open.Read(config, maxHostConfig)
	if err == nil {
		err = json.Unmarshal(data, &daemon)
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return []Fact{{Warn, "iSulad", version + "; " + config + ": " + err.Error(), ""}}
	case daemon.Spec == "":
		return []Fact{{OK, "iSulad", version + "; its daemon.json names no hook-spec: each container needs --hook-spec", ""}}
	}
	if _, err := os.Stat(daemon.Spec); err != nil {
		return []Fact{{Bad, "iSulad", version + "; the hook-spec of its daemon.json: " + err.Error(), "edit " + config}}
	}
	return []Fact{{OK, "iSulad", version + "; it gives all containers " + daemon.Spec, ""}}
}
