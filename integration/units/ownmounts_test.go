package units

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// A container's own mounts may show what is below a path of the host that it is given,
// too. They stay when the path goes, and copies of the path go.
func TestTheContainersOwnMountsStayWhenAPathGoes(t *testing.T) {
	prepare := func(image string) {
		for _, dir := range []string{"own", "copy"} {
			must(t, os.Mkdir(image+"/"+dir, 0o755))
		}
		write(t, image+"/null", "")
	}
	for _, c := range []struct {
		name, host string
		noted      bool
		own        func(t *testing.T, h *fakeContainer, target *resource.Target)
		copied     string // below the path; "": nothing
	}{
		{"a cgroup hierarchy, and /sys", "/sys", true, ownCgroup, "/."},
		{"a cgroup hierarchy, and /sys, of which nothing was noted", "/sys", false, ownCgroup, ""},
		{"a node that the runtime bound, and /dev", "/dev", true, func(t *testing.T, h *fakeContainer, target *resource.Target) {
			bindFrom(t, target, "/dev/null", h.at("/null"))
		}, "/."},
	} {
		t.Run(c.name, func(t *testing.T) {
			ways(t, prepare, func(t *testing.T, h *fakeContainer, target *resource.Target) {
				if c.noted {
					h.keepLedger(t, target)
				}
				c.own(t, h, target)
				for _, options := range []string{"rw,rslave", "rw,rprivate"} {
					before, dir := h.mountsOf(t), t.TempDir()
					b, inner := mounts.Bind{Host: c.host, Container: "/mnt/x", Options: options}, bindOf("/dev/null", "/mnt/null")
					for _, add := range []mounts.Bind{b, inner} {
						must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(add) }).Err)
					}
					if c.copied != "" && target.Pivoted { // else its runtime may still mount the same
						within(t, target, func() error {
							return firstOf(unix.Mount(h.at("/mnt/x")+c.copied, h.at("/copy"), "", unix.MS_BIND|unix.MS_REC, ""),
								unix.Mount("", h.at("/copy"), "", unix.MS_PRIVATE|unix.MS_REC, ""))
						})
					}
					for _, gone := range []mounts.Bind{b, inner} {
						must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(gone) }).Err)
					}
					if after := h.mountsOf(t); after != before {
						t.Errorf("%s: the container had the mounts\n%s\nand has\n%s", options, before, after)
					}
				}
			})
		})
	}
}

// What the runtime mounts after the hook that gave the path is the container's own, too.
func TestWhatTheRuntimeMountsAfterTheHookStays(t *testing.T) {
	h, target := shared(t, func(image string) { must(t, os.Mkdir(image+"/own", 0o755)) })
	h.keepLedger(t, target)
	dir, b := t.TempDir(), bindOf("/sys", "/mnt/x")
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) }).Err)
	ownCgroup(t, h, target)
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) }).Err)
	if h.mountAt(t, "/own") == "" || h.mountAt(t, "/mnt/x") != "" {
		t.Errorf("the container has the mounts\n%s", h.mountsOf(t))
	}
}

func ownCgroup(t *testing.T, h *fakeContainer, target *resource.Target) {
	bindFrom(t, target, "/sys/fs/cgroup/devices", h.at("/own"))
}

// What is in the path's place is no reason to leave what is known to be the path's.
func TestAPathGoesWhateverIsPutInItsPlace(t *testing.T) {
	h, target := shared(t, func(image string) { must(t, os.MkdirAll(image+"/z", 0o755)) })
	h.keepLedger(t, target)
	dir, b, other := t.TempDir(), bindOf(hostDir(t), "/mnt/x"), hostDir(t)
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) }).Err)
	within(t, target, func() error { return unix.Mount(h.at("/mnt/x"), h.at("/z"), "", unix.MS_MOVE, "") })
	bindFrom(t, target, other, h.at("/mnt/x"))
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) }).Err)
	if at := h.mountAt(t, "/z"); at != "" {
		t.Errorf("still mounted: %s", at)
	}
	if h.mountAt(t, "/mnt/x") == "" {
		t.Error("the container's own mount in the path's place is gone")
	}
}

// A helper of the runtime is in the container's cgroup before it enters its namespaces,
// and in one of its engine's until then.
func TestAPathStaysWithTheEngineWhoseHelperIsInTheContainersCgroup(t *testing.T) {
	if !canShare([]option{pivoted}) {
		return
	}
	h, target := shared(t, nil, pivoted)
	target.Pivoted = true
	h.keepLedger(t, target)
	dir, host := t.TempDir(), hostDir(t)
	must(t, unix.Mount(host, host, "", unix.MS_BIND, "")) // the engine has its own mount of it
	t.Cleanup(func() { must(t, unix.Unmount(host, unix.MNT_DETACH)) })
	helper := inNamespace(t, h, "unshare", "-m", "--propagation", "private", "cat")
	before := mountsOf(t, helper)
	b := bindOf(host, "/mnt/x")
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) }).Err)
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) }).Err)
	if after := mountsOf(t, helper); after != before {
		t.Errorf("the engine had the mounts\n%s\nand has\n%s", before, after)
	}
	if at := h.mountAt(t, "/mnt/x"); at != "" {
		t.Errorf("the container still has %s", at)
	}
}

// What a container may only read by its specification, or by another path, is no reason
// to leave it a copy that it can write.
func TestACopyThatCanBeWrittenGoesWhereTheContainerMayOnlyRead(t *testing.T) {
	for _, by := range []string{"specification", "another path"} {
		t.Run(by, func(t *testing.T) {
			h, target := shared(t, func(image string) {
				for _, dir := range []string{"spec", "written", "readable"} {
					must(t, os.Mkdir(image+"/"+dir, 0o755))
				}
			})
			host, dir := hostDir(t), t.TempDir()
			copies := func(from, to string) {
				within(t, target, func() error {
					return firstOf(unix.Mount(h.at(from), h.at(to), "", unix.MS_BIND, ""), unix.Mount("", h.at(to), "", unix.MS_PRIVATE, ""))
				})
			}
			if by == "specification" {
				h.keepLedger(t, target, ledger.Tree{Path: host})
				bindFrom(t, target, host, h.at("/spec"))
				within(t, target, func() error {
					return unix.Mount("", h.at("/spec"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
				})
			} else {
				h.keepLedger(t, target)
				must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) {
					e.Add(mounts.Bind{Host: host, Container: "/spec", Options: "ro"})
				}).Err)
			}
			b := bindOf(host+"/sub", "/mnt/x")
			must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) }).Err)
			copies("/mnt/x", "/written")
			copies("/spec/sub", "/readable")
			must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) }).Err)
			if at := h.mountAt(t, "/written"); at != "" {
				t.Errorf("it can still write by %s", at)
			}
			for _, its := range []string{"/spec", "/readable"} {
				if h.mountAt(t, its) == "" {
					t.Errorf("%s of its own is gone", its)
				}
			}
		})
	}
}
