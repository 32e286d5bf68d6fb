package packages

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// Places that v0.9's deployments know, with iSulad's default root directory.
var (
	syscontainerNames = []string{"/usr/local/bin/syscontainer-tools", "/lib/udev/syscontainer-tools_wrapper", "/var/lib/isulad/hooks/syscontainer-hooks"}
	isuladNames       = []string{"/usr/local/bin/isulad-tools", "/lib/udev/isulad-tools_wrapper", "/var/lib/isulad/hooks/isulad-hooks"}
	hookSpecs         = []string{"/etc/isulad-tools/hookspec.json", "/etc/syscontainer-tools/hookspec.json"}
)

const rotation = "/etc/logrotate.d/isulad-tools"

const record = `{"bindToAdd":["/data:/data:rw,rslave"],"unknown":1}`

// containers are what a host has of two that run, one of which v0.9 started, and
// of what an administrator keeps.
var containers = map[string]string{
	"/var/lib/isulad/engines/lcr/one/device_hook.json":          record,
	"/var/lib/isulad/engines/runc/two/device_hook.json":         record,
	"/run/syscontainer-tools/netns/one":                         "",
	"/run/isulad-tools/containers/two":                          "{}",
	"/etc/udev/rules.d/99-syscontainer-tools.rules":             "# one\n",
	"/var/log/hyperagent/syscontainer-tools.log":                "line\n",
	"/var/lib/isulad/engines/lcr/one/.device_hook.lock":         "",
	"/var/lib/isulad/hooks/hook-of-the-administrators":          "#!/bin/sh\n",
	"/etc/isulad-tools/notes-of-the-administrators":             "x\n",
	"/var/lib/isulad/engines/runc/two/config.json":              "{}",
	"/run/isulad-tools/netns/two":                               "",
	"/usr/local/bin/program-of-the-administrators":              "x\n",
	"/usr/share/doc/isulad-tools-of-the-administrators/changes": "x\n",
}

func running(t *testing.T) {
	t.Helper()
	for path, content := range containers {
		put(t, path, content)
	}
}

func untouched(t *testing.T) {
	t.Helper()
	for path, content := range containers {
		holds(t, path, content)
	}
}

