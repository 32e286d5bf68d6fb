package units

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/logging"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/udev"
)

const (
	rules    = "/etc/udev/rules.d/99-isulad-tools.rules"
	oldRules = "/etc/udev/rules.d/99-syscontainer-tools.rules"
)

// fakeProgram puts a program in place of the host's, which tells how it was called.
func fakeProgram(t testing.TB, name, script string) (calls func() string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), name)
	path := filepath.Join("/usr/sbin", name) // the first folder that is looked into
	must(t, os.WriteFile(path, []byte("#!/bin/sh\necho \"$*\" >>"+log+"\n"+script+"\n"), 0o755))
	t.Cleanup(func() { must(t, os.Remove(path)) })
	return func() string {
		b, _ := os.ReadFile(log)
		return string(b)
	}
}

// helper serves an event as udevd has it done, and returns what it logged.
func helper(t testing.TB, wantCode int, args ...string) (log string) {
	t.Helper()
	_ = os.Remove(place.Isulad.Log)
	var stderr bytes.Buffer
	code := udev.Helper(place.Isulad, "isulad-tools_wrapper", args, &stderr)
	if code != wantCode || (code == 0) != (stderr.Len() == 0) {
		t.Errorf("%q: exit code %d, %s", args, code, &stderr)
	}
	b, err := os.ReadFile(place.Isulad.Log)
	must(t, err)
	return string(b)
}

// running is a box that has a bundle and a start record.
func running(t testing.TB, file map[string]any, options ...option) *deviceFixture {
	t.Helper()
	b := newDeviceFixture(t, file, options...)
	linux := map[string]any{"cgroupsPath": b.cgroup}
	if has(options, userns) {
		ids := []map[string]any{{"containerID": 0, "hostID": mappedRoot, "size": 1000}}
		linux["namespaces"], linux["uidMappings"], linux["gidMappings"] = []map[string]any{{"type": "user"}}, ids, ids
	}
	data, err := json.Marshal(map[string]any{"linux": linux})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.dir, container.SpecName), data, 0o600))
	must(t, container.WriteStart(place.Isulad, b.id, container.Start{Init: b.target.Init, Bundle: b.dir, Root: b.image}))
	t.Cleanup(func() {
		grants, err := container.OpenLedger(place.Isulad, b.id, container.Start{}, nil)
		must(t, errors.Join(err, grants.Remove(), container.RemoveStart(b.id)))
	})
	return b
}

func TestTheHelperServesAContainerThatRuns(t *testing.T) {
	reloads := fakeProgram(t, "udevadm", "")
	fakeProgram(t, "isula", "exit 1")
	p := plug(t)
	host, disk := "/dev/"+p.name, fmt.Sprintf("7:%d", p.minor)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(host, "/dev/x", "rw")}}, pivoted)
	b.start()
	one := p.cut(t, 1)
	log := helper(t, 0, "add", b.id, p.part(1), "/dev/x", p.name)
	b.has(map[string]string{"/dev/x": disk, "/dev/xp1": one})
	if !strings.Contains(log, "add /dev/"+p.part(1)) || !strings.Contains(log, b.id) {
		t.Errorf("logged %s", log)
	}
	if info, err := os.Stat(place.Isulad.Log); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	p.uncut(t, 1)
	helper(t, 0, "remove", b.id, p.part(1), "/dev/x", p.name)
	b.has(map[string]string{"/dev/x": disk})
	if reloads() != "" {
		t.Errorf("udevadm %s", reloads())
	}

	// The disk's own event brings its rules, and only then is udevd told.
	for range 2 {
		helper(t, 0, "add", b.id, p.name, "/dev/x", "-")
		text := read(t, rules)
		if strings.Count(text, " "+b.id+" $name /dev/x ") != 2 || !strings.Contains(text, `KERNEL=="`+p.name+`"`) || reloads() != "control --reload --timeout=3\n" {
			t.Errorf("udevadm %q, rules\n%s", reloads(), text)
		}
	}
	// The two generations' rules are one.
	must(t, os.Rename(rules, oldRules))
	helper(t, 0, "add", b.id, p.name, "/dev/x", "-")
	if text := read(t, oldRules); strings.Contains(text, b.id) || strings.Count(read(t, rules), b.id) != 2 {
		t.Errorf("the older rules are\n%s", text)
	}
	must(t, os.Remove(rules))
	must(t, os.Remove(oldRules))
}

