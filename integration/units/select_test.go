package units

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// usbHost is a host's USB as sysfs and udevd show it. The test's own kernel need have none.
type usbHost struct {
	t    testing.TB
	hub  string
	next int // the kernel numbers what is plugged in
	has  map[string][]string
}

const sysChar = "/sys/dev/char"

func newUSB(t testing.TB) *usbHost {
	t.Helper()
	const place = "/sys/devices/tracepoint" // a place in sysfs, that is needed for nothing else
	links, err := os.ReadDir(sysChar)
	must(t, err)
	targets := map[string]string{}
	for _, l := range links {
		to, err := os.Readlink(filepath.Join(sysChar, l.Name()))
		must(t, err)
		targets[l.Name()] = to
	}
	for _, dir := range []string{place, sysChar} {
		must(t, unix.Mount("usb", dir, "tmpfs", 0, ""))
		t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	}
	for name, to := range targets {
		must(t, os.Symlink(to, filepath.Join(sysChar, name)))
	}
	u := &usbHost{t: t, hub: place + "/usb1/1-1", has: map[string][]string{}}
	u.attributes(u.hub, "idVendor", "1d6b", "idProduct", "0002")
	t.Cleanup(func() {
		for port := range u.has {
			u.pull(port)
		}
		must(t, os.RemoveAll("/dev/bus"))
	})
	return u
}

func (u *usbHost) attributes(dir string, pairs ...string) {
	u.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		write(u.t, filepath.Join(dir, pairs[i]), pairs[i+1]+"\n")
	}
}

// node has the kernel make a node of what is in dir.
func (u *usbHost) node(port, dir, name string, major, minor int) {
	u.t.Helper()
	numbers := fmt.Sprintf("%d:%d", major, minor)
	u.attributes(dir, "dev", numbers, "uevent", fmt.Sprintf("MAJOR=%d\nMINOR=%d\nDEVNAME=%s", major, minor, name))
	link := filepath.Join(sysChar, numbers)
	must(u.t, os.Symlink("../.."+strings.TrimPrefix(dir, "/sys"), link))
	must(u.t, os.MkdirAll(filepath.Dir("/dev/"+name), 0o755))
	must(u.t, sandbox.Mknod("/dev/"+name, unix.S_IFCHR|0o660, uint32(major), uint32(minor), 0, 20))
	u.has[port] = append(u.has[port], "/dev/"+name, link)
}

// plug plugs a serial adapter into a port of the hub, as ttyUSB<n>, and returns its own node.
func (u *usbHost) plug(port, vendor, product, serial string, n int) (own string) {
	u.t.Helper()
	u.next++
	dir := u.hub + "/" + port
	u.attributes(dir, "idVendor", vendor, "idProduct", product)
	if serial != "" {
		u.attributes(dir, "serial", serial)
	}
	own = fmt.Sprintf("bus/usb/001/%03d", u.next)
	u.node(port, dir, own, 189, u.next-1)
	tty := fmt.Sprintf("ttyUSB%d", n)
	u.node(port, dir+"/"+port+":1.0/"+tty+"/tty/"+tty, tty, 188, n)
	return "/dev/" + own
}

func (u *usbHost) pull(port string) {
	u.t.Helper()
	for _, path := range u.has[port] {
		must(u.t, os.Remove(path))
	}
	delete(u.has, port)
	must(u.t, os.RemoveAll(u.hub+"/"+port))
}

// ttys requires of each adapter that the container has it by this path and may use it, or not.
func (b *deviceFixture) ttys(want map[string]int) {
	b.t.Helper()
	for n := range 4 {
		at := ""
		for path, number := range want {
			if number == n {
				at = path
			}
		}
		if may := strings.Contains(b.allowed(b.t), fmt.Sprintf("c 188:%d ", n)); may != (at != "") {
			b.t.Errorf("it may use ttyUSB%d: %v, want it to have %v", n, may, want)
		}
		var st unix.Stat_t
		if err := unix.Lstat(b.root+at, &st); at != "" && (err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || int(unix.Minor(st.Rdev)) != n) {
			b.t.Errorf("it has not ttyUSB%d at %s: %v", n, at, err)
		}
	}
}

