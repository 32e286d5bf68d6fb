package devices

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

func TestARecordIsWrittenAsTheOldToolDoes(t *testing.T) {
	t.Parallel()
	d := Device{Type: "b", Minor: 0, Major: 8, PathOnHost: "/dev/sda", PathInContainer: "/dev/sdx", CgroupPermissions: "rwm"}
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Type":"b","Minor":0,"Major":8,"PathOnHost":"/dev/sda","PathInContainer":"/dev/sdx","CgroupPermissions":"rwm","Parent":""}`
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPermissionsAreASetOfThree(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", "r", "w", "m", "rw", "wr", "rm", "mr", "rwm", "mwr", "wmr"} {
		if err := checkPermissions(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{"x", "R", "rr", "rwmr", "rwx", " ", "r ", "r,w", "rw\n", "rwmm", "\x00", "\xff", "w\u0072w"} {
		if err := checkPermissions(p); err == nil || !strings.Contains(err.Error(), "invalid permission: ") {
			t.Errorf("%q: %v, want an error", p, err)
		}
	}
}

func TestADeviceGetsTheNumbersThatTheHostHasNow(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"/dev/null", link} {
		old := Device{Type: "b", Minor: 99, Major: 99, PathOnHost: host, PathInContainer: "/x/n", CgroupPermissions: "mr", Parent: "p"}
		got, _, err := resolve(old)
		if err != nil {
			t.Fatal(err)
		}
		// Everything else is as recorded: the path, if it is a link, too.
		want := old
		want.Type, want.Major, want.Minor = "c", 1, 3
		if got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestADeviceThatTheHostCannotGiveIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	for _, c := range []struct{ host, container, permissions, want string }{
		{file, "/x", "", file + ": not a device"},
		{filepath.Dir(file), "/x", "", "not a device"},
		{gone, "/x", "", gone},
		{"dev/null", "/x", "", `"dev/null": not absolute`},
		{"", "/x", "", `"": not absolute`},
		{"/dev/null", "x", "", `"x": not absolute`},
		{"/dev/null", "", "", `"": not absolute`},
		{"/dev/null", "/x", "rwx", "invalid permission: rwx"},
	} {
		t.Run(c.host, func(t *testing.T) {
			_, _, err := resolve(Device{PathOnHost: c.host, PathInContainer: c.container, CgroupPermissions: c.permissions})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v, want one that says %q", c, err, c.want)
			}
		})
	}
	if _, _, err := resolve(Device{PathOnHost: gone, PathInContainer: "/x"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a node that is gone: %v, want ErrNotExist", err)
	}
}

func TestABlockDeviceIsOne(t *testing.T) {
	t.Parallel()
	// Any will do; a test that needs a particular one makes it in the sandbox.
	dir, err := os.ReadDir("/dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir {
		if e.Type() != fs.ModeDevice {
			continue
		}
		now, _, err := resolve(Device{PathOnHost: "/dev/" + e.Name(), PathInContainer: "/x"})
		if err != nil || now.Type != "b" {
			t.Errorf("/dev/%s: %+v, %v, want a block device", e.Name(), now, err)
		}
		return
	}
	t.Log("this machine has no block device; integration/units makes one")
}

func TestARuleIsInTheControllersLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		permissions, want string
	}{
		{"", "c 10:229 rwm"}, {"rwm", "c 10:229 rwm"}, {"r", "c 10:229 r"}, {"mw", "c 10:229 mw"},
	} {
		t.Run(c.permissions, func(t *testing.T) {
			if got := v1Rule(Device{Type: "c", Major: 10, Minor: 229, CgroupPermissions: c.permissions}); got != c.want {
				t.Errorf("%q: %q, want %q", c.permissions, got, c.want)
			}
		})
	}
}

