package units

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/resource"
)

// disk makes a loop device's node on the host and the container's blkio cgroup.
func disk(t testing.TB, h *fakeContainer) (path string, minor int, files string) {
	t.Helper()
	minor = sandbox.Loop(t, 1<<20)
	path = filepath.Join(t.TempDir(), "disk")
	must(t, sandbox.Mknod(path, unix.S_IFBLK|0o660, 7, uint32(minor), 0, 6))
	files = "/sys/fs/cgroup/blkio" + h.cgroup
	must(t, os.MkdirAll(files, 0o755))
	return path, minor, files
}

func limitKind(t testing.TB, name string) *resource.Kind[devices.Limit] {
	t.Helper()
	for _, k := range devices.LimitKinds() {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("no kind %q", name)
	return nil
}

func TestALimitComesChangesAndGoes(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	path, minor, dir := disk(t, h)
	for name, file := range map[string]string{
		"read iops": "blkio.throttle.read_iops_device", "write iops": "blkio.throttle.write_iops_device",
		"read bps": "blkio.throttle.read_bps_device", "write bps": "blkio.throttle.write_bps_device",
	} {
		t.Run(name, func(t *testing.T) {
			kind := limitKind(t, name)
			l := devices.Limit{Major: 7, Minor: int64(minor), Path: path}
			for _, value := range []string{"1000", "4294967294", "7"} {
				l.Value = value
				must(t, kind.Apply(t.Context(), target, l))
				if got, want := read(t, filepath.Join(dir, file)), fmt.Sprintf("7:%d %s\n", minor, value); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for range 2 {
				must(t, kind.Remove(t.Context(), target, l))
				if got := read(t, filepath.Join(dir, file)); got != "" {
					t.Errorf("%s is still %q", name, got)
				}
			}
			l.Major, l.Minor = 240, 77 // the kernel has none
			if err := kind.Remove(t.Context(), target, l); err != nil {
				t.Errorf("%s of a device that is gone: %v", name, err)
			}
			if err := kind.Apply(t.Context(), target, l); err == nil {
				t.Errorf("%s of a device that is not there was set", name)
			}
		})
	}
}

func TestAWeightNeedsASchedulerThatHasThem(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	path, minor, dir := disk(t, h)
	kind := limitKind(t, "blkio weight")
	l := devices.Limit{Major: 7, Minor: int64(minor), Path: path, Value: "300"}
	if err := kind.Apply(t.Context(), target, l); !errors.Is(err, devices.ErrNoWeights) || !kind.Tolerate(l, err) {
		t.Errorf("no scheduler: %v", err)
	}
	must(t, kind.Remove(t.Context(), target, l))

	scheduler := fmt.Sprintf("/sys/block/loop%d/queue/scheduler", minor)
	if !strings.Contains(read(t, scheduler), "bfq") {
		t.Log("this kernel has no bfq")
		return
	}
	if !l.CanHaveWeights() {
		t.Errorf("%s, but no weights", read(t, scheduler))
	}
	must(t, os.WriteFile(scheduler, []byte("bfq"), 0))
	defer func() { must(t, os.WriteFile(scheduler, []byte("none"), 0)) }()
	must(t, kind.Apply(t.Context(), target, l))
	file := filepath.Join(dir, "blkio.bfq.weight_device")
	if got := read(t, file); !strings.Contains(got, fmt.Sprintf("7:%d 300\n", minor)) {
		t.Errorf("the weights are %q", got)
	}
	must(t, kind.Remove(t.Context(), target, l))
	if got := read(t, file); strings.Contains(got, fmt.Sprintf("7:%d ", minor)) {
		t.Errorf("the weights are still %q", got)
	}
}

// A command's whole transaction: one bad device of five, a disk with a limit.
func TestADeviceThatFailsLeavesTheOthersAndNothingOfItself(t *testing.T) {
	for _, c := range []struct {
		what string
		last error
	}{{"one fails", nil}, {"what comes last fails, too", errors.New("no")}} {
		t.Run(c.what, func(t *testing.T) {
			h := hold(t, nil)
			target := h.target(t, hostOwner)
			path, minor, dir := disk(t, h)
			write(t, h.root+"/dev/file", "image")
			before, rules := tree(t, h.root+"/dev"), h.allowed(t)
			state := t.TempDir()
			doc, err := config.Load(state)
			must(t, err)
			change := resource.NewChange(doc, resource.Skip)
			var adder devices.Adder
			edit, err := adder.Kind().Edit(change)
			must(t, err)
			var tasks []*resource.Task
			for i, p := range []string{"/dev/1", "/dev/2", "/dev/file/3", "/dev/4"} {
				d := fuse(t, p)
				d.Minor = int64(100 + i) // each its own, so that each has its own rule
				must(t, os.Remove(d.PathOnHost))
				must(t, sandbox.Mknod(d.PathOnHost, unix.S_IFCHR|0o600, 10, uint32(d.Minor), 0, 0))
				tasks = append(tasks, edit.Add(d))
			}
			bad := tasks[2]
			tasks = append(tasks, edit.Add(devices.Device{Type: "b", Major: 7, Minor: int64(minor), PathOnHost: path, PathInContainer: "/dev/disk"}))
			for i, needs := range []*resource.Task{bad, tasks[4]} {
				limits, err := devices.LimitKinds()[2+i].Edit(change)
				must(t, err)
				limit := limits.Add(devices.Limit{Major: 7, Minor: int64(minor), Path: path, Value: "77"})
				limit.Needs = needs
				tasks = append(tasks, limit)
			}
			change.Finally(func(context.Context) error { return c.last })
			err = change.Do(t.Context(), target)
			if !errors.Is(err, c.last) {
				t.Errorf("%s: %v", c.what, err)
			}
			if bad.Err == nil || errors.Is(bad.Err, resource.ErrNotTried) {
				t.Errorf("%s: the bad one: %v", c.what, bad.Err)
			}
			limits := read(t, dir+"/blkio.throttle.read_bps_device") + read(t, dir+"/blkio.throttle.write_bps_device")
			if c.last != nil {
				if after := tree(t, h.root+"/dev"); after != before || h.allowed(t) != rules || limits != "" {
					t.Errorf("%s: left behind:\n%s\n%s\n%s", c.what, after, h.allowed(t), limits)
				}
				if got := read(t, filepath.Join(state, config.Name)); got != "{}\n" {
					t.Errorf("%s: recorded %s", c.what, got)
				}
				return
			}
			for i, p := range []string{"1", "2", "file/3", "4", "disk"} {
				_, err := sandbox.Lstat(h.root + "/dev/" + p)
				number := fmt.Sprintf("c 10:%d ", 100+i)
				if p == "disk" {
					number = fmt.Sprintf("b 7:%d ", minor)
				}
				recorded := strings.Contains(read(t, filepath.Join(state, config.Name)), `"/dev/`+p+`"`)
				allowed := strings.Contains(h.allowed(t), number)
				if want := i != 2; (err == nil) != want || allowed != want || recorded != want {
					t.Errorf("%s: %s: %v, allowed %t, recorded %t", c.what, p, err, allowed, recorded)
				}
			}
			if want := fmt.Sprintf("7:%d 77\n", minor); limits != want {
				t.Errorf("%s: the limits are %q, want %q", c.what, limits, want)
			}
		})
	}
}

// An optional device that the host has no more does not stop a start; its old
// number may be another device's by now.
func TestAStartGoesOnWithoutAnOptionalDevice(t *testing.T) {
	const device = `{"Type":"c","Minor":235,"Major":10,"PathOnHost":"/dev/units-vanished","PathInContainer":"/dev/v","CgroupPermissions":"rw","Parent":""%s}`
	const limit = `{"major":7,"minor":77,"path":"/dev/units-vanished","value":"77"%s}`
	for _, optional := range []bool{true, false} {
		h := hold(t, nil)
		must(t, os.MkdirAll("/sys/fs/cgroup/blkio"+h.cgroup, 0o755))
		dir := bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
		d, l := fmt.Sprintf(device, ""), fmt.Sprintf(limit, "")
		if optional {
			d, l = fmt.Sprintf(device, `,"Optional":true`), fmt.Sprintf(limit, `,"optional":true`)
		}
		file := filepath.Join(dir, config.Name)
		text := strings.Replace(read(t, file), `"deviceToAdd":[`, `"readBps":[`+l+`],"deviceToAdd":[`+d+`,`, 1)
		write(t, file, text)
		state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
		for range 2 { // the second only verifies
			code, stderr := stage(t, "prestart", state)
			if (code == 0) != optional {
				t.Fatalf("optional %t: %d, %s", optional, code, stderr)
			}
		}
		if optional {
			node(t, h.root+"/dev/f", "c 0666 0:0 10:229")
			if to, err := os.Readlink(h.root + "/dev/v"); err != nil || to != "/.isulad-tools/away" {
				t.Errorf("in its node's place is %q, %v", to, err)
			}
			if rules := h.allowed(t); strings.Contains(rules, "10:235") {
				t.Errorf("it may use the device that has its number now: %s", rules)
			}
			if got := read(t, file); got != text {
				t.Errorf("the file became %s", got)
			}
		}
		if code, stderr := stage(t, "poststop", state); code != 0 {
			t.Errorf("poststop: %d, %s", code, stderr)
		}
	}
}
