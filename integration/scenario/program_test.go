package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
)

// A device program works on any cgroup2 mount, beside cgroup v1 too: then both
// must allow.
func TestDeviceProgram(t *testing.T) {
	c := bareHolder(t)
	dir := filepath.Join("/sys/fs/cgroup/unified", c.Cgroup)
	if sandbox.Unified() {
		dir = filepath.Join("/sys/fs/cgroup", c.Cgroup)
	} else {
		v1 := filepath.Join("/sys/fs/cgroup/devices", c.Cgroup, "devices.allow")
		check(t, os.WriteFile(v1, []byte("a"), 0))
	}
	check(t, c.Release())
	sh := func(script string) error {
		_, err := c.Exec("/bin/sh", "-c", script)
		return err
	}
	check(t, sh("mknod /dev/fuse c 10 229 && mknod /dev/loop-control c 10 237"))
	spec, err := holder.DeviceRules()
	check(t, err)
	allow := func(access string) cgroup.DeviceRule {
		return cgroup.DeviceRule{Allow: true, Type: "c", Major: 10, Minor: 229, Access: access}
	}
	for _, step := range []struct {
		name               string
		rules              []cgroup.DeviceRule
		read, write, mknod bool
	}{
		{"the runtime's rules", spec, false, false, true},
		{"with a device to read", append(spec[:len(spec):len(spec)], allow("r")), true, false, true},
		{"with a device", append(spec[:len(spec):len(spec)], allow("rwm")), true, true, true},
		{"without it again", spec, false, false, true},
	} {
		check(t, cgroup.SetDevices(dir, step.rules))
		for _, try := range []struct {
			script string
			works  bool
		}{
			{"exec 3</dev/fuse", step.read},
			{"exec 3>/dev/fuse", step.write},
			{"mknod /dev/try c 99 99 && rm /dev/try", step.mknod},
			{"exec 3</dev/loop-control", false},
			{"exec 3<>/dev/null 4</dev/zero 5</dev/urandom", true},
		} {
			if err := sh(try.script); (err == nil) != try.works {
				t.Errorf("%s: %s: %v", step.name, try.script, err)
			}
		}
		if n := programs(t, dir); n != 1 {
			t.Errorf("%s: %d programs are attached, want 1", step.name, n)
		}
	}
}

// While programs are replaced there is no moment without one.
func TestDeviceProgramIsReplacedWithoutAGap(t *testing.T) {
	c := bareHolder(t)
	dir := filepath.Join("/sys/fs/cgroup/unified", c.Cgroup)
	if sandbox.Unified() {
		dir = filepath.Join("/sys/fs/cgroup", c.Cgroup)
	} else {
		check(t, os.WriteFile(filepath.Join("/sys/fs/cgroup/devices", c.Cgroup, "devices.allow"), []byte("a"), 0))
	}
	check(t, c.Release())
	rules, err := holder.DeviceRules()
	check(t, err)
	check(t, cgroup.SetDevices(dir, rules))
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
				err = cgroup.SetDevices(dir, rules)
			}
		}
		done <- err
	}()
	out, err := c.Exec("/bin/sh", "-c", "mknod /dev/loop-control c 10 237; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); { true </dev/loop-control && echo opened; } 2>/dev/null; done; echo $n")
	close(stop)
	if e := <-done; e != nil || err != nil {
		t.Fatal(e, err)
	}
	if strings.TrimSpace(out) != "20000" {
		t.Errorf("a forbidden device: %s", out)
	}
}

// bareHolder is a container without a bundle.
func bareHolder(t *testing.T) *holder.Container {
	t.Helper()
	root := filepath.Join(scratch(t), "rootfs")
	check(t, sandbox.Rootfs(root))
	c, err := holder.Start(holder.Options{ID: "bare", Rootfs: root, Pivoted: true})
	check(t, err)
	t.Cleanup(func() { check(t, c.End()) })
	return c
}

// programs counts the device programs of a cgroup (bpf(2), BPF_PROG_QUERY).
func programs(t *testing.T, dir string) int {
	t.Helper()
	d, err := os.Open(dir)
	check(t, err)
	defer d.Close()
	var ids [16]uint32
	attr := struct {
		target, attachType, queryFlags, attachFlags uint32
		ids                                         uint64
		count, _                                    uint32
		_                                           [4]uint64
	}{target: uint32(d.Fd()), attachType: unix.BPF_CGROUP_DEVICE, ids: uint64(uintptr(unsafe.Pointer(&ids))), count: uint32(len(ids))}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_QUERY, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != 0 {
		t.Fatal(fmt.Errorf("query the programs of %s: %w", dir, errno))
	}
	return int(attr.count)
}