func TestOfAContainerThatIsNotThereItsRulesGo(t *testing.T) {
	graph := t.TempDir()
	info := filepath.Join(graph, "info")
	asked := fakeProgram(t, "isula", `[ "$1" = info ] || { echo "no such container" >&2; exit 1; }; cat `+info+` || exit 1`)
	reloads := fakeProgram(t, "udevadm", "")
	const foreign = "KERNEL==\"foo\",RUN=\"x\"\n"
	const id, other = "c0ffee00", "c0ffee01"
	line := func(id string) string {
		return `KERNEL=="sda*",ACTION=="add|remove", ENV{DEVTYPE}=="partition", SUBSYSTEM=="block", RUN{program}+="/lib/udev/isulad-tools_wrapper $env{ACTION} ` + id + " $name /dev/x sda\"\n"
	}
	state := filepath.Join(graph, "engines/lcr", id+strings.Repeat("0", 56))
	for _, c := range []struct {
		what       string
		info       string
		state      string // a directory of isulad's
		wantRemove bool
	}{
		{"isulad does not run", "", "", false},
		{"isulad has it", "Containers: 1\niSulad Root Dir: " + graph + "\n", state, false},
		{"isulad says nothing of where", "Containers: 0\n", "", false},
		{"isulad has no state at all", "iSulad Root Dir: " + graph + "/nowhere\n", "", false},
		{"isulad says a pattern", "iSulad Root Dir: " + graph + "/*\n", "", false},
		{"isulad does not have it", "Containers: 0\niSulad Root Dir: " + graph + "\n", filepath.Join(graph, "engines/lcr/c0ffee01"), true},
	} {
		t.Run(c.what, func(t *testing.T) {
			must(t, os.RemoveAll(filepath.Join(graph, "engines")))
			must(t, os.RemoveAll(info))
			if c.state != "" {
				must(t, os.MkdirAll(c.state, 0o755))
			}
			if c.info != "" {
				write(t, info, c.info)
			}
			before := foreign + line(id) + line(other)
			for _, file := range []string{rules, oldRules} {
				write(t, file, before)
				must(t, os.Chmod(file, 0o600))
			}
			told := reloads()
			code := 0
			if strings.Contains(c.what, "pattern") {
				code = 1
			}
			log := helper(t, code, "add", id, "sda1", "/dev/x", "sda")
			if n := strings.Count(log, "\n"); n < 1 || n > 2 {
				t.Errorf("%s: logged %d lines:\n%s", c.what, n, log)
			}
			for _, file := range []string{rules, oldRules} {
				text := read(t, file)
				if c.wantRemove != !strings.Contains(text, id) || !strings.Contains(text, foreign) || !strings.Contains(text, line(other)) {
					t.Errorf("%s: the rules are\n%s", c.what, text)
				}
				must(t, os.Remove(file))
			}
			if c.wantRemove != (reloads() != told) {
				t.Errorf("%s: udevadm %s", c.what, reloads())
			}
		})
	}
	if got := asked(); strings.Count(got, "inspect -t 3 "+id+"\n") != 6 {
		t.Errorf("isula %s", got)
	}
}

func TestAStartRecordThatNobodyRemovedKeepsNoRules(t *testing.T) {
	fakeProgram(t, "isula", "exit 1")
	fakeProgram(t, "udevadm", "")
	b := running(t, map[string]any{})
	const line = `KERNEL=="sda*",RUN{program}+="/lib/udev/isulad-tools_wrapper $env{ACTION} ID $name /dev/x sda"` + "\n"
	has := func(want bool) {
		t.Helper()
		helper(t, 0, "add", b.id, "sda1", "/dev/x", "sda")
		if text := read(t, rules); want != strings.Contains(text, b.id) {
			t.Errorf("the rules are\n%s", text)
		}
	}
	write(t, rules, strings.Replace(line, "ID", b.id, 1))
	must(t, os.RemoveAll(b.dir))
	has(true) // it lives, wherever its directory went
	must(t, container.WriteStart(place.Isulad, b.id, container.Start{Init: process.ID{PID: b.pid, Start: 1}, Bundle: b.dir}))
	has(false)
	must(t, os.Remove(rules))
}

func TestWhatRunsIsWhatTheStartRecordSays(t *testing.T) {
	self, err := process.ByPID(os.Getpid())
	must(t, err)
	const id = "running1"
	record := func(init process.ID) {
		t.Helper()
		must(t, container.WriteStart(place.Isulad, id, container.Start{Init: init, Bundle: "/recorded"}))
	}
	t.Cleanup(func() { must(t, container.RemoveStart(id)) })
	check := func(what string, pid int, want string) {
		t.Helper()
		s, ok, err := container.Running(container.Container{ID: id, PID: pid, Dir: "/asked"})
		if err != nil || ok != (want != "") || ok && (s.Bundle != want || s.Init != self) {
			t.Errorf("%s: %+v, %v, %v", what, s, ok, err)
		}
	}
	check("nobody knows of a process", 0, "")
	check("an engine says so", self.PID, "/asked")
	record(self)
	check("the record says so", 0, "/recorded")
	check("the record knows better", 1, "/recorded")
	record(process.ID{PID: self.PID, Start: self.Start + 1})
	check("the record's process ended", 0, "")
	check("and the engine knows another", self.PID, "/asked")
	must(t, os.WriteFile(filepath.Join(place.Isulad.Starts(), id), []byte("{"), 0o600))
	if _, _, err := container.Running(container.Container{ID: id, PID: self.PID}); err == nil {
		t.Error("a broken record was ignored")
	}
}

