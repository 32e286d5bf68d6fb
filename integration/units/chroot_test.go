package units

import (
	"os"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// An init may change its root directory: the container's paths are those of its mount
// namespace all the same, and what it was given goes from there.
func TestAPathGoesWhenInitHasChangedItsRoot(t *testing.T) {
	for to, hosts := range map[string]bool{"a folder of its own": false, "the host's root, which it was given": true} {
		t.Run(to, func(t *testing.T) { goesAfterChroot(t, hosts) })
	}
}

func goesAfterChroot(t *testing.T, hosts bool) {
	if !canShare([]option{pivoted}) {
		return
	}
	h, target := shared(t, func(image string) { must(t, os.Mkdir(image+"/elsewhere", 0o755)) }, pivoted)
	h.keepLedger(t, target)
	init, err := process.ByPID(h.pid)
	must(t, err)
	open := func() {
		t.Helper()
		opened, closeAll, err := container.Open(nil, place.Isulad, h.id, container.Start{Init: init, Bundle: t.TempDir()}, &container.Spec{})
		must(t, err)
		t.Cleanup(closeAll)
		target.Root, target.MountsPID, target.Pivoted = opened.Root, opened.MountsPID, opened.Pivoted
	}
	given := func() (list []string) {
		for line := range strings.Lines(mountsOf(t, thread(t, target))) {
			if strings.Contains(line, "/mnt/") {
				list = append(list, line)
			}
		}
		return list
	}
	open()
	if target.MountsPID != h.pid {
		t.Errorf("init, %d, has changed nothing, and %d is looked at", h.pid, target.MountsPID)
	}
	dir, early, late := t.TempDir(), bindOf(hostDir(t), "/mnt/early"), bindOf(hostDir(t), "/mnt/late")
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(early) }).Err)
	if hosts {
		bindFrom(t, target, "/", h.at("/elsewhere"))
	}
	h.chroot(t, "/elsewhere")
	open()
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(late) }).Err)
	if list := given(); len(list) != 2 {
		t.Errorf("the container has %q, want two paths below /mnt", list)
	}
	for _, b := range []mounts.Bind{early, late} {
		must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) }).Err)
	}
	if list := given(); len(list) != 0 {
		t.Errorf("the container still has %q", list)
	}
}

func thread(t *testing.T, target *resource.Target) int {
	t.Helper()
	id, err := target.NS.Thread()
	must(t, err)
	return id
}
