package scenario

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/sysctl"
)

func v1(*run) bool         { return !sandbox.Unified() }
func v2(*run) bool         { return sandbox.Unified() }
func limited(*run) bool    { return !noLimits() }
func hasUsers(r *run) bool { return r.mapped }
func noUsers(r *run) bool  { return !r.mapped }

const (
	fuse   = "device /dev/sub/fuse: "
	diskIs = "device /dev/disk: "
)

// mutations are what may become of a container that has one of everything.
func mutations() []mutation {
	differ := slices.Concat(nodeMutations, permissionMutations, goneMutations)
	if sandbox.Unified() { // which is all the same to the others
		return differ
	}
	return slices.Concat(differ, limitMutations, pathMutations, recordMutations, linkMutations, hostMutations)
}

// in makes a mutation of a script that is run inside as root.
func in(script string) func(*run) {
	return func(r *run) { r.t.Helper(); r.works(script) }
}

// renode puts another node in the place of one in the container.
func (r *run) renode(path string, mode, major, minor uint32) {
	r.t.Helper()
	check(r.t, os.Remove(r.inside()+path))
	check(r.t, unix.Mknod(r.inside()+path, mode, int(unix.Mkdev(major, minor))))
}

// node is where the host can change a node of the container: one that is bound there is
// read-only inside.
func (r *run) node(path string) string {
	r.t.Helper()
	path = r.inside() + path
	bound, err := filepath.Glob(filepath.Join(place.Master, r.id, "node-*"))
	check(r.t, err)
	for _, b := range bound {
		if same(r.t, b, path) {
			return b
		}
	}
	return path
}

var nodeMutations = []mutation{
	{name: "a node is gone", do: removes("/dev/sub/fuse"), want: []string{fuse + "node missing"}},
	{
		name: "a node has another number", where: noUsers, do: func(r *run) { r.renode("/dev/sub/fuse", unix.S_IFCHR|0o666, 10, 237) },
		want: []string{fuse + "node has another number"},
	},
	{
		name: "a node has another type", where: noUsers, do: func(r *run) { r.renode("/dev/disk", unix.S_IFCHR|0o660, r.disk.whole.major, r.disk.whole.minor) },
		want: []string{diskIs + "node has another number"},
	},
	{
		name: "a file is in a node's place", where: noUsers, do: func(r *run) { r.renode("/dev/sub/fuse", unix.S_IFREG|0o666, 0, 0) },
		want: []string{fuse + "node is another file"},
	},
	{name: "a node has another owner", do: func(r *run) { check(r.t, os.Lchown(r.node("/dev/disk"), 1234, -1)) }, want: []string{diskIs + "node has another owner"}},
	{name: "a node has another group", do: func(r *run) { check(r.t, os.Lchown(r.node("/dev/disk"), -1, 1234)) }, want: []string{diskIs + "node has another owner"}},
	{name: "a node has another mode", do: func(r *run) { check(r.t, os.Chmod(r.node("/dev/sub/fuse"), 0o600)) }, want: []string{fuse + "node has another mode"}},
	{name: "a disk's node is gone", do: removes("/dev/disk"), want: []string{diskIs + "node missing"}},
	{name: "a partition's node is gone", do: removes("/dev/disk1"), want: []string{"device /dev/disk1: node missing"}},
	{name: "a node's directory is called otherwise", do: in("mv /dev/sub /dev/sub2"), want: []string{fuse + "node missing"}, undo: in("umount /dev/sub2/fuse; rm -r /dev/sub2")},
	{name: "a bound node is unmounted", where: hasUsers, do: in("umount /dev/sub/fuse"), want: []string{fuse + "node is another file"}},
}

// pulled takes a device's node from the host, where no udevd tells of it; its number may be
// another's.
func pulled(r *run) { r.t.Helper(); check(r.t, os.Remove(r.disk.part.path)) }

func plugged(r *run) { r.t.Helper(); check(r.t, ensureNode(r.disk.part)) }

const partGone = "device /dev/disk1: device gone, not revoked"

var goneMutations = []mutation{
	{name: "a device is gone from the host", where: v1, do: pulled, want: []string{partGone, "permission b PART r: permission wider"}, undo: plugged},
	{name: "a device is gone from the host and its node from the container", where: v1, do: func(r *run) {
		pulled(r)
		removes("/dev/disk1")(r)
	}, want: []string{partGone, "permission b PART r: permission wider"}, undo: plugged},
	{name: "a device is gone from the host, of which a program says nothing", where: v2, do: pulled, want: []string{partGone}, undo: plugged},
	{name: "a device is gone from the host and its node from the container, of which a program says nothing", where: v2, do: func(r *run) {
		pulled(r)
		removes("/dev/disk1")(r)
	}, want: []string{partGone}, undo: plugged},
}

