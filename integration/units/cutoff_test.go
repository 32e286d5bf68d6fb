package units

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/resource"
)

// crun makes all mounts of a container private when the hooks have run.
func TestAPathIsAddedThoughTheRuntimeHasCutTheSharedPathOff(t *testing.T) {
	b := inBundle(t, hold(t, nil, pivoted), "{}")
	if got := b.hook(t, "prestart"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	t.Cleanup(func() { b.hook(t, "poststop") })
	must(t, b.target(t, resource.MappedRoot{UID: -1, GID: -1}).NS.Do(func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }))
	path := hostDir(t) + ":/mnt/x"
	if lacks(unix.SYS_MOUNT_SETATTR) {
		if got := b.tool(t, "add-path", b.id, path); got.code != 1 || !strings.Contains(got.said, "shared path") {
			t.Errorf("%+v, want that it says so", got)
		}
		return
	}
	if got := b.tool(t, "add-path", b.id, path); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if mounts := mountsOf(t, b.pid); !strings.Contains(mounts, "/mnt/x ") {
		t.Errorf("the container's mounts are\n%s", mounts)
	}
	if got := b.tool(t, "remove-path", b.id, path); got.code != 0 || strings.Contains(mountsOf(t, b.pid), "/mnt/x ") {
		t.Errorf("%+v; the mounts are\n%s", got, mountsOf(t, b.pid))
	}
}
