package units

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/resource"
)

func removeDevice(t testing.TB, target *resource.Target, d devices.Device, others ...devices.Device) {
	t.Helper()
	must(t, devices.Kind.Remove(t.Context(), target, d))
	must(t, devices.Kind.Reconcile(t.Context(), target, others, []devices.Device{d}))
}

func TestADeviceThatIsTakenAwayIsGone(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		h := hold(t, nil, options...)
		target := h.target(t, hostOwner)
		d := fuse(t, "/dev/a/node")
		must(t, os.Mkdir(h.root+"/dev/a", 0o755))
		before, rules := tree(t, h.root+"/dev"), h.allowed(t)
		must(t, addDevice(t, target, d))
		for range 2 { // what is gone already is fine
			removeDevice(t, target, d)
			if after := tree(t, h.root+"/dev"); after != before {
				t.Errorf("/dev was\n%s\nand is\n%s", before, after)
			}
			if now := h.allowed(t); now != rules {
				t.Errorf("the container could use\n%sand can use\n%s", rules, now)
			}
		}
		node(t, d.PathOnHost, fuseNode)
	})
}

func TestRemovingADeviceLeavesWhatIsNotThatDevice(t *testing.T) {
	out, untouched := victim(t)
	for what, make := range map[string]func(path string) error{
		"nothing":              func(string) error { return nil },
		"a file":               func(p string) error { return os.WriteFile(p, []byte("image"), 0o600) },
		"an empty file":        func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"an empty directory":   func(p string) error { return os.Mkdir(p, 0o700) },
		"another device":       func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 3, 0, 0) },
		"a block device":       func(p string) error { return sandbox.Mknod(p, unix.S_IFBLK|0o600, 10, 229, 0, 0) },
		"a link to a node":     func(p string) error { return os.Symlink(out+"/node", p) },
		"a link to the device": func(p string) error { return os.Symlink("/dev/the", p) },
		"a link to itself":     func(p string) error { return os.Symlink("node", p) },
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, nil)
			must(t, sandbox.Mknod(h.root+"/dev/the", unix.S_IFCHR|0o600, 10, 229, 0, 0))
			must(t, make(h.root+"/dev/node"))
			before := tree(t, h.root+"/dev")
			removeDevice(t, h.target(t, hostOwner), fuse(t, "/dev/node"))
			if after := tree(t, h.root+"/dev"); after != before {
				t.Errorf("%s: /dev was\n%s\nand is\n%s", what, before, after)
			}
		})
	}
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	must(t, os.Symlink(out, h.root+"/dev/out"))
	must(t, os.Symlink("loop", h.root+"/dev/loop"))
	write(t, h.root+"/dev/file", "image")
	for _, p := range []string{"/dev/out/node", "/dev/loop/node", "/dev/file/node", "/dev/no/node", "/", "/dev/../.."} {
		d := devices.Device{Type: "c", Major: 1, Minor: 9, PathInContainer: p}
		if err := devices.Kind.Remove(t.Context(), target, d); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	untouched()
}

func TestTheHostsNodesAreNotRemoved(t *testing.T) {
	h := hold(t, nil, imageDev)
	target := h.target(t, hostOwner)
	must(t, target.NS.Do(func() error { return unix.Mount("/dev", h.image+"/dev", "", unix.MS_BIND, "") }))
	before, err := sandbox.Lstat("/dev/fuse")
	must(t, err)
	removeDevice(t, target, devices.Device{Type: "c", Major: 10, Minor: 229, PathInContainer: "/dev/fuse"})
	node(t, "/dev/fuse", before.String())
	must(t, target.NS.Do(func() error { return unix.Unmount(h.image+"/dev", unix.MNT_DETACH) }))

	// So is one in a directory of the host that the container has as its own.
	own := fuse(t, "/mnt/node")
	must(t, target.NS.Do(func() error { return unix.Mount(filepath.Dir(own.PathOnHost), h.image+"/mnt", "", unix.MS_BIND, "") }))
	must(t, addDevice(t, target, own))
	removeDevice(t, target, own)
	node(t, own.PathOnHost, fuseNode)

	// A node that somebody else has bound stays bound.
	d := fuse(t, "/dev/bound")
	write(t, h.root+"/dev/bound", "")
	must(t, target.NS.Do(func() error { return unix.Mount(d.PathOnHost, h.image+"/dev/bound", "", unix.MS_BIND, "") }))
	removeDevice(t, target, d)
	node(t, h.root+"/dev/bound", fuseNode)
	node(t, d.PathOnHost, fuseNode)
}

