package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// What the container cannot do without is not mounted over, by its name nor by a link of
// the image.
func TestAPathThatWouldBreakTheContainerIsRefused(t *testing.T) {
	links := map[string]string{"root": "/", "links": "/dev/../proc", "dev2": "dev", "nowhere": "/proc/new"}
	ways(t, func(image string) {
		for name, target := range links {
			must(t, os.Symlink(target, filepath.Join(image, name)))
		}
	}, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		before := h.mountsOf(t)
		for _, path := range []string{"/", "/..", "/proc", "/proc/", "/sys", "/dev", "/proc/self", "/proc/sys/kernel", "/root", "/links", "/dev2", "/nowhere"} {
			err := addPath(t, target, hostDir(t), path, "rw")
			if err == nil || !strings.Contains(err.Error(), "cannot be mounted over") && path != "/nowhere" {
				t.Errorf("%s: %v, want it refused", path, err)
			}
		}
		for _, path := range []string{"/dev/shm", "/sys/fs", "/proc/meminfo", "/process", "/device"} {
			if err := mounts.CheckTarget(path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		var gone []mounts.Bind
		must(t, mounts.Kind.Reconcile(t.Context(), target, nil, gone))
		if after := h.mountsOf(t); after != before {
			t.Errorf("the container had\n%s\nand has\n%s", before, after)
		}
	})
}

// A link that leads nowhere means what it names.
func TestWhatALinkNamesIsMadeWhenItIsMissing(t *testing.T) {
	links := map[string]string{
		"etc/absolute": "/run/here/file", "etc/relative": "../run/there/file", "etc/twice": "absolute2", "etc/absolute2": "/run/twice",
		"etc/dir": "/run/dir", "etc/out": "../../../../run/out", "mnt/above": "/run/above",
	}
	ways(t, func(image string) {
		for name, target := range links {
			must(t, os.Symlink(target, filepath.Join(image, name)))
		}
	}, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		dir := hostDir(t)
		for path, is := range map[string]string{
			"/etc/absolute": "/run/here/file", "/etc/relative": "/run/there/file", "/etc/twice": "/run/twice", "/etc/out": "/run/out", "/mnt/above/x/file": "/run/above/x/file",
		} {
			give(t, target, bindOf(dir+"/file", path))
			if got := read(t, h.root+is); got != "hi" {
				t.Errorf("%s: %s is %q", path, is, got)
			}
		}
		give(t, target, bindOf(dir, "/etc/dir"))
		if got := read(t, h.root+"/run/dir/file"); got != "hi" {
			t.Errorf("/run/dir/file is %q", got)
		}
		for name, target := range links {
			if got, err := os.Readlink(filepath.Join(h.root, name)); err != nil || got != target {
				t.Errorf("the link %s is %q, %v", name, got, err)
			}
		}
	})
}

func TestANodeIsMadeWhereALinkLeadsAndRemovedThere(t *testing.T) {
	for _, force := range []bool{false, true} { // a start forces
		h := hold(t, nil, imageDev)
		target := h.target(t, hostOwner)
		h.keepLedger(t, target)
		must(t, os.Symlink("sub/sr0", h.root+"/dev/cdrom"))
		before := tree(t, h.root+"/dev")
		d := fuse(t, "/dev/cdrom")
		must(t, target.Ledger.Intend(devices.Kind.Name, nil, d))
		adder := devices.Adder{Force: force}
		must(t, adder.Kind().Apply(t.Context(), target, d))
		must(t, devices.Kind.Verify(t.Context(), target, d))
		is, err := sandbox.Lstat(h.root + "/dev/sub/sr0")
		if err != nil || is.Type != "c" {
			t.Errorf("force %v: where the link leads there is %v, %v", force, is, err)
		}
		removeDevice(t, target, d)
		must(t, os.Remove(h.root+"/dev/sub"))
		if after := tree(t, h.root+"/dev"); after != before {
			t.Errorf("force %v: /dev was\n%s\nand is\n%s", force, before, after)
		}
		// A loop leads to no place.
		must(t, os.Symlink("loop", h.root+"/dev/loop"))
		if err := addDevice(t, target, fuse(t, "/dev/loop/x")); err == nil {
			t.Error("a node was made in a loop")
		}
	}
}

