package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// crun makes all mounts of a container private when the hooks have run. What is added then is
// attached directly, with the host's later mounts, also where the host path has arrived before.
func TestAPathIsAddedThoughTheRuntimeHasCutTheSharedPathOff(t *testing.T) {
	for _, c := range []struct {
		name             string
		before, replaced bool
	}{{"a new host path", false, false}, {"one that arrived before", true, false}, {"and is another directory now", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			data := hostDir(t)
			records := "{}"
			if c.before {
				records = `{"bindToAdd":["` + data + `:/mnt/before:rw,rslave"]}`
			}
			b := inBundle(t, hold(t, nil, pivoted), records)
			if got := b.hook(t, "prestart"); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			t.Cleanup(func() { b.hook(t, "poststop") })
			must(t, b.target(t, resource.MappedRoot{UID: -1, GID: -1}).NS.Do(func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }))
			staged := names(t, filepath.Join(place.Master, b.id))
			if c.replaced {
				must(t, os.Rename(data, data+".old"))
				must(t, os.Mkdir(data, 0o755))
			}
			path := data + ":/mnt/x"
			if lacks(unix.SYS_MOUNT_SETATTR) {
				if got := b.tool(t, "add-path", b.id, path); got.code != 1 || !strings.Contains(got.said, "shared path") {
					t.Errorf("%+v, want that it says so", got)
				}
				return
			}
			if got := b.tool(t, "add-path", b.id, path); got.code != 0 {
				t.Errorf("%+v", got)
			}
			must(t, os.Mkdir(data+"/later", 0o755))
			must(t, unix.Mount("later", data+"/later", "tmpfs", 0, ""))
			t.Cleanup(func() { must(t, unix.Unmount(data+"/later", 0)) })
			if mounts := mountsOf(t, b.pid); !strings.Contains(mounts, "/mnt/x ") || !strings.Contains(mounts, "/mnt/x/later ") {
				t.Errorf("the container's mounts are\n%s", mounts)
			}
			if now := names(t, filepath.Join(place.Master, b.id)); now != staged {
				t.Errorf("staging mounts %q, before %q", now, staged)
			}
			if got := b.tool(t, "remove-path", b.id, path); got.code != 0 || strings.Contains(mountsOf(t, b.pid), "/mnt/x ") {
				t.Errorf("%+v; the mounts are\n%s", got, mountsOf(t, b.pid))
			}
		})
	}
}