func TestALineOfDevicesListGrantsWhatItCovers(t *testing.T) {
	t.Parallel()
	d := Device{Type: "c", Major: 10, Minor: 22}
	for _, c := range []struct {
		line, want string
		covers     bool
	}{
		{"a *:* rwm", "rwm", true},
		{"c *:* m", "m", true},
		{"c 10:* rw", "rw", true},
		{"c 10:22 r", "r", true},
		{"c *:22 w", "w", true},
		{"a 10:22 m", "m", true},
		{"b 10:22 rwm", "", false},
		{"b *:* m", "", false},
		{"c 10:229 rwm", "", false},
		{"c 1:22 rwm", "", false},
		{"c 100:22 rwm", "", false},
		{"c 10:2 rwm", "", false},
		{"c 10 rwm", "", false},
		{"c 10:22", "", false},
		{"c 10:22 r w", "", false},
		{"", "", false},
		{"c", "", false},
	} {
		t.Run(c.line, func(t *testing.T) {
			got, ok := accessByLine(strings.Fields(c.line), d)
			if got != c.want || ok != c.covers {
				t.Errorf("%q: %q, %v, want %q, %v", c.line, got, ok, c.want, c.covers)
			}
		})
	}
}

func FuzzGrants(f *testing.F) {
	f.Add("a *:* rwm", int64(1), int64(3))
	f.Add("c 10:* rm", int64(10), int64(229))
	f.Add("c 10:229 \u00e9", int64(10), int64(229))
	f.Fuzz(func(t *testing.T, line string, major, minor int64) {
		d := Device{Type: "c", Major: major, Minor: minor}
		got, ok := accessByLine(strings.Fields(line), d)
		if !ok {
			if got != "" {
				t.Fatalf("%q grants %q without covering %v", line, got, d)
			}
			return
		}
		fields := strings.Fields(line)
		if fields[0] != "a" && fields[0] != "c" || got != fields[2] {
			t.Fatalf("%q grants %q for %v", line, got, d)
		}
		// A line that covers this device by its numbers covers no other.
		other := Device{Type: "c", Major: major + 1, Minor: minor + 1}
		if _, covers := accessByLine(fields, other); covers && !strings.Contains(fields[1], "*") {
			t.Fatalf("%q covers %v and %v", line, d, other)
		}
	})
}

// FuzzRecord: any record is refused by name, or is one whose rule the
// controller takes.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"Type":"c","Minor":3,"Major":1,"PathOnHost":"/dev/null","PathInContainer":"/dev/n","CgroupPermissions":"rwm","Parent":""}`))
	f.Add([]byte(`{"PathOnHost":"/dev/null","PathInContainer":"/../\u0000","CgroupPermissions":"mr"}`))
	f.Add([]byte(`{"PathOnHost":"/dev/null\n","PathInContainer":"/x"}`))
	f.Add([]byte(`{"Major":-1,"PathOnHost":"//dev/./zero","PathInContainer":"/"}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		var d Device
		if json.Unmarshal(record, &d) != nil {
			return
		}
		// Only the null device is asked of the host: a FIFO or a tape that the
		// machine has is not for a fuzzer.
		if d.PathOnHost != "/dev/null" {
			d.PathOnHost = filepath.Join("/nonexistent", d.PathOnHost)
		}
		now, _, err := resolve(d)
		if err != nil {
			return
		}
		if now.Type != "c" || now.Major != 1 || now.Minor != 3 || !filepath.IsAbs(now.PathInContainer) {
			t.Fatalf("%s resolves to %v", record, now)
		}
		fields := strings.Fields(v1Rule(now))
		if len(fields) != 3 || fields[1] != "1:3" || strings.Trim(fields[2], "rwm") != "" || len(fields[2]) > 3 {
			t.Fatalf("%s has the rule %q", record, v1Rule(now))
		}
	})
}

func TestAControlFileThatRefusesSaysWhatWasWritten(t *testing.T) {
	t.Parallel()
	write := func(path, value string) error {
		f, err := open.File(path, unix.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return open.WriteTo(f, value)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "devices.allow")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(file, "c 1:3 rwm"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "c 1:3 rwm" {
		t.Errorf("wrote %q, %v", got, err)
	}
	if err := write(filepath.Join(dir, "gone"), "x"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("%v, want ErrNotExist with the file's name", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a control file was made")
	}
	// A control file answers on write(2).
	if err := write("/dev/full", "c 1:3 rwm"); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), `"c 1:3 rwm"`) || !strings.Contains(err.Error(), "/dev/full") {
		t.Errorf("%v, want ENOSPC with what was written where", err)
	}
}
