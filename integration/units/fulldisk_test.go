package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
)

// A command that cannot write what is recorded leaves the container with all it has.
func TestWhatCannotBeSavedIsNotTakenAway(t *testing.T) {
	data := hostDir(t)
	d := fuse(t, "/dev/a")
	d.CgroupPermissions = "rw"
	for _, c := range []struct {
		name      string
		add, take []string
		has       func(*bundle) bool
	}{
		{"path", []string{"add-path", "ID", data + ":/mnt/x"}, []string{"remove-path", "ID", data + ":/mnt/x"}, func(b *bundle) bool {
			_, err := os.Stat(b.root + "/mnt/x/file")
			return err == nil
		}},
		{"device", []string{"add-device", "ID", d.PathOnHost + ":/dev/a:rw"}, []string{"remove-device", "ID", d.PathOnHost + ":/dev/a"}, func(b *bundle) bool {
			_, err := os.Lstat(b.root + "/dev/a")
			return err == nil && strings.Contains(b.allowed(t), "c 10:229 rw")
		}},
		{"interface", []string{"add-nic", "--type", "veth", "--bridge", "full0", "--name", "fullv:eth1", "--ip", "10.99.0.2/24", "ID"}, []string{"remove-nic", "--name", "eth1", "ID"}, func(*bundle) bool {
			_, err := os.Stat("/sys/class/net/fullv")
			return err == nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "path" && lacks(unix.SYS_MOUNT_SETATTR) {
				return // nothing can be mounted there without the hook
			}
			ip(t, "link", "add", "full0", "type", "bridge")
			defer ip(t, "link", "del", "full0")
			b := inBundle(t, hold(t, nil, pivoted), "")
			spec := read(t, filepath.Join(b.dir, container.SpecName))
			must(t, unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=64k"))
			defer func() { must(t, unix.Unmount(b.dir, unix.MNT_DETACH)) }()
			write(t, filepath.Join(b.dir, container.SpecName), spec)
			tool := func(args []string) outcome {
				return b.tool(t, strings.Split(strings.ReplaceAll(strings.Join(args, "\n"), "ID", b.id), "\n")...)
			}
			if got := tool(c.add); got.code != 0 || !c.has(b) {
				t.Fatalf("%+v", got)
			}
			recorded := read(t, filepath.Join(b.dir, config.Name))
			fill(t, b.dir)
			if got := tool(c.take); got.code != 1 || strings.Count(got.said, "no space left on device") != 1 {
				t.Errorf("it ends with %d and says %q, want 1 and the reason, once", got.code, got.said)
			}
			if !c.has(b) {
				t.Error("it is taken away all the same")
			}
			if now := read(t, filepath.Join(b.dir, config.Name)); now != recorded {
				t.Errorf("recorded is %q, was %q", now, recorded)
			}
			must(t, os.Remove(filepath.Join(b.dir, "filler")))
			if got := tool(c.take); got.code != 0 || c.has(b) {
				t.Errorf("with room: %+v", got)
			}
		})
	}
}