// What the container had before, or has by another record, is not taken away.
func TestAPermissionGoesAsFarAsNothingElseGivesIt(t *testing.T) {
	allow := func(major, minor int64, access string) cgroup.DeviceRule {
		return cgroup.DeviceRule{Allow: true, Type: "c", Major: major, Minor: minor, Access: access}
	}
	deny := func(major, minor int64, access string) cgroup.DeviceRule {
		return cgroup.DeviceRule{Type: "c", Major: major, Minor: minor, Access: access}
	}
	all := cgroup.DeviceRule{Type: "a", Major: cgroup.Any, Minor: cgroup.Any, Access: "rwm"}
	null := devices.Device{Type: "c", Major: 1, Minor: 3}
	fuse := devices.Device{Type: "c", Major: 10, Minor: 229}
	with := func(d devices.Device, permissions string) devices.Device {
		d.CgroupPermissions = permissions
		return d
	}
	for _, c := range []struct {
		what   string
		gone   devices.Device
		spec   []cgroup.DeviceRule
		others []devices.Device
		want   string // what remains of the exact rule; "": nothing
	}{
		{"alone", fuse, nil, nil, ""},
		{"by the specification", fuse, []cgroup.DeviceRule{all, allow(10, 229, "rwm")}, nil, "c 10:229 rwm"},
		{"reading by the specification", fuse, []cgroup.DeviceRule{all, allow(10, 229, "r")}, nil, "c 10:229 r"},
		{"the specification takes some back", fuse, []cgroup.DeviceRule{all, allow(10, 229, "rwm"), deny(10, 229, "w")}, nil, "c 10:229 rm"},
		{"another device in the specification", fuse, []cgroup.DeviceRule{all, allow(10, 228, "rwm")}, nil, ""},
		{"a rule for more devices has its own line", fuse, []cgroup.DeviceRule{all, allow(10, cgroup.Any, "rwm")}, nil, ""},
		{"by another record", fuse, nil, []devices.Device{with(fuse, "w")}, "c 10:229 w"},
		{"by all of another record", fuse, nil, []devices.Device{fuse}, "c 10:229 rwm"},
		{"by both", fuse, []cgroup.DeviceRule{all, allow(10, 229, "r")}, []devices.Device{with(fuse, "wm"), null}, "c 10:229 rwm"},
		{"only what it gave", with(fuse, "w"), nil, nil, "c 10:229 rm"},
		{"by any runtime, where the specification is unknown", null, nil, nil, "c 1:3 rwm"},
		{"by runc, whatever the specification denies", null, cgroup.RuncRules([]cgroup.DeviceRule{all, deny(1, 3, "w")}, nil), nil, "c 1:3 rwm"},
		{"by iSulad's specification for lcr, which denies some", null, []cgroup.DeviceRule{all, allow(1, 3, "rwm"), deny(1, 3, "w")}, nil, "c 1:3 rm"},
		{"by the specification, before it denies everything", fuse, []cgroup.DeviceRule{allow(10, 229, "rwm"), all}, nil, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := hold(t, nil)
			target := h.target(t, hostOwner)
			target.DeviceRules = c.spec
			must(t, os.WriteFile(h.cgroupDir()+"/devices.allow", []byte("c 10:229 rwm"), 0))
			must(t, devices.Kind.Reconcile(t.Context(), target, c.others, []devices.Device{c.gone}))
			number := "c 10:229"
			if c.gone.Major == 1 {
				number = "c 1:3"
			}
			got := ""
			for line := range strings.Lines(h.allowed(t)) {
				if strings.HasPrefix(line, number) {
					got = strings.TrimSpace(line)
				}
			}
			if got != c.want {
				t.Errorf("%s: %q remains, want %q", c.what, got, c.want)
			}
			if !strings.Contains(h.allowed(t), "c *:* m") {
				t.Errorf("%s: nodes of other devices cannot be made any more", c.what)
			}
		})
	}
}

func TestAContainerThatMayUseEverythingStillMay(t *testing.T) {
	h := hold(t, nil)
	must(t, os.WriteFile(h.cgroupDir()+"/devices.allow", []byte("a"), 0))
	target := h.target(t, hostOwner)
	d := fuse(t, "/dev/node")
	must(t, addDevice(t, target, d))
	removeDevice(t, target, d)
	if got := h.allowed(t); got != "a *:* rwm\n" {
		t.Errorf("it may use %q", got)
	}
	gone(t, h.root+"/dev/node")
}

