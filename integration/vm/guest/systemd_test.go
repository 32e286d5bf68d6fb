//go:build vmguest

package guest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// privateSocket is where systemd listens to root.
const privateSocket = "/run/systemd/private"

// inScope makes a container's cgroup a scope of systemd's.
func inScope(b *sandbox.Bundle) { b.CgroupsPath = "system.slice:isulad:" + b.ID }

// scope is a container of runc --systemd-cgroup that has a disk and a
// character device recorded, started.
func scope(t *testing.T, edit func(*sandbox.Bundle)) *container {
	t.Helper()
	name := disk(t, "hot0")
	c := newContainer(t, "", func(b *sandbox.Bundle) {
		inScope(b)
		if edit != nil {
			edit(b)
		}
	})
	c.runc.Systemd = true
	st := stat(t, "/dev/"+name)
	c.record(fmt.Sprintf(`{"deviceToAdd":[
		{"Type":"b","Major":%d,"Minor":%d,"PathOnHost":"/dev/%s","PathInContainer":"/dev/disk","CgroupPermissions":"r","Parent":""},
		{"Type":"c","Major":10,"Minor":229,"PathOnHost":"/dev/fuse","PathInContainer":"/dev/fuse","CgroupPermissions":"rwm","Parent":""}]}`,
		unix.Major(st.Rdev), unix.Minor(st.Rdev), name))
	c.start()
	return c
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st
}

// usesItsOwnOnly requires the recorded devices to be usable as recorded, and
// another one not at all.
func (c *container) usesItsOwnOnly() {
	c.t.Helper()
	// One script: each program that is started takes its time here.
	got := c.works(`[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
		try() { if (eval "$1") 2>/dev/null; then echo "$1"; else echo "not $1"; fi; }
		try 'exec 3</dev/disk'; try 'exec 3>/dev/disk'; try 'exec 3<>/dev/fuse'; try 'exec 3</dev/loop-control'
		dd if=/dev/disk bs=4096 count=1 2>/dev/null | wc -c`)
	want := "exec 3</dev/disk\nnot exec 3>/dev/disk\nexec 3<>/dev/fuse\nnot exec 3</dev/loop-control\n4096"
	if got != want {
		c.t.Errorf("in the container work: %q, want %q", got, want)
	}
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// unit is the container's.
func (c *container) unit() string { return "isulad-" + c.id + ".scope" }

// deviceAllow is what systemd knows that the container may use.
func (c *container) deviceAllow() string {
	c.t.Helper()
	return systemctl(c.t, "show", "--property=DeviceAllow", c.unit())
}

func TestSystemdReloadTakesNoDeviceAway(t *testing.T) {
	c := scope(t, nil)
	c.usesItsOwnOnly()
	systemctl(t, "daemon-reload")
	c.usesItsOwnOnly()
	// The cgroup as systemd makes it, for a reason of its own.
	systemctl(t, "set-property", "--runtime", c.unit(), "TasksMax=1000")
	c.usesItsOwnOnly()
}

func TestSystemdForgetsTheDevicesWithTheContainer(t *testing.T) {
	c := scope(t, nil)
	c.stop()
	// systemd collects a scope that is empty a moment later.
	within(t, 20*time.Second, "nothing left in /run/systemd of "+c.unit(), func() bool {
		var left []string
		for _, dir := range []string{"transient", "system.control"} {
			found, err := filepath.Glob(filepath.Join("/run/systemd", dir, c.unit()+"*"))
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, found...)
		}
		return len(left) == 0
	})
}

// A unit that may use all devices has no list; one entry would be the end of
// all others.
func TestSystemdUnitWithoutAPolicyGetsNone(t *testing.T) {
	c := scope(t, func(b *sandbox.Bundle) {
		b.Edit = func(spec map[string]any) {
			linux := spec["linux"].(map[string]any)
			linux["resources"] = map[string]any{"devices": []any{map[string]any{"allow": true, "access": "rwm"}}}
		}
	})
	for range 2 {
		c.works("{ [ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237; } && exec 3</dev/loop-control && exec 3<>/dev/fuse")
		if got := c.deviceAllow(); got != "" {
			t.Errorf("systemd has %q", got)
		}
		systemctl(t, "daemon-reload")
	}
}