// rule writes a rule to a file of the container's device controller.
func rule(file, text string) func(*run) {
	return func(r *run) {
		r.t.Helper()
		check(r.t, os.WriteFile(filepath.Join("/sys/fs/cgroup/devices", sandbox.CgroupParent(), r.id, file), []byte(text), 0))
	}
}

func whole(r *run) node { return r.disk.whole }
func part(r *run) node  { return r.disk.part }

var permissionMutations = []mutation{
	{name: "a permission is gone", where: v1, do: rule("devices.deny", "c 10:229 rwm"), want: []string{fuse + "permission missing"}},
	{name: "a permission to write is gone", where: v1, do: rule("devices.deny", "c 10:229 w"), want: []string{fuse + "permission missing"}},
	{name: "a disk's permission is gone", where: v1, do: func(r *run) { rule("devices.deny", "b "+whole(r).String()+" rwm")(r) }, want: []string{diskIs + "permission missing"}},
	{
		name: "all permissions are set anew, as at a daemon-reload", where: v1,
		do: func(r *run) {
			for _, d := range []string{"c 10:229", "b " + whole(r).String(), "b " + part(r).String()} {
				rule("devices.deny", d+" rwm")(r)
			}
		},
		want: []string{fuse + "permission missing", diskIs + "permission missing", "device /dev/disk1: permission missing"},
	},
	{name: "a device more is allowed", where: v1, do: rule("devices.allow", "c 10:237 rwm"), want: []string{"permission c 10:237 rw: permission wider"}},
	{name: "all devices of a driver are allowed", where: v1, do: rule("devices.allow", "b 8:* r"), want: []string{"permission b 8:* r: permission wider"}},
	{name: "the program is another one, as after runc update", where: v2, do: func(r *run) { r.attachOther() }, want: []string{"permission device program: permission missing or wider"}},
	{name: "a program for everything", where: v2, do: func(r *run) { r.attachOther(cgroup.DeviceRule{Allow: true, Type: "a"}) }, want: []string{"permission device program: permission missing or wider"}},
}

// control writes a file of the container's I/O controller.
func control(file, value string) func(*run) {
	return func(r *run) {
		r.t.Helper()
		dir := filepath.Join("/sys/fs/cgroup/blkio", sandbox.CgroupParent(), r.id)
		check(r.t, os.WriteFile(filepath.Join(dir, "blkio.throttle."+file+"_device"), []byte(r.disk.whole.String()+" "+value), 0))
	}
}

var limitMutations = []mutation{
	{name: "a limit is gone", where: limited, do: control("read_bps", "0"), want: []string{"read bps DISK: limit missing"}},
	{name: "a limit of operations is gone", where: limited, do: control("write_iops", "0"), want: []string{"write iops DISK: limit missing"}},
	{name: "a limit is another", where: limited, do: control("write_bps", "4096"), want: []string{"write bps DISK: other limit"}},
	{name: "a limit of operations is another", where: limited, do: control("read_iops", "1"), want: []string{"read iops DISK: other limit"}},
}

var pathMutations = []mutation{
	{name: "a path is unmounted", do: in("umount /data"), want: []string{"path /data: mount missing"}},
	{name: "a file is unmounted", do: in("umount /etc/scenario.conf"), want: []string{"path /etc/scenario.conf: mount missing"}},
	{name: "a path is covered", do: in("mount -t tmpfs none /ro"), want: []string{"path /ro: mount covered"}, undo: in("umount /ro; umount /ro")},
	{name: "another tree is in a path's place", do: in("umount /data; mount -o bind /ro /data; mount -o bind /etc /data"), want: []string{"path /data: mount shows another tree"}, undo: in("umount /data; umount /data; umount /data")},
	{name: "a path can be written that is read-only", where: noUsers, do: in("mount -o remount,bind,rw /ro"), want: []string{"path /ro: mount writable"}},
	{name: "a path cannot be written that is read-write", do: in("mount -o remount,bind,ro /data"), want: []string{"path /data: mount read-only"}},
	{name: "a path's directory is called otherwise", do: in("mv /mnt/deep /mnt/deeper"), want: []string{"path /mnt/deep/again: mount covered"}, undo: in("umount /mnt/deeper/again; rm -r /mnt/deeper")},
	{
		name: "the host has unmounted a path on its way", do: func(r *run) {
			for _, dir := range []string{place.Master, place.Midpath} {
				list, err := filepath.Glob(filepath.Join(dir, r.id, "*"))
				check(r.t, err)
				for _, p := range list {
					if same(r.t, p, r.ro) {
						check(r.t, unix.Unmount(p, unix.MNT_DETACH))
					}
				}
			}
		}, want: []string{"path /ro: staging mount missing"},
	},
	{name: "a path receives nothing any more", do: in("mount --make-private /data"), want: []string{"path /data: mount cut off"}},
	{
		name: "the host hands nothing on to a path", do: func(r *run) {
			list, err := filepath.Glob(filepath.Join(place.Master, r.id, "*"))
			check(r.t, err)
			for _, p := range list {
				if same(r.t, p, r.file) {
					check(r.t, unix.Mount("", p, "", unix.MS_PRIVATE, ""))
				}
			}
		}, want: []string{"path /etc/scenario.conf: mount cut off"},
	},
	{
		name: "the host has another directory in a path's place", do: func(r *run) {
			check(r.t, os.Rename(r.ro, r.ro+".old"))
			check(r.t, os.Mkdir(r.ro, 0o755))
		}, want: []string{"path /ro: mount shows another tree"},
		undo: func(r *run) {
			check(r.t, os.Remove(r.ro))
			check(r.t, os.Rename(r.ro+".old", r.ro))
		},
	},
	{
		name: "the host has no path any more", do: func(r *run) { check(r.t, os.Rename(r.ro, r.ro+".old")) },
		want: []string{"path /ro: path missing on the host"},
		undo: func(r *run) {
			check(r.t, os.Remove(r.ro))
			check(r.t, os.Rename(r.ro+".old", r.ro))
		},
	},
}

