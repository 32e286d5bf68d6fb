//go:build vmguest

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

func TestRecordedDeviceIsUsableAndAnotherIsNot(t *testing.T) {
	c := newContainer(t, "", nil)
	c.record(`{"deviceToAdd":[{"Type":"c","Major":10,"Minor":229,"PathOnHost":"/dev/fuse","PathInContainer":"/dev/fuse","CgroupPermissions":"rw","Parent":""}]}`)
	c.start()
	c.works("exec 3<>/dev/fuse")
	host, err := sandbox.Lstat("/dev/fuse")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("character special file a:e5 %o 0:0", host.Mode)
	if got := c.works("stat -c '%F %t:%T %a %u:%g' /dev/fuse"); got != want {
		t.Errorf("/dev/fuse in the container is %q, want %q", got, want)
	}
	// The container may make any node (iSulad's default), but only use its own.
	c.works("mknod /dev/loop-control c 10 237")
	c.fails("exec 3</dev/loop-control", "Operation not permitted")
}

func TestDevicePermissionIsTheRecordedOne(t *testing.T) {
	c := newContainer(t, "", nil)
	c.record(`{"deviceToAdd":[{"Type":"c","Major":10,"Minor":229,"PathOnHost":"/dev/fuse","PathInContainer":"/dev/readable","CgroupPermissions":"r","Parent":""}]}`)
	c.start()
	c.works("exec 3</dev/readable")
	c.fails("exec 3>/dev/readable", "Operation not permitted")
}

// The node exists on the host only once the module is there, which is why
// modules come first; what it yields is the processor's own name.
func TestDeviceOfAModuleLoadedInTheSameStart(t *testing.T) {
	without(t, "cpuid")
	c := newContainer(t, "cpuid", nil)
	c.record(`{"deviceToAdd":[{"Type":"c","Major":203,"Minor":0,"PathOnHost":"/dev/cpu/0/cpuid","PathInContainer":"/dev/cpu/0/cpuid","CgroupPermissions":"r","Parent":""}]}`)
	c.start()
	// Leaf 0: four registers; ebx, edx, ecx spell the vendor.
	got := c.works("dd if=/dev/cpu/0/cpuid bs=16 count=1 2>/dev/null | tr -cd A-Za-z")
	if !strings.Contains(got, "Genu") && !strings.Contains(got, "Auth") {
		t.Errorf("read %q from /dev/cpu/0/cpuid", got)
	}
}

func TestReadOnlyAndWritablePaths(t *testing.T) {
	ro, rw := filepath.Join(t.TempDir(), "ro"), filepath.Join(t.TempDir(), "rw")
	for _, dir := range []string{ro, rw} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("of the host"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := newContainer(t, "", nil)
	c.record(`{"bindToAdd":["` + ro + `:/data/ro:ro,rslave","` + rw + `:/data/rw:rw,rslave"]}`)
	c.start()
	for _, dir := range []string{"ro", "rw"} {
		if got := c.works("cat /data/" + dir + "/file"); got != "of the host" {
			t.Errorf("/data/%s/file: %q", dir, got)
		}
	}
	c.fails("echo x >/data/ro/new", "Read-only file system")
	c.works("echo of the container >/data/rw/new")
	if got, err := os.ReadFile(filepath.Join(rw, "new")); err != nil || string(got) != "of the container\n" {
		t.Errorf("the host reads %q, %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(ro, "new")); err == nil {
		t.Error("the container wrote to the read-only path")
	}
	c.stop()
	if got, err := os.ReadFile(filepath.Join(ro, "file")); err != nil || string(got) != "of the host" {
		t.Errorf("after the stop the host reads %q, %v", got, err)
	}
}

// ofTheFirstStart matches what the first container ever leaves: the shared tmpfs
// and our empty folders, and the parents that runc and this test make.
var ofTheFirstStart = regexp.MustCompile(`^\+ (mount /\.sharedpath/master root=/ .*` +
	`|file /\.sharedpath(/master|/midpath)?|file /run/isulad-tools(/containers|/netns)?` +
	`|file /run/runc|file /var/lib/isulad/engines(/runc)?|cgroup /sys/fs/cgroup/\w+/isulad): `)

// All modules are loaded beforehand: they are what may stay.
func TestHostIsAsBeforeAfterTheContainer(t *testing.T) {
	without(t, ipvs...)
	load(t, "ip_vs_wrr")
	fuse, err := os.Open("/dev/fuse") // loads its module where it is one
	if err != nil {
		t.Fatal(err)
	}
	fuse.Close()
	path := t.TempDir()
	run := func() {
		c := newContainer(t, "ip_vs,ip_vs_wrr", nil)
		c.record(`{"bindToAdd":["` + path + `:/data:rw,rslave"],"deviceToAdd":[{"Type":"c","Major":10,"Minor":229,` +
			`"PathOnHost":"/dev/fuse","PathInContainer":"/dev/fuse","CgroupPermissions":"rwm","Parent":""}]}`)
		c.start()
		c.works("test -d /data && exec 3<>/dev/fuse")
		c.stop()
		for _, dir := range []string{c.dir, c.root} {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	fingerprint := func() sandbox.Fingerprint {
		f, err := sandbox.TakeFingerprint("/etc", "/lib/udev", path)
		if err != nil {
			t.Fatal(err)
		}
		for name := range modules(t) {
			f["module "+name] = "loaded"
		}
		return f
	}
	pristine := fingerprint()
	run()
	first := fingerprint()
	run()
	second := fingerprint()

	for _, line := range pristine.Diff(first) {
		if ofTheFirstStart.MatchString(line) {
			continue
		}
		t.Errorf("the first container changed the host: %s", line)
	}
	for _, line := range first.Diff(second) {
		t.Errorf("another container changed the host: %s", line)
	}
}