// selected are the records of the nodes in the file, in short.
func (b *deviceFixture) selected() string {
	b.t.Helper()
	var s []string
	for _, d := range b.recorded() {
		if d.Select != "" {
			s = append(s, fmt.Sprintf("%s=%s", d.PathInContainer, d.PathOnHost))
		}
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

func selectors(list ...string) map[string]any {
	return map[string]any{config.Selectors: list}
}

func TestASelectorMeansTheNodesOfItsDeviceUnderWhateverNumber(t *testing.T) {
	either(t, func(t *testing.T, options ...option) {
		host := newUSB(t)
		b := newDeviceFixture(t, selectors("usb:0403:6001:A"), options...)
		event := func(name string) { b.t.Helper(); b.do("usb:0403:6001:A", name) }
		b.start()
		b.ttys(nil) // it is away, which is no error
		host.plug("1-1.1", "0403", "6001", "B", 0)
		event("ttyUSB0")
		b.ttys(nil)
		own := host.plug("1-1.2", "0403", "6001", "A", 1)
		for range 2 { // an event that comes twice
			event("ttyUSB1")
			b.ttys(map[string]int{"/dev/ttyUSB1": 1})
		}
		if has(options, userns) {
			node(t, b.root+own, "c 0660 100000:100000 189:1")
		} else {
			node(t, b.root+own, "c 0660 0:20 189:1")
		}
		if got, want := b.selected(), "/dev/bus/usb/001/002=/dev/bus/usb/001/002 /dev/ttyUSB1=/dev/ttyUSB1"; got != want {
			t.Errorf("recorded %s, want %s", got, want)
		}
		if got := read(t, filepath.Join(b.dir, config.Name)); strings.Contains(got, `"deviceToAdd"`) {
			t.Errorf("v0.9 finds a device in %s", got)
		}
		host.pull("1-1.2")
		event("ttyUSB1")
		b.ttys(nil)
		// Another takes its number, which is not given, by whatever event.
		host.pull("1-1.1")
		host.plug("1-1.2", "0403", "6001", "B", 1)
		event("ttyUSB1")
		b.do("", "")
		b.ttys(nil)
		host.plug("1-1.1", "0403", "6001", "A", 0)
		event("ttyUSB0")
		b.ttys(map[string]int{"/dev/ttyUSB0": 0})
		gone(t, b.root+"/dev/ttyUSB1")
		gone(t, b.root+own)
		// Swapped without a moment in which it is away.
		host.pull("1-1.1")
		host.pull("1-1.2")
		host.plug("1-1.1", "0403", "6001", "A", 1)
		host.plug("1-1.2", "0403", "6001", "B", 0)
		event("ttyUSB0")
		b.ttys(map[string]int{"/dev/ttyUSB1": 1})
	})
}

func TestAStartGivesWhatASelectorMeansThen(t *testing.T) {
	host := newUSB(t)
	h, b := withRules(t, asJSON(t, selectors("usb:0403:6001:/dev/modem")))
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
	start := func(want map[string]int) {
		t.Helper()
		for _, stage := range []string{"prestart", "poststop"} {
			if o := b.hook(t, stage); o.code != 0 {
				t.Fatalf("%s: %d, %s", stage, o.code, o.said)
			}
			if stage == "prestart" {
				box.ttys(want)
			}
		}
	}
	start(nil)
	host.plug("1-1.1", "0403", "6001", "", 2)
	start(map[string]int{"/dev/modem": 2})
	host.pull("1-1.1")
	host.plug("1-1.1", "0403", "6002", "", 2) // another kind, with its number
	start(nil)
}

// Who plugs something in must not keep a container from starting.
func TestAStartGoesOnWithoutASelectedDeviceThatItCannotBeGiven(t *testing.T) {
	host := newUSB(t)
	host.plug("1-1.1", "0403", "6001", "", 2)
	h := hold(t, func(image string) { write(t, image+"/etc/file", "image") }, pivoted)
	b := inBundle(t, h, asJSON(t, selectors("usb:0403:6001:/etc/file/modem")))
	fakeProgram(t, "udevadm", "")
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	if o := b.hook(t, "prestart"); o.code != 0 {
		t.Errorf("%d, %s, want the start to go on", o.code, o.said)
	}
	if o := b.hook(t, "poststop"); o.code != 0 {
		t.Errorf("poststop: %d, %s", o.code, o.said)
	}
}

func TestUdevIsAskedToTellOfASelectorsDevices(t *testing.T) {
	host := newUSB(t)
	b := newDeviceFixture(t, selectors("usb:0403:6001:A", "usb:0000:0abc"), pivoted)
	doc, err := config.Load(b.dir)
	must(t, err)
	follow := func() string {
		t.Helper()
		list, err := devices.Follow(doc, nil)
		must(t, err)
		var s strings.Builder
		for _, f := range list {
			fmt.Fprintln(&s, f.Path, f.Away)
			fmt.Fprintln(&s, strings.Join(f.Matches, "\n"))
		}
		return s.String()
	}
	const want = `usb:0403:6001:A false
ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6001", ATTRS{serial}=="A", ENV{DEVNAME}=="?*",ACTION=="add"
ENV{PRODUCT}=="403/6001/*", ENV{DEVTYPE}=="usb_interface",ACTION=="unbind"
ENV{PRODUCT}=="403/6001/*", ENV{DEVTYPE}=="usb_device",ACTION=="remove"
SUBSYSTEM=="block", ENV{ID_VENDOR_ID}=="0403", ENV{ID_MODEL_ID}=="6001",ACTION=="remove"
usb:0000:0abc false
ATTRS{idVendor}=="0000", ATTRS{idProduct}=="0abc", ENV{DEVNAME}=="?*",ACTION=="add"
ENV{PRODUCT}=="0/abc/*", ENV{DEVTYPE}=="usb_interface",ACTION=="unbind"
ENV{PRODUCT}=="0/abc/*", ENV{DEVTYPE}=="usb_device",ACTION=="remove"
SUBSYSTEM=="block", ENV{ID_VENDOR_ID}=="0000", ENV{ID_MODEL_ID}=="0abc",ACTION=="remove"
`
	if got := follow(); got != want {
		t.Errorf("it is asked\n%s\nwant\n%s", got, want)
	}
	host.plug("1-1.1", "0403", "6001", "A", 0)
	if got := follow(); got != want {
		t.Errorf("plugged in it is asked\n%s\nwant\n%s", got, want)
	}
}

func TestSelectorsAreAddedAndRemovedWithTheirNodes(t *testing.T) {
	host := newUSB(t)
	host.plug("1-1.1", "0403", "6001", "A", 0)
	host.plug("1-1.2", "0403", "6001", "B", 1)
	h, b := withRules(t, "")
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
	write(t, h.root+"/dev/taken", "the container's")
	none := map[string]int{}
	both := map[string]int{"/dev/ttyUSB0": 0, "/dev/ttyUSB1": 1}
	one := map[string]int{"/dev/modem": 1}
	for _, c := range []struct {
		args []string // id: the container
		code int
		says string
		want map[string]int
	}{
		{[]string{"add-device", "--select", "usb:0403:6001", "id"}, 0, "Add device (/dev/ttyUSB1) to container(id,/dev/ttyUSB1) done.", both},
		{[]string{"add-device", "--select", "usb:0403:6001", "id"}, 1, "has been already added", both},
		{[]string{"add-device", "--select", "usb:0403:6001:B", "id"}, 1, "has been already added", both},
		{[]string{"add-device", "id", "/dev/ttyUSB0"}, 1, "has been already added", both},
		{[]string{"remove-device", "id", "/dev/ttyUSB0"}, 1, "remove-device --select usb:0403:6001", both},
		{[]string{"list-device", "--format", "table", "id"}, 0, "/dev/ttyUSB0", both},
		{[]string{"inspect", "id"}, 0, "usb:0403:6001", both},
		{[]string{"check", "id"}, 0, "", both},
		{[]string{"remove-device", "--select", "usb:0403:6002", "id"}, 1, "is not added", both},
		{[]string{"remove-device", "--select", "USB:0403:6001", "id"}, 1, "want usb:VID:PID", both},
		{[]string{"remove-device", "--select", "usb:0403:6001", "id"}, 0, "Remove device (/dev/ttyUSB0) from container(id,/dev/ttyUSB0) done.", none},
		{[]string{"add-device", "--select", "usb:0403:6001", "id", "/dev/modem"}, 1, "only one can be /dev/modem", none},
		{[]string{"add-device", "--select", "usb:0403:6001", "id", "modem"}, 1, "absolute path", none},
		{[]string{"add-device", "--select", "usb:0403:6001:B", "id", "/dev/modem"}, 0, "Add device (/dev/ttyUSB1) to container(id,/dev/modem) done.", one},
		{[]string{"remove-device", "--select", "usb:0403:6001:B", "id"}, 0, "", none},
		{[]string{"add-device", "--select", "usb:0403:6001:B", "id", "/dev/modem:r"}, 0, "", one},
		{[]string{"list-device", "id"}, 0, `"CgroupPermissions":"r"`, one},
		{[]string{"remove-device", "--select", "usb:0403:6001:B", "id"}, 0, "", none},
		{[]string{"add-device", "--select", "usb:0403:6001:B", "id", "/dev/taken"}, 1, "is not added: not all of its nodes can be given", none},
		{[]string{"add-device", "--select", "usb:0403:6001:C", "id"}, 0, "gets it when it comes", none},
		{[]string{"list-device", "--format", "table", "id"}, 0, "usb:0403:6001:C", none},
		{[]string{"list-device", "id"}, 0, `"Select":"usb:0403:6001:C"`, none},
		{[]string{"add-device", "--select", "usb:0403:60", "id"}, 1, "four hexadecimal digits", none},
		{[]string{"add-device", "--select", "usb:0403:6001:$(x)", "id"}, 1, "serial number", none},
		{[]string{"remove-device", "--select", "usb:0403:6001:C", "id"}, 0, "", none},
	} {
		args := slices.Clone(c.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "id", h.id)
			if strings.HasPrefix(c.args[i], "usb:") || strings.Contains(c.args[i], "-") {
				args[i] = c.args[i]
			}
		}
		if o := b.tool(t, args...); o.code != c.code || !strings.Contains(strings.ReplaceAll(o.said, h.id, "id"), c.says) {
			t.Errorf("%q: %d, %s, want %d, %s", c.args, o.code, o.said, c.code, c.says)
		}
		box.ttys(c.want)
	}
	if got := read(t, h.root+"/dev/taken"); got != "the container's" {
		t.Errorf("the file at a path that was asked for is %q", got)
	}
	if got := read(t, filepath.Join(b.dir, config.Name)); got != "{}\n" {
		t.Errorf("recorded is still %s", got)
	}
	if text := read(t, rules); strings.Contains(text, "usb:") {
		t.Errorf("rules are left: %s", text)
	}
}

// As where no udevd runs, or it told nobody.
func TestCheckFindsASelectedDeviceThatTheContainerWasNotGiven(t *testing.T) {
	host := newUSB(t)
	h, b := withRules(t, asJSON(t, selectors("usb:0403:6001")))
	box := &deviceFixture{fakeContainer: h, t: t, dir: b.dir}
	if o := b.hook(t, "prestart"); o.code != 0 {
		t.Fatalf("prestart: %d, %s", o.code, o.said)
	}
	check := func(code int, want string) {
		t.Helper()
		if o := b.tool(t, "check", h.id); o.code != code || !strings.Contains(o.said, want) {
			t.Errorf("check: %d, %s, want %d, %s", o.code, o.said, code, want)
		}
	}
	check(0, "")
	host.plug("1-1.1", "0403", "6001", "A", 2)
	check(1, "selected device missing: the host has /dev/ttyUSB2")
	box.ttys(nil)
	if o := b.tool(t, "repair", h.id); o.code != 0 {
		t.Errorf("repair: %d, %s", o.code, o.said)
	}
	box.ttys(map[string]int{"/dev/ttyUSB2": 2})
	check(0, "")
	if o := b.hook(t, "poststop"); o.code != 0 {
		t.Errorf("poststop: %d, %s", o.code, o.said)
	}
}