// stop is what is no more when no container runs.
func stop(t *testing.T) {
	t.Helper()
	for path := range containers {
		if strings.HasPrefix(path, "/run/") {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// runsHook wants a hook spec to run this hook, which is ours, at each stage.
func runsHook(t *testing.T, spec, hook string) {
	t.Helper()
	var stages map[string][]struct{ Path string }
	content, err := os.ReadFile(spec)
	if err == nil {
		err = json.Unmarshal(content, &stages)
	}
	if err != nil {
		t.Errorf("%s: %v", spec, err)
		return
	}
	for _, stage := range []string{"prestart", "poststart", "poststop"} {
		if len(stages[stage]) != 1 || stages[stage][0].Path != hook {
			t.Errorf("%s, %s: got %+v, want %s", spec, stage, stages[stage], hook)
		}
	}
	ours(t, hook)
}

func each(t *testing.T, paths []string, want func(*testing.T, string)) {
	t.Helper()
	for _, path := range paths {
		want(t, path)
	}
}

func TestAHostKeepsWorkingWhateverIsInstalledAndRemoved(t *testing.T) {
	for _, m := range managers(t) {
		t.Run(m.kind, func(t *testing.T) {
			old, pkg := m.old(t), made(t, light, m.kind)
			purge(t)
			t.Run("installed on a fresh host", func(t *testing.T) {
				m.do(t, m.install, made(t, shipped, m.kind))
				each(t, isuladNames, ours)
				each(t, syscontainerNames, ours)
				runsHook(t, hookSpecs[0], isuladNames[2])
				runsHook(t, hookSpecs[1], syscontainerNames[2])
				holds(t, "/etc/isulad-tools/kmod.json", "{\"default\":\"allow\"}\n")
				if !m.owns(t, rotation) {
					t.Errorf("%s is nobody's", rotation)
				}
			})
			t.Run("removed while nothing runs", func(t *testing.T) {
				m.do(t, m.remove, "isulad-tools")
				each(t, isuladNames, missing)
				each(t, syscontainerNames, missing)
				purge(t)
				each(t, append(hookSpecs, rotation), missing)
			})
			t.Run("upgraded from v0.9 while containers run", func(t *testing.T) {
				m.do(t, m.install, old)
				running(t)
				each(t, syscontainerNames, isOld)
				spec, err := os.ReadFile(hookSpecs[1])
				if err != nil {
					t.Fatal(err)
				}
				edited := strings.Replace(string(spec), `"env": []`, `"env": ["A=b"], "timeout": 60`, 1)
				put(t, hookSpecs[1], edited)
				m.do(t, m.install, pkg)
				if m.knows("syscontainer-tools") {
					t.Error("v0.9 is installed, too")
				}
				each(t, isuladNames, ours)
				each(t, syscontainerNames, ours)
				holds(t, hookSpecs[1], edited)
				runsHook(t, hookSpecs[1], syscontainerNames[2])
				runsHook(t, hookSpecs[0], isuladNames[2])
				untouched(t)
			})
			t.Run("upgraded to another version, by the scripts of both", func(t *testing.T) {
				top, err := sandbox.Module()
				if err != nil {
					t.Fatal(err)
				}
				for _, call := range [][]string{{"removing", "upgrade", "2"}, {"removing", "1"}, {"removed", "upgrade", "2"}, {"removed", "1"}, {"removed", "failed-upgrade", "2"}} {
					run(t, filepath.Join(top, "packaging/scripts", call[0]), call[1:]...)
				}
				each(t, isuladNames, ours)
				each(t, syscontainerNames, ours)
				for _, path := range append(isuladNames, syscontainerNames...) {
					missing(t, path+".serving")
				}
			})
			t.Run("installed once more", func(t *testing.T) {
				const policy = "{\"default\":\"deny\"}\n"
				put(t, "/etc/isulad-tools/kmod.json", policy)
				before, err := os.ReadFile(hookSpecs[1])
				if err != nil {
					t.Fatal(err)
				}
				again := m.install
				if m.kind == "rpm" {
					again = append(append([]string{}, again...), "--replacepkgs")
				}
				m.do(t, again, pkg)
				each(t, syscontainerNames, ours)
				holds(t, hookSpecs[1], string(before))
				holds(t, "/etc/isulad-tools/kmod.json", policy)
				untouched(t)
			})
			t.Run("removed while containers run", func(t *testing.T) {
				said := m.do(t, m.remove, "isulad-tools")
				for _, path := range []string{isuladNames[1], isuladNames[2], syscontainerNames[1], syscontainerNames[2]} {
					ours(t, path)
					if !strings.Contains(said, path) {
						t.Errorf("got %q, want that it says that %s stays", said, path)
					}
				}
				missing(t, isuladNames[0])
				missing(t, syscontainerNames[0])
				if _, err := os.Stat(m.configAfterRemoval); err != nil {
					t.Errorf("the edited hook spec: %v", err)
				}
				untouched(t)
			})
			t.Run("rolled back to v0.9", func(t *testing.T) {
				m.do(t, m.install, old)
				each(t, syscontainerNames, isOld)
				ours(t, isuladNames[2]) // of containers that it started
				if content, err := os.ReadFile(hookSpecs[1]); err != nil || !strings.Contains(string(content), syscontainerNames[2]) {
					t.Errorf("the hook spec: got %q, %v, want that it runs v0.9's hook", content, err)
				}
				untouched(t)
			})
			t.Run("upgraded again, and removed when all has stopped", func(t *testing.T) {
				m.do(t, m.install, pkg)
				each(t, syscontainerNames, ours)
				stop(t)
				m.do(t, m.remove, "isulad-tools")
				each(t, isuladNames, missing)
				each(t, syscontainerNames, missing)
				holds(t, "/var/lib/isulad/engines/lcr/one/device_hook.json", record)
				holds(t, "/var/lib/isulad/hooks/hook-of-the-administrators", "#!/bin/sh\n")
			})
			t.Run("iSulad's root directory is another one", func(t *testing.T) {
				put(t, "/etc/isulad/daemon.json", `{"graph": "/data/isulad"}`)
				m.do(t, m.install, old)
				isOld(t, "/data/isulad/hooks/syscontainer-hooks")
				m.do(t, m.install, pkg)
				runsHook(t, hookSpecs[0], "/data/isulad/hooks/isulad-hooks")
				runsHook(t, hookSpecs[1], "/data/isulad/hooks/syscontainer-hooks")
				m.do(t, m.remove, "isulad-tools")
				missing(t, "/data/isulad/hooks/isulad-hooks")
				isOld(t, "/data/isulad/hooks/syscontainer-hooks")
			})
			purge(t)
			for _, path := range []string{"/etc/isulad", "/etc/isulad-tools", "/etc/syscontainer-tools", "/var/lib/isulad", "/data/isulad", "/run/isulad-tools", "/run/syscontainer-tools"} {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
			t.Run("iSulad's configuration is broken", func(t *testing.T) {
				put(t, "/etc/isulad/daemon.json", "{")
				said := m.do(t, m.install, pkg)
				for _, want := range []string{"daemon.json", "/usr/local/bin/isulad-tools install"} {
					if !strings.Contains(said, want) {
						t.Errorf("got %q, want that it says %q", said, want)
					}
				}
				each(t, isuladNames, ours)
				m.do(t, m.remove, "isulad-tools")
				purge(t)
				if err := os.RemoveAll("/etc/isulad"); err != nil {
					t.Fatal(err)
				}
			})
			t.Run("iSulad's root directory is that of 2019", func(t *testing.T) {
				put(t, "/var/lib/lcrd/engines/lcr/one/device_hook.json", record)
				m.do(t, m.install, pkg)
				runsHook(t, hookSpecs[0], "/var/lib/lcrd/hooks/isulad-hooks")
				m.do(t, m.remove, "isulad-tools")
				missing(t, "/var/lib/lcrd/hooks/isulad-hooks")
				if err := os.RemoveAll("/var/lib/lcrd"); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
