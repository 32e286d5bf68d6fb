package devices

import (
	"os"
	"path/filepath"
	"testing"
)

// sysfsDir makes a directory as sysfs has it of a device, of files by their paths.
func sysfsDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatIsMadeOfOthersIsAlwaysSomebody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kernel string
		files        map[string]string
		want         string
	}{
		{"a volume", "dm-0", map[string]string{"dm/uuid": "LVM-a\n", "dm/name": "vg-lv\n"}, "dm:LVM-a"},
		{"without an uuid, of what the kernel has not", "dm-0", map[string]string{"dm/uuid": "\n", "dm/name": "vg-lv\n", "slaves/none": ""}, "name:vg-lv"},
		{"of nothing", "dm-0", map[string]string{"dm/name": "vg-lv\n"}, "name:vg-lv"},
		{"an array that no udevd knows", "md9", map[string]string{"md/uuid": "12-34\n"}, "md:1234"},
		{"an array without an uuid", "md9", nil, "name:md9"},
		{"a disk whose serial number looks like a partition's", "sda", map[string]string{"serial": "x#1\n"}, "id:x?1"},
		{"a disk with an identifier", "sda", map[string]string{"wwid": "naa.5\n"}, "id:naa.5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := Block{Name: c.kernel, sysfs: sysfsDir(t, c.files), Major: 4095, Minor: 7}
			if got := b.identity(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestANameThatLeadsByOneThatIsWrittenOnADiskIsWrittenThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := func(name, to string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	loop := link("loop", "loop")
	for path, want := range map[string]bool{
		"/dev/disk/by-uuid/1":               true,
		"/dev/bcache/by-label/data":         true,
		"/dev/mapper/vg-lv":                 true,
		"/dev/disk/by-id/wwn-0x5":           false,
		"/dev/disk/by-path/pci-0000:00":     false,
		"/dev/sda":                          false,
		"/srv/by-uuid/1":                    false,
		link("data", "/dev/disk/by-uuid/1"): true,
		link("twice", "data"):               true,
		link("kernels", "/dev/sda"):         false,
		loop:                                false,
	} {
		if got := isWrittenOnDisks(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
