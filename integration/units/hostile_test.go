package units

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/resource"
)

// hostile are what a container without any capability can do above what it was
// given at /dev/a/thing, dir being its /dev.
var hostile = []struct {
	name string
	do   func(t *testing.T, dir string)
}{
	{"nothing", func(*testing.T, string) {}},
	{"the folder above is renamed", func(t *testing.T, dir string) { must(t, os.Rename(dir+"/a", dir+"/z")) }},
	{"it is a link to a name that is too long", func(t *testing.T, dir string) {
		must(t, os.Rename(dir+"/a", dir+"/z"))
		must(t, os.Symlink(strings.Repeat("n", 300), dir+"/a"))
	}},
	{"it is a link to itself", func(t *testing.T, dir string) {
		must(t, os.Rename(dir+"/a", dir+"/z"))
		must(t, os.Symlink("a", dir+"/a"))
	}},
	{"it is a file", func(t *testing.T, dir string) {
		must(t, os.Rename(dir+"/a", dir+"/z"))
		write(t, dir+"/a", "its own")
	}},
	{"it is another folder with the same name in it", func(t *testing.T, dir string) {
		must(t, os.Rename(dir+"/a", dir+"/z"))
		write(t, dir+"/a/thing", "its own")
	}},
}

// plan does one change to what is recorded of devices, as a command does.
func (b *deviceFixture) plan(plan func(*resource.Edit[devices.Device])) *resource.Change {
	b.t.Helper()
	doc, err := config.Load(b.dir)
	must(b.t, err)
	change := resource.NewChange(doc, resource.Skip)
	edit, err := devices.Kind.Edit(change)
	must(b.t, err)
	plan(edit)
	must(b.t, change.Do(b.t.Context(), b.target))
	return change
}

func TestNothingThatAContainerDoesKeepsAPermission(t *testing.T) {
	for _, c := range hostile {
		for what, options := range map[string][]option{"as the host's root": nil, "in a user namespace": {userns}, "after pivot_root": {pivoted}} {
			t.Run(c.name+" "+what, func(t *testing.T) {
				b := newDeviceFixture(t, map[string]any{}, options...)
				b.keepLedger(t, b.target)
				d := fuse(t, "/dev/a/thing")
				b.plan(func(e *resource.Edit[devices.Device]) { e.Add(d) })
				if !strings.Contains(b.allowed(t), fuseRule) {
					t.Fatal("it was not given")
				}
				if has(options, userns) {
					must(t, asMappedRoot(func() error { c.do(t, b.root+"/dev"); return nil }))
				} else {
					c.do(t, b.root+"/dev")
				}
				change := b.plan(func(e *resource.Edit[devices.Device]) { e.Remove(d) })
				if err := change.Tasks[0].Err; err != nil || b.records() != "" {
					t.Errorf("%v, recorded is %q", err, b.records())
				}
				if rules := b.allowed(t); strings.Contains(rules, "10:229") {
					t.Errorf("the container may use %q", rules)
				}
				if mounts := b.mountsOf(t); strings.Contains(mounts, "node-") {
					t.Errorf("left is\n%s", mounts)
				}
				if grants := b.target.Ledger.Grants(devices.Kind.Name, false); len(grants) > 0 {
					t.Errorf("the ledger has %s", grants[0].Record)
				}
				if text, err := os.ReadFile(b.root + "/dev/a/thing"); err == nil && string(text) != "its own" {
					t.Errorf("in its place is %q", text)
				}
				if told, tooLong := change.Tasks[0].Warning, strings.Contains(c.name, "too long"); tooLong != (told != nil && strings.Contains(told.Error(), "/dev/a/thing")) {
					t.Errorf("the warning is %v", told)
				}
			})
		}
	}
}

func TestADiskThatIsPulledTakesThePermissionWithIt(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			p := plug(t)
			p.cut(t, 1)
			disk := p.record("/dev/"+p.name, "/dev/a/thing", "rw")
			b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{disk}})
			b.keepLedger(t, b.target)
			b.start()
			b.do("/dev/a/thing", p.part(1))
			if rules := b.allowed(t); strings.Count(rules, "b ") != 2 {
				t.Fatalf("it may use %q", rules)
			}
			c.do(t, b.root+"/dev")
			p.uncut(t, 1)
			b.do("/dev/a/thing", p.part(1))
			if rules := b.allowed(t); strings.Count(rules, "b ") != 1 {
				t.Errorf("without the partition it may use %q", rules)
			}
			must(t, os.Remove("/dev/"+p.name))
			defer func() { must(t, sandbox.Mknod("/dev/"+p.name, unix.S_IFBLK|0o660, 7, uint32(p.minor), 0, 6)) }()
			b.do("/dev/a/thing", p.name)
			if rules := b.allowed(t); strings.Contains(rules, "b ") {
				t.Errorf("without the disk it may use %q", rules)
			}
		})
	}
}