func TestSystemdForgetsADeviceThatIsTakenAway(t *testing.T) {
	c := scope(t, nil)
	fuse := devices.Device{Type: "c", Major: 10, Minor: 229}
	before := c.deviceAllow()
	if err := devices.AllowInUnit(t.Context(), c.unit(), nil, fuse); err != nil {
		t.Fatal(err)
	}
	const line = "DeviceAllow=/dev/char/10:229 rwm"
	had, has := strings.Split(before, "\n"), strings.Split(c.deviceAllow(), "\n")
	if !slices.Contains(had, line) {
		t.Errorf("systemd had %q, want %s", had, line)
	}
	had = slices.DeleteFunc(had, func(l string) bool { return l == line })
	slices.Sort(had)
	slices.Sort(has)
	if !slices.Equal(has, had) {
		t.Errorf("systemd has %q, want %q", has, had)
	}
	for range 2 {
		c.works("dd if=/dev/disk of=/dev/null bs=4096 count=1")
		c.fails("exec 3<>/dev/fuse", "Operation not permitted")
		systemctl(t, "daemon-reload")
	}
}

// withoutPrivateSocket takes systemd's own socket away for the time of the test.
func withoutPrivateSocket(t *testing.T) {
	t.Helper()
	if err := os.Rename(privateSocket, privateSocket+".away"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Rename(privateSocket+".away", privateSocket); err != nil {
			t.Error(err)
		}
	})
}

func TestSystemdIsToldOverTheSystemBusToo(t *testing.T) {
	withoutPrivateSocket(t)
	c := scope(t, nil)
	if got := c.deviceAllow(); !strings.Contains(got, "/dev/char/10:229 rwm") {
		t.Errorf("systemd has %q", got)
	}
}

func TestSystemdThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	withoutPrivateSocket(t)
	silent, err := net.Listen("unix", privateSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	start := time.Now()
	c := scope(t, nil)
	took := time.Since(start)
	t.Logf("started in %v", took)
	c.usesItsOwnOnly()
	if took < 3*time.Second {
		t.Errorf("started in %v: it was not asked", took)
	}
	// A command can still be repeated: it adds nothing.
	failsWith(t, []string{"Failed to add device: ", c.unit(), "nothing is added"}, "add-device", c.id, "/dev/loop-control:/dev/told:rw")
	c.fails("exec 3</dev/told", "no such file")
	c.usesItsOwnOnly()
	log, err := exec.Command("journalctl", "--since", fmt.Sprintf("@%d", start.Unix())).CombinedOutput()
	if err != nil {
		t.Fatalf("journalctl: %v: %s", err, log)
	}
	if !strings.Contains(string(log), "next daemon-reload revokes") {
		t.Errorf("the log does not say that systemd was not told: %s", log)
	}
}

// What systemd has forgotten, and what runc update replaces, is told and mended.
func TestSystemdForgetsAndRuncReplacesWhatCheckTells(t *testing.T) {
	c := scope(t, nil)
	is := func(want ...string) {
		t.Helper()
		out, errs, code := tool("check", c.id)
		if code != min(len(want), 1) {
			t.Errorf("check: exit code %d: %s%s", code, out, errs)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("check does not say %q: %s", w, out)
			}
		}
	}
	repaired := func() {
		t.Helper()
		out, errs, code := tool("repair", c.id)
		t.Logf("repair: %s%s", out, errs)
		if code != 0 {
			t.Errorf("repair: exit code %d", code)
		}
		is()
		c.usesItsOwnOnly()
		systemctl(t, "daemon-reload")
		c.usesItsOwnOnly()
		is()
	}
	is()
	fuse := devices.Device{Type: "c", Major: 10, Minor: 229}
	if err := devices.AllowInUnit(t.Context(), c.unit(), nil, fuse); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "daemon-reload")
	c.fails("exec 3<>/dev/fuse", "Operation not permitted")
	is("DeviceAllow missing", "/dev/char/10:229 rwm")
	repaired()

	if out, err := exec.Command("runc", "--systemd-cgroup", "update", "--pids-limit", "500", c.id).CombinedOutput(); err != nil {
		t.Fatalf("runc update: %v: %s", err, out)
	}
	out, _, code := tool("check", c.id)
	t.Logf("after runc update: exit code %d: %s", code, out)
	repaired()
}