func TestOfAContainerThatDoesNotRunTheFileChanges(t *testing.T) {
	p := plug(t)
	host := "/dev/" + p.name
	id := strings.Repeat("c0ffee00", 8)
	dir := filepath.Join(t.TempDir(), id)
	file, err := json.Marshal(map[string]any{"deviceToAdd": []devices.Device{p.record(host, "/dev/x", "rw")}})
	must(t, err)
	write(t, filepath.Join(dir, config.Name), string(file))
	answer, err := json.Marshal([]map[string]any{{"Id": id, "State": map[string]any{"Pid": 0}, "LogPath": filepath.Join(dir, "console.log")}})
	must(t, err)
	asked := fakeProgram(t, "isula", "echo '"+string(answer)+"'")
	p.cut(t, 1)
	helper(t, 0, "add", id[:8], p.part(1), "/dev/x", p.name)
	if got := read(t, filepath.Join(dir, config.Name)); !strings.Contains(got, `"/dev/xp1"`) || asked() != "inspect -t 3 c0ffee00\n" {
		t.Errorf("isula %s, saved %s", asked(), got)
	}
	p.uncut(t, 1)
	helper(t, 0, "remove", id[:8], p.part(1), "/dev/x", p.name)
	if got := read(t, filepath.Join(dir, config.Name)); strings.Contains(got, `"/dev/xp1"`) {
		t.Errorf("saved %s", got)
	}
}

// booted makes the machine one of systemd's.
func booted(t testing.TB) (units func() string) {
	t.Helper()
	ofSystemd(t)
	return fakeProgram(t, "systemd-run", "")
}

func TestWhatUdevdMayNotDoIsLeftToSystemd(t *testing.T) {
	p := plug(t)
	host, disk := "/dev/"+p.name, fmt.Sprintf("7:%d", p.minor)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(host, "/dev/x", "rw")}}, boundNodes()...)
	b.start()
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	units := booted(t)
	one := p.cut(t, 1)
	args := []string{"add", b.id, p.part(1), "/dev/x", p.name}
	helper(t, 0, args...)
	b.has(map[string]string{"/dev/x": disk})
	if got, want := units(), "/lib/udev/isulad-tools_wrapper --direct "+strings.Join(args, " ")+"\n"; !strings.HasSuffix(got, "-- "+want) || !strings.Contains(got, "--no-block") {
		t.Errorf("systemd-run %s, want %s", got, want)
	}
	helper(t, 0, append([]string{"--direct"}, args...)...)
	b.has(map[string]string{"/dev/x": disk, "/dev/xp1": one})
	if strings.Count(units(), "\n") != 1 {
		t.Errorf("systemd-run %s", units())
	}
	// Nothing to do is nothing to leave to anybody.
	p.uncut(t, 1)
	helper(t, 0, "--direct", "remove", b.id, p.part(1), "/dev/x", p.name)
	helper(t, 0, "remove", b.id, p.part(1), "/dev/x", p.name)
	if strings.Count(units(), "\n") != 1 {
		t.Errorf("systemd-run %s", units())
	}
}

func TestTheUdevHelperLogsToItsFileWhateverBecomesOfSyslog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "hyperagent", "isulad-tools.log")
	var warn bytes.Buffer
	logging.Helper("isulad-tools_wrapper", file, &warn).WithField("id", "abc").Info("first")
	logging.Helper("isulad-tools_wrapper", file, &warn).Info("second")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(got)), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "id=abc") || !strings.Contains(lines[1], "msg=second") {
		t.Errorf("logged %q", got)
	}
	info, err := os.Stat(filepath.Dir(file))
	if err != nil || info.Mode() != fs.ModeDir|0o750 {
		t.Errorf("its folder is %v, %v", info.Mode(), err)
	}
	// A folder in its place is said, once, and nothing fails.
	warn.Reset()
	log := logging.Helper("isulad-tools_wrapper", dir, &warn)
	log.Info("one")
	log.Info("two")
	if got := strings.Count(warn.String(), dir); got != 1 {
		t.Errorf("warned %q", &warn)
	}
}