// The specification allows everything but a device, which is lent for a while.
func TestADeviceThatIsTakenOutOfEverythingGoesBackThere(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	target.DeviceRules = []cgroup.DeviceRule{{Allow: true, Type: "a"}, {Type: "c", Major: 10, Minor: 229, Access: "rwm"}}
	must(t, os.WriteFile(h.cgroupDir()+"/devices.allow", []byte("a"), 0))
	must(t, os.WriteFile(h.cgroupDir()+"/devices.deny", []byte(fuseRule), 0))
	d, other := fuse(t, "/dev/node"), devices.Device{Type: "c", Major: 1, Minor: 5, PathInContainer: "/dev/other"}
	path := filepath.Join(t.TempDir(), "node")
	must(t, sandbox.Mknod(path, unix.S_IFCHR|0o600, 10, 229, 0, 0))
	opens := func() error {
		return exec.Command("/bin/sh", "-c", `echo 0 >"$1/cgroup.procs" && : <"$2"`, "sh", h.cgroupDir(), path).Run()
	}
	if opens() == nil {
		t.Fatal("a device that is denied can be opened")
	}
	must(t, addDevice(t, target, d))
	must(t, opens())
	removeDevice(t, target, d)
	removeDevice(t, target, other)
	if opens() == nil {
		t.Error("it can still be opened")
	}
	must(t, os.Remove(path))
	must(t, sandbox.Mknod(path, unix.S_IFCHR|0o600, 1, 5, 0, 0))
	if err := opens(); err != nil {
		t.Errorf("another device cannot be opened any more: %v", err)
	}
}

func TestCgroupsBelowTheContainersGetThePermissionToo(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	below := []string{h.cgroupDir() + "/system.slice", h.cgroupDir() + "/system.slice/a.service", h.cgroupDir() + "/z"}
	for _, dir := range below {
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { _ = os.Remove(dir) })
	}
	d := fuse(t, "/dev/node")
	must(t, addDevice(t, target, d))
	for _, dir := range below {
		if rules := read(t, dir+"/devices.list"); !strings.Contains(rules, fuseRule) {
			t.Errorf("%s may use %q", dir, rules)
		}
	}
	removeDevice(t, target, d)
	for _, dir := range below {
		if rules := read(t, dir+"/devices.list"); strings.Contains(rules, "10:229") {
			t.Errorf("%s may still use %q", dir, rules)
		}
	}
}

// The container's own cgroup has the rule when that for one below it fails.
func TestAGrantThatFailsBelowLeavesThePermissionsAsTheyWere(t *testing.T) {
	for name, c := range map[string]struct {
		rules []string // beside the holder's
		asked string
		had   bool // of another record: it stays usable
	}{
		"of a device that it had not":     {nil, "rw", false},
		"of all that can be asked for":    {nil, "", false},
		"of one letter more":              {[]string{"c 10:229 r"}, "rw", true},
		"of what it had":                  {[]string{"c 10:229 rw"}, "rw", true},
		"of what it had by all numbers":   {[]string{"c *:* rwm"}, "rw", true},
		"of what it had by a minor":       {[]string{"c 10:* r"}, "rw", true},
		"in a container that may use all": {[]string{"a"}, "rw", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, nil)
			target := h.target(t, hostOwner)
			for _, r := range c.rules {
				must(t, os.WriteFile(h.cgroupDir()+"/devices.allow", []byte(r), 0))
			}
			// The first below takes the rule; that of the second cannot be written.
			var lists []func() string
			for _, name := range []string{"a", "b"} {
				dir := h.cgroupDir() + "/" + name
				must(t, os.Mkdir(dir, 0o755))
				t.Cleanup(func() { _ = os.Remove(dir) })
				lists = append(lists, func() string { return read(t, dir+"/devices.list") })
			}
			full := h.cgroupDir() + "/b/devices.allow"
			must(t, unix.Mount("/dev/full", full, "", unix.MS_BIND, ""))
			t.Cleanup(func() { must(t, unix.Unmount(full, unix.MNT_DETACH)) })
			d := fuse(t, "/dev/node")
			d.CgroupPermissions = c.asked
			rules, below := h.allowed(t), lists[0]()+lists[1]()
			if err := addDevice(t, target, d); !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("got %v, want ENOSPC", err)
			}
			gone(t, h.root+"/dev/node")
			if now := h.allowed(t); now != rules {
				t.Errorf("the container could use\n%sand can use\n%s", rules, now)
			}
			if now := lists[0]() + lists[1](); now != below && !c.had {
				t.Errorf("its cgroups could use\n%sand can use\n%s", below, now)
			}
		})
	}
}

