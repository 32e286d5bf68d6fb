//go:build vmguest

package guest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

const rulesFile = "/etc/udev/rules.d/99-isulad-tools.rules"

// newPlugged is a container that has devices recorded, by their paths on the host
// and inside, and whose init is a probe. With mapped it has a user namespace.
func newPlugged(t *testing.T, mapped bool, disks map[string]string) *container {
	t.Helper()
	var from, to string
	c := newContainer(t, "", func(b *sandbox.Bundle) {
		// /root is nobody's but root's.
		from, to = b.Root, filepath.Join("/srv", b.ID[:12])
		b.Root = to
		b.Args = []string{"/probe"}
		b.Env = append(b.Env, probeVariable+"=1")
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		b.Mounts = append(b.Mounts, sandbox.Mount{Source: program, Destination: "/probe", Type: "bind", Options: []string{"bind"}})
		if mapped {
			b.UID = []sandbox.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			b.GID = b.UID
		}
	})
	if err := os.MkdirAll("/srv", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	c.root = to
	if mapped {
		run(t, "", "chown", "-hR", "100000:100000", to)
	}
	var list []devices.Device
	for _, host := range slices.Sorted(maps.Keys(disks)) {
		d, err := devices.FromNode(host)
		if err != nil {
			t.Fatal(err)
		}
		d.PathInContainer = disks[host]
		list = append(list, d.Bind())
	}
	data, err := json.Marshal(map[string]any{"deviceToAdd": list})
	if err != nil {
		t.Fatal(err)
	}
	c.record(string(data))
	return c
}

// recorded is what the container's file has, by path inside.
func (c *container) recorded(t *testing.T) map[string]devices.Device {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, "device_hook.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		DeviceToAdd []devices.Device
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	list := map[string]devices.Device{}
	for _, d := range file.DeviceToAdd {
		list[d.PathInContainer] = d
	}
	return list
}

// dev lists the container's /dev.
func (c *container) dev(t *testing.T) []string {
	t.Helper()
	pid, err := c.runc.Pid(c.id)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root/dev", pid))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// partition is a partition's name after its disk's.
func partition(disk string, number int) string {
	if c := disk[len(disk)-1]; '0' <= c && c <= '9' {
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}

// inside is a partition's path in a container that has its disk at path: with
// what the kernel appended to the disk's name.
func inside(disk, path string, number int) string {
	return path + strings.TrimPrefix(partition(disk, number), disk)
}

// newDisk returns the kernel name of the whole disk that do makes appear.
func newDisk(t *testing.T, do func()) string {
	t.Helper()
	before := blockDevices(t)
	do()
	var name string
	within(t, patience, "a disk appears", func() bool {
		for n := range blockDevices(t) {
			if _, err := os.Stat("/sys/class/block/" + n + "/partition"); err != nil && !before[n] {
				name = n
			}
		}
		return name != "" && isBlock("/dev/"+name)
	})
	return name
}

// nvme, scsi and loop make a disk that goes with the test.
func nvme(t *testing.T) string {
	load(t, "nvme")
	t.Cleanup(func() { unplug(t, "nvme") })
	return newDisk(t, func() { plug(t, "nvme", "nvme", map[string]any{"drive": "hot1", "serial": "n0"}) })
}

func scsi(t *testing.T) string {
	load(t, "sd_mod")
	return newDisk(t, func() { scsiDebug(t, "dev_size_mb=16") })
}

// scsiDebug makes SCSI disks in memory.
func scsiDebug(t *testing.T, parameters ...string) {
	t.Helper()
	t.Cleanup(func() {
		settle(t) // nobody has them open
		run(t, "", "modprobe", "-r", "--wait", "5000", "scsi_debug")
	})
	run(t, "", "modprobe", append([]string{"scsi_debug"}, parameters...)...)
}

func loop(t *testing.T) string { return loopAt(t, "-f") }

// loopAt makes a loop device of that path, or with -f the first that is free.
func loopAt(t *testing.T, path string) string {
	t.Helper()
	load(t, "loop")
	file := filepath.Join("/run", fmt.Sprintf("disk-%d", time.Now().UnixNano()))
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 16<<20); err != nil {
		t.Fatal(err)
	}
	args := []string{"-P", path, file}
	if path == "-f" {
		args = []string{"-P", "-f", "--show", file}
	}
	if out := run(t, "", "losetup", args...); out != "" {
		path = out
	}
	t.Cleanup(func() {
		run(t, "", "losetup", "-d", path)
		os.Remove(file)
	})
	return filepath.Base(path)
}

// helperLog shows what the helper and udevd have to say.
func helperLog(t *testing.T) {
	t.Helper()
	for _, show := range [][]string{
		{"tail", "-n", "40", "/var/log/hyperagent/isulad-tools.log"},
		{"sh", "-c", "journalctl --no-pager --lines=60 --output=short-monotonic _SYSTEMD_UNIT=systemd-udevd.service + _TRANSPORT=stdout || true"},
	} {
		out, _ := exec.Command(show[0], show[1:]...).CombinedOutput()
		t.Logf("%s:\n%s", show[0], out)
	}
}

// disks make a disk of each of these kinds, and return its kernel name.
type disks map[string]func(*testing.T) string

// twoContainers starts one with and one without a user namespace, which have
// all of these disks.
func twoContainers(t *testing.T, paths map[string]string) []*container {
	t.Helper()
	list := []*container{newPlugged(t, false, paths), newPlugged(t, true, paths)}
	t.Cleanup(func() {
		if t.Failed() {
			helperLog(t)
		}
	})
	for _, c := range list {
		c.start()
		for host, path := range paths {
			c.gets(t, path, host)
		}
	}
	return list
}

// partitionsComeAndGo makes partitions on disks of these kinds, and looks into
// containers.
func partitionsComeAndGo(t *testing.T, kinds disks) {
	names, paths := map[string]string{}, map[string]string{}
	for kind, make := range kinds {
		names[kind] = make(t)
		paths["/dev/"+names[kind]] = "/dev/disk-" + kind
	}
	containers := twoContainers(t, paths)
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for kind, disk := range names {
		for _, c := range containers {
			rule := fmt.Sprintf(`KERNEL=="%s*",ACTION=="add|remove", ENV{DEVTYPE}=="partition", SUBSYSTEM=="block", `+
				`RUN{program}+="/lib/udev/isulad-tools_wrapper $env{ACTION} %s $name /dev/disk-%s %s"`+"\n", disk, c.id[:8], kind, disk)
			if strings.Count(string(text), rule) != 1 {
				t.Errorf("not once in %s: %s", rulesFile, rule)
			}
		}
	}
	for kind, disk := range names {
		t.Run(kind, func(t *testing.T) {
			path := "/dev/disk-" + kind
			before := map[*container]string{}
			for _, c := range containers {
				before[c] = fmt.Sprint(c.dev(t), c.recorded(t))
			}
			// has requires the containers to have exactly these partitions.
			has := func(want ...int) {
				t.Helper()
				settle(t)
				for _, c := range containers {
					for n := 1; n <= 3; n++ {
						where, host := inside(disk, path, n), "/dev/"+partition(disk, n)
						if !slices.Contains(want, n) {
							c.loses(t, where)
							continue
						}
						c.gets(t, where, host)
					}
					// What a helper is late with, udevd does not wait for: where nodes
					// are bound, and the record comes last.
					within(t, patience, "the records are right", func() bool {
						list := c.recorded(t)
						for n := 1; n <= 3; n++ {
							record, ok := list[inside(disk, path, n)]
							if ok != slices.Contains(want, n) || ok && (record.PathOnHost != "/dev/"+partition(disk, n) || record.Parent != "/dev/"+disk) {
								return false
							}
						}
						return true
					})
				}
			}
			run(t, "label: dos\n,4M\n,4M\n", "sfdisk", "-q", "/dev/"+disk)
			has(1, 2)
			if kind == "scsi" { // once: how they are made is the same to all disks
				run(t, ",4M\n", "sfdisk", "-q", "--append", "/dev/"+disk)
				has(1, 2, 3)
				run(t, "", "partx", "--delete", "--nr", "2", "/dev/"+disk)
				has(1, 3)
				run(t, "", "partx", "--add", "--nr", "2", "/dev/"+disk)
				has(1, 2, 3)
			}
			run(t, "", "sfdisk", "-q", "--delete", "/dev/"+disk)
			has()
			for _, c := range containers {
				if after := fmt.Sprint(c.dev(t), c.recorded(t)); after != before[c] {
					t.Errorf("before %s\nafter %s", before[c], after)
				}
			}
		})
	}
	for _, c := range containers {
		c.stop()
		text, err := os.ReadFile(rulesFile)
		if err != nil || strings.Contains(string(text), c.id[:8]) {
			t.Errorf("after the stop of %s: %v\n%s", c.id, err, text)
		}
	}
}

func TestSystemdHotplugPartitionsComeAndGo(t *testing.T) {
	partitionsComeAndGo(t, disks{
		"virtio": func(t *testing.T) string { return disk(t, "hot0") }, "nvme": nvme, "scsi": scsi, "loop": loop,
	})
	if failed := systemctl(t, "list-units", "--failed", "--plain", "--no-legend"); failed != "" {
		t.Errorf("failed units:\n%s", failed)
	}
}

// As where there is no systemd: no sandbox, and nobody to ask for a way out of it.
func TestHotplugUnderABareUdevd(t *testing.T) {
	bareUdevd(t)
	partitionsComeAndGo(t, disks{"scsi": scsi, "loop": loop})
}