// A node that the container made anew, or that is not the one of the ledger, is
// its own.
func TestOnlyTheNodeOfTheLedgerIsRemoved(t *testing.T) {
	b := newDeviceFixture(t, map[string]any{})
	b.keepLedger(t, b.target)
	d := fuse(t, "/dev/node")
	b.plan(func(e *resource.Edit[devices.Device]) { e.Add(d) })
	must(t, sandbox.Mknod(b.root+"/dev/new", unix.S_IFCHR|0o600, 10, 229, 0, 0))
	must(t, os.Rename(b.root+"/dev/new", b.root+"/dev/node"))
	b.plan(func(e *resource.Edit[devices.Device]) { e.Remove(d) })
	node(t, b.root+"/dev/node", "c 0600 0:0 10:229")
}

// Between the intent and its completion a command may be killed.
func TestADeviceOfAKilledCommandIsRemoved(t *testing.T) {
	for what, options := range map[string][]option{"a node": nil, "a bound node": {userns}} {
		t.Run(what, func(t *testing.T) {
			b := newDeviceFixture(t, map[string]any{}, options...)
			d := fuse(t, "/dev/node")
			must(t, addDevice(t, b.target, d)) // nobody completed its entry
			b.keepLedger(t, b.target)
			must(t, b.target.Ledger.Intend(devices.Kind.Name, nil, d))
			if !b.target.Ledger.Pending(devices.Kind.Name, d) {
				t.Error("the ledger does not say so")
			}
			b.plan(func(e *resource.Edit[devices.Device]) { e.Add(d) })
			if b.target.Ledger.Pending(devices.Kind.Name, d) {
				t.Error("it is not complete when it is repeated")
			}
			b.plan(func(e *resource.Edit[devices.Device]) { e.Remove(d) })
			gone(t, b.root+"/dev/node")
			if rules := b.allowed(t); strings.Contains(rules, "10:229") {
				t.Errorf("it may use %q", rules)
			}
		})
	}
}

// A command that is killed when it has recorded other numbers has not denied those of
// before.
func TestThePermissionOfAKilledUpdateGoesWithTheNextChange(t *testing.T) {
	b := newDeviceFixture(t, map[string]any{})
	b.keepLedger(t, b.target)
	d := fuse(t, "/dev/node")
	b.plan(func(e *resource.Edit[devices.Device]) { e.Add(d) })
	now := d
	now.Minor = 237
	write(t, b.dir+"/"+config.Name, asJSON(t, map[string]any{config.Devices: []devices.Device{now}}))
	b.plan(func(e *resource.Edit[devices.Device]) { e.Update(now, now) })
	if rules := b.allowed(t); strings.Contains(rules, "10:229") {
		t.Errorf("the container may use %q", rules)
	}
}

// A start takes a device whose type has changed for what it is now, and leaves its record.
func TestADeviceOfAnotherTypeThanRecordedKeepsItsPermission(t *testing.T) {
	d := fuse(t, "/dev/node")
	recorded := d
	recorded.Type = "b"
	b := newDeviceFixture(t, map[string]any{config.Devices: []devices.Device{recorded}})
	b.keepLedger(t, b.target)
	doc, err := config.Load(b.dir)
	must(t, err)
	plan, err := devices.Kind.Restore(doc)
	must(t, err)
	must(t, plan.Do(t.Context(), b.target, func(err error) { t.Error(err) }))
	must(t, doc.Save())
	other := devices.Device{Type: "c", Major: 1, Minor: 7, PathOnHost: "/dev/full", PathInContainer: "/dev/other", CgroupPermissions: "r"}
	b.plan(func(e *resource.Edit[devices.Device]) { e.Add(other) })
	if rules := b.allowed(t); !strings.Contains(rules, fuseRule) {
		t.Errorf("the container may use %q", rules)
	}
}
