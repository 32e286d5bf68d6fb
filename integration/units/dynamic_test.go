package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// misc is a device of the kernel's class of that name.
type misc struct {
	name  string // below /dev
	minor uint32
}

// miscs are the devices of the class whose number is its own, or is the next one that was
// free when the driver came.
func miscs(t testing.TB, dynamic bool) (list []misc) {
	t.Helper()
	files, err := filepath.Glob("/sys/devices/virtual/misc/*/uevent")
	must(t, err)
	for _, file := range files {
		var m misc
		for line := range strings.Lines(read(t, file)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch name {
			case "DEVNAME":
				m.name = value
			case "MINOR":
				_, err := fmt.Sscan(value, &m.minor)
				must(t, err)
			}
		}
		if (m.minor < 128 || m.minor > 254) == dynamic {
			list = append(list, m)
		}
	}
	if len(list) < 2 {
		t.Fatalf("the kernel has %v, want two of dynamic number (%v)", list, dynamic)
	}
	return list
}

// at makes a node of the device, in the place of what is there.
func (m misc) at(t testing.TB, path string) {
	t.Helper()
	must(t, os.RemoveAll(path))
	must(t, sandbox.Mknod(path, unix.S_IFCHR|0o660, 10, m.minor, 0, 0))
}

func (m misc) rule() string { return fmt.Sprintf("c 10:%d rw\n", m.minor) }

// The numbers of most devices of the class misc are the next ones that are free.
func TestEveryCommandRenewsWhatMayHaveAnotherNumber(t *testing.T) {
	const path = "/dev/test-misc"
	dynamic, static := miscs(t, true), miscs(t, false)
	for _, c := range []struct {
		name    string
		was, is *misc // nil: it is away
	}{
		{"a dynamic number, and another one", &dynamic[0], &dynamic[1]},
		{"a dynamic number, and away", &dynamic[0], nil},
		{"a number of a part of the kernel, and another one", &static[0], &static[1]},
		{"a number of a part of the kernel, and a dynamic one", &static[0], &dynamic[0]},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hold(t, nil, pivoted)
			b := inBundle(t, h, "")
			fakeProgram(t, "udevadm", "")
			t.Cleanup(func() {
				must(t, os.RemoveAll(path))
				must(t, os.RemoveAll(rules))
			})
			c.was.at(t, path)
			if o := b.tool(t, "add-device", h.id, path+":/dev/x:rw"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			must(t, os.Remove(path))
			if c.is != nil {
				c.is.at(t, path)
			}
			b.tool(t, "add-path", h.id, "/etc:/mnt/etc:ro") // which older kernels refuse
			var st unix.Stat_t
			must(t, unix.Lstat(h.root+"/dev/x", &st))
			got, want := st.Mode&unix.S_IFMT == unix.S_IFCHR, c.is != nil
			if got != want || want && st.Rdev != unix.Mkdev(10, c.is.minor) {
				t.Errorf("it has %o %d:%d", st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
			}
			may := h.allowed(t)
			if strings.Contains(may, c.was.rule()) || c.is != nil && !strings.Contains(may, c.is.rule()) {
				t.Errorf("it may use %s", may)
			}
		})
	}
}

// ensure makes the node that udevd would have made.
func (m misc) ensure(t testing.TB) {
	t.Helper()
	path := "/dev/" + m.name
	if _, err := os.Lstat(path); err != nil {
		m.at(t, path)
		t.Cleanup(func() { must(t, os.Remove(path)) })
	}
}

// What udevd does not know, add-device logs, and does not warn of.
func TestADeviceThatNobodyTellsOfIsLogged(t *testing.T) {
	const unknown, link = "/dev/test-unknown", "/dev/test-link"
	must(t, sandbox.Mknod(unknown, unix.S_IFCHR|0o660, 195, 0, 0, 0)) // nvidia's: sysfs has none
	must(t, os.Symlink(filepath.Base(unknown), link))
	dynamic := miscs(t, true)[0]
	dynamic.ensure(t)
	p := plug(t)
	t.Cleanup(func() {
		for _, path := range []string{unknown, link, rules} {
			must(t, os.RemoveAll(path))
		}
	})
	const warns = "is not followed: only starts and commands look up its number: its driver tells udevd nothing"
	for _, c := range []struct {
		name, path string
		want       bool
	}{
		{"a node that sysfs does not know", unknown, true},
		{"a link to one", link, true},
		{"a part of the kernel", "/dev/zero", false},
		{"a loop device", "/dev/" + p.name, false},
		{"what sysfs knows", "/dev/" + dynamic.name, false},
		{"what is away", "/dev/test-away", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := inBundle(t, hold(t, nil, pivoted), "")
			fakeProgram(t, "udevadm", "")
			log := filepath.Join(t.TempDir(), "log")
			o := b.tool(t, "--log", log, "add-device", "--optional", b.id, c.path+":/dev/x:rw")
			if logged := read(t, log); o.code != 0 || strings.Contains(o.said, "warning") || strings.Contains(logged, warns) != c.want {
				t.Errorf("add-device: %d, %s, logged %s, want it logged: %v", o.code, o.said, logged, c.want)
			}
		})
	}
}