// rerecord writes other records.
func rerecord(edit func(*recorded, *run)) func(*run) {
	return func(r *run) {
		r.t.Helper()
		w := r.records()
		edit(&w, r)
		r.record(w)
	}
}

// recordedAgain writes the records as they were.
func recordedAgain(r *run) { r.record(r.wanted) }

var recordMutations = []mutation{
	{
		name: "a device's record is gone", do: rerecord(func(w *recorded, _ *run) { w.Devices = w.Devices[1:] }),
		want: []string{"device /dev/fuse:/dev/sub/fuse:rw (10:229): granted, not recorded"}, undo: recordedAgain,
	},
	{
		name: "a path's record is gone", do: rerecord(func(w *recorded, _ *run) { w.Binds = w.Binds[:3] }),
		want: []string{"path FILE:/etc/scenario.conf:ro: granted, not recorded"}, undo: recordedAgain,
	},
	{
		name: "a device's recorded number is old", do: rerecord(func(w *recorded, _ *run) { w.Devices[0].Minor = 1 }),
		want: []string{fuse + "other number"},
	},
	{name: "the records are broken", do: func(r *run) { r.scribble("{") }, want: []string{"record RECORDS: record broken"}, undo: recordedAgain},
}

// scribble writes something into device_hook.json.
func (r *run) scribble(text string) {
	r.t.Helper()
	check(r.t, os.WriteFile(filepath.Join(r.bundle, "device_hook.json"), []byte(text), 0o600))
}

var hostMutations = []mutation{
	{name: "the netns is not pinned", do: func(r *run) { check(r.t, unix.Unmount(r.pin(), 0)) }, want: []string{"netns pin network namespace: netns pin missing"}},
	{
		name: "the pin's file is gone", do: func(r *run) {
			check(r.t, unix.Unmount(r.pin(), 0))
			check(r.t, os.Remove(r.pin()))
		}, want: []string{"netns pin network namespace: netns pin missing"},
	},
	{
		name: "another netns is pinned", do: func(r *run) {
			check(r.t, unix.Unmount(r.pin(), 0))
			check(r.t, unix.Mount("/proc/self/ns/net", r.pin(), "", unix.MS_BIND, ""))
		}, want: []string{"netns pin network namespace: other netns pin"},
	},
	{
		name: "udev has no rule", do: func(r *run) { check(r.t, os.Truncate(rulesFile, 0)) },
		want: []string{"udev rule /dev/disk: udev rule missing"},
	},
	{
		name: "udev has a rule of a disk too many", do: func(r *run) {
			text, err := os.ReadFile(rulesFile)
			check(r.t, err)
			more := bytes.ReplaceAll(text, []byte("/dev/disk "), []byte("/dev/other "))
			check(r.t, os.WriteFile(rulesFile, append(text, more...), 0o600))
		}, want: []string{"udev rule rules: udev rule left"},
	},
	{
		name: "a parameter has another value", where: hasUsers, do: func(r *run) { r.parameter("net.ipv4.ip_forward", "0") },
		want: []string{"sysctl net.ipv4.ip_forward: other value"},
	},
}

func (r *run) pin() string { return filepath.Join(place.Isulad.NetNS(), r.id) }

// parameter sets a parameter of the container's network.
func (r *run) parameter(key, value string) {
	r.t.Helper()
	check(r.t, sysctl.Set(r.pid(), int(idMaps[0].HostID), map[string]string{key: value}))
}

// attachOther replaces the container's device program, by one for these rules.
func (r *run) attachOther(rules ...cgroup.DeviceRule) {
	r.t.Helper()
	check(r.t, cgroup.SetDevices(filepath.Join("/sys/fs/cgroup", sandbox.CgroupParent(), r.id), rules))
}

// same tells whether both paths are one file.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	check(t, err)
	y, err := os.Stat(b)
	check(t, err)
	return os.SameFile(x, y)
}