func TestALinkToAFileOfTheHostLeadsBelowTheRoot(t *testing.T) {
	out, untouched := victim(t)
	for _, name := range []string{"file", "node", "empty", "new", "dir/new"} {
		h := hold(t, nil)
		target := h.target(t, hostOwner)
		must(t, os.Symlink(out+"/"+name, h.root+"/dev/node"))
		must(t, addDevice(t, target, fuse(t, "/dev/node")))
		node(t, h.root+out+"/"+name, fuseNode)
	}
	untouched()
}

// However paths are recorded, none hides another, and each goes alone.
func TestAPathInsideAnotherIsOnTopOfIt(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		if target.Ledger == nil {
			h.keepLedger(t, target)
		}
		outer, inner, deep := bindOf(hostDir(t), "/mnt/p"), bindOf(hostDir(t), "/mnt/p/sub"), bindOf(hostDir(t), "/mnt/p/sub/deep")
		must(t, os.MkdirAll(filepath.Join(outer.Host, "sub/deep"), 0o755))
		must(t, os.MkdirAll(filepath.Join(inner.Host, "deep"), 0o755))
		for i, b := range []mounts.Bind{outer, inner, deep} {
			write(t, filepath.Join(b.Host, "who"), string(rune('1'+i)))
		}
		see := func(when string, want ...string) {
			t.Helper()
			for i, path := range []string{"/mnt/p/who", "/mnt/p/sub/who", "/mnt/p/sub/deep/who"} {
				got, _ := os.ReadFile(h.root + path) // it may be gone
				if string(got) != want[i] {
					t.Errorf("%s: %s is %q, want %q", when, path, got, want[i])
				}
			}
		}
		before := h.mountsOf(t)
		var now []mounts.Bind
		for _, b := range []mounts.Bind{deep, inner, outer} { // the innermost first
			now = append(now, b)
			must(t, target.Ledger.Intend(mounts.Kind.Name, nil, b))
			adding := mounts.UndoableKind()
			must(t, adding.Apply(t.Context(), target, b))
			must(t, mounts.Kind.Reconcile(t.Context(), target, now, nil))
		}
		see("all are there", "1", "2", "3")
		must(t, take(t, target, []mounts.Bind{deep, outer}, inner))
		see("the middle is gone", "1", "", "3")
		must(t, take(t, target, []mounts.Bind{deep}, outer))
		see("the outer one is gone", "", "", "3")
		must(t, take(t, target, nil, deep))
		if after := h.mountsOf(t); after != before {
			t.Errorf("the container had\n%s\nand has\n%s", before, after)
		}
	})
}

// Two container paths of one link that was retargeted meanwhile show what it led to when
// they were given, and each goes.
func TestEachPathOfALinkThatLedElsewhereCanBeRemoved(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
			if target.Ledger == nil {
				h.keepLedger(t, target)
			}
			before := h.mountsOf(t)
			dir := t.TempDir()
			link := filepath.Join(dir, "current")
			list := []mounts.Bind{bindOf(link, "/mnt/p1"), bindOf(link, "/mnt/p2")}
			for i, b := range list {
				version := string(rune('1' + i))
				write(t, filepath.Join(dir, version, "who"), version)
				_ = os.Remove(link) // there is none at first
				must(t, os.Symlink(version, link))
				must(t, target.Ledger.Intend(mounts.Kind.Name, nil, b))
				give(t, target, b)
			}
			for i, b := range list {
				if got := read(t, h.root+b.Container+"/who"); got != string(rune('1'+i)) {
					t.Errorf("%s is %q", b.Container, got)
				}
			}
			first, second := list[order[0]], list[order[1]]
			must(t, take(t, target, []mounts.Bind{second}, first))
			target.Ledger.Revoke(mounts.Kind.Name, first)
			gone(t, h.root+first.Container+"/who")
			if got := read(t, h.root+second.Container+"/who"); got != string(rune('1'+order[1])) {
				t.Errorf("without %s, %s is %q", first.Container, second.Container, got)
			}
			must(t, take(t, target, nil, second))
			gone(t, h.root+second.Container+"/who")
			if after := h.mountsOf(t); after != before {
				t.Errorf("the container had\n%s\nand has\n%s", before, after)
			}
		})
	}
}