// Cgroups that cannot all be listed cannot all have the rule.
func TestAGrantWhoseCgroupsCannotBeListedIsNone(t *testing.T) {
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	name := strings.Repeat("x", 200)
	at, err := unix.Open(h.cgroupDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(at) })
	for range 25 { // longer than any path
		above := at
		must(t, unix.Mkdirat(above, name, 0o755))
		t.Cleanup(func() { must(t, unix.Unlinkat(above, name, unix.AT_REMOVEDIR)) })
		at, err = unix.Openat(above, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		fd := at
		t.Cleanup(func() { unix.Close(fd) })
	}
	rules := h.allowed(t)
	if err := addDevice(t, target, fuse(t, "/dev/node")); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("got %v, want ENAMETOOLONG", err)
	}
	gone(t, h.root+"/dev/node")
	if now := h.allowed(t); now != rules {
		t.Errorf("the container could use\n%sand can use\n%s", rules, now)
	}
}

func TestWithoutForceNothingIsReplaced(t *testing.T) {
	for what, make := range map[string]func(path string) error{
		"a file":             func(p string) error { return os.WriteFile(p, []byte("image"), 0o600) },
		"an empty file":      func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"an empty directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"another device":     func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 3, 0, 0) },
		"a link":             func(p string) error { return os.Symlink("..", p) },
	} {
		t.Run(what, func(t *testing.T) {
			for _, options := range [][]option{nil, {userns}} {
				h := hold(t, nil, options...)
				target := h.target(t, hostOwner)
				if target.UserNS = has(options, userns); target.UserNS {
					target.Owner = resource.MappedRoot{UID: mappedRoot, GID: mappedRoot}
					must(t, share(t, target))
				}
				d := fuse(t, "/dev/node")
				switch {
				case !target.UserNS:
					must(t, make(h.root+"/dev/node"))
				case what == "another device":
					continue // nobody can make one there
				default:
					must(t, asMappedRoot(func() error { return make(h.root + "/dev/node") }))
				}
				before, rules := tree(t, h.root+"/dev"), h.allowed(t)
				var careful devices.Adder
				if err := careful.Kind().Apply(t.Context(), target, d); err == nil || !strings.Contains(err.Error(), "/dev/node: the path already exists") {
					t.Errorf("%s: %v", what, err)
				}
				if after := tree(t, h.root+"/dev"); after != before || h.allowed(t) != rules || careful.Replaced(d) {
					t.Errorf("%s: /dev was\n%s\nand is\n%s", what, before, after)
				}
				force := devices.Adder{Force: true}
				must(t, force.Kind().Apply(t.Context(), target, d))
				must(t, devices.Kind.Verify(t.Context(), target, d))
				if !force.Replaced(d) && !(target.UserNS && what == "an empty file") {
					t.Errorf("%s: replaced, and not said so", what)
				}
			}
		})
	}
}

// asMappedRoot makes files as the root of a user namespace: on its file systems
// ours has no number.
func asMappedRoot(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _ = unix.SetfsgidRetGid(mappedRoot)
	_, _ = unix.SetfsuidRetUid(mappedRoot)
	err := do()
	_, _ = unix.SetfsuidRetUid(0)
	_, _ = unix.SetfsgidRetGid(0)
	return err
}

// A node does not work on a file system of a user namespace; one is bound there.
func TestABoundNodeComesOnceAndGoesWithItsFile(t *testing.T) {
	h := hold(t, nil, userns)
	target := h.target(t, resource.MappedRoot{UID: mappedRoot, GID: mappedRoot})
	target.UserNS = true
	must(t, share(t, target))
	before, there := tree(t, h.root+"/dev"), h.mountsOf(t)
	d := fuse(t, "/dev/node")
	for _, force := range []bool{true, false} { // again: it is adopted
		adder := devices.Adder{Force: force}
		must(t, adder.Kind().Apply(t.Context(), target, d))
	}
	node(t, h.root+"/dev/node", "c 0640 100000:100000 10:229")
	if got := strings.Count(h.mountsOf(t), "/dev/node "); got != 1 {
		t.Errorf("%d mounts on it:\n%s", got, h.mountsOf(t))
	}
	for range 2 {
		removeDevice(t, target, d)
		if after, mounts := tree(t, h.root+"/dev"), h.mountsOf(t); after != before || mounts != there {
			t.Errorf("left in the container:\n%s\n%s", after, mounts)
		}
		if made, err := filepath.Glob("/.sharedpath/master/" + h.id + "/node-*"); err != nil || len(made) != 0 {
			t.Errorf("left on the host: %q, %v", made, err)
		}
	}
	// The container has put a file of its own there: that stays.
	must(t, addDevice(t, target, d))
	must(t, target.NS.Do(func() error { return unix.Unmount(h.image+"/dev/node", unix.MNT_DETACH) }))
	must(t, os.WriteFile(h.root+"/dev/node", []byte("its own"), 0o600))
	removeDevice(t, target, d)
	if got := read(t, h.root+"/dev/node"); got != "its own" {
		t.Errorf("its own file holds %q", got)
	}
}
