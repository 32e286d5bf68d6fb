package units

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/mounts"
)

// writers are how a container may have come to write a folder of the host.
var writers = []struct {
	name  string
	write func(t *testing.T, c *mounts.Container, dir string)
}{
	{"by its specification", func(_ *testing.T, c *mounts.Container, dir string) {
		c.Trees = func() []ledger.Tree { return []ledger.Tree{{Path: dir, Writable: true}} }
	}},
	{"by a record", func(t *testing.T, c *mounts.Container, dir string) {
		write(t, filepath.Join(c.Bundle, config.Name), `{"bindToAdd":["`+dir+`:/data:rw,rslave"]}`)
	}},
	{"by another container's specification", func(t *testing.T, _ *mounts.Container, dir string) {
		another(t, mounts.Bind{}, ledger.Tree{Path: dir, Writable: true})
	}},
	{"by what another container was granted", func(t *testing.T, _ *mounts.Container, dir string) {
		another(t, mounts.Bind{Host: dir, Container: "/data", Options: "rw"})
	}},
}

// another gives the host a container that has these.
func another(t *testing.T, b mounts.Bind, trees ...ledger.Tree) {
	t.Helper()
	l, err := ledger.Open(place.Isulad, "another", ledger.Start{Init: process.ID{PID: 1, Start: 1}, Trees: trees})
	must(t, err)
	must(t, l.Intend(mounts.Kind.Name, nil, b))
	t.Cleanup(func() { must(t, l.Remove()) })
}

// A container chooses where a link leads that lies where it may write: such a link is
// not followed, in whatever part of a host path it is.
func TestALinkThatAContainerMayHaveMadeIsNotFollowed(t *testing.T) {
	for _, w := range writers {
		t.Run(w.name, func(t *testing.T) {
			out, untouched := victim(t)
			top := t.TempDir()
			dir := filepath.Join(top, "data")
			must(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
			must(t, os.Symlink(out+"/dir", filepath.Join(dir, "logs")))
			must(t, os.Symlink("../../victim", filepath.Join(dir, "sub/up")))
			must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
			must(t, os.Symlink("data/logs", filepath.Join(top, "operators"))) // and then the container's
			c := mounts.Container{ID: "this", Bundle: t.TempDir()}
			w.write(t, &c, dir)
			for _, path := range []string{"data/logs", "data/logs/new", "data/sub/up", "data/sub/up/new/deeper", "data/dangling", "data/dangling/new", "operators", "operators/new"} {
				err := mounts.MakeHost(nil, c, filepath.Join(top, path), rootfs.Owner{UID: 5, GID: 5})
				if err == nil || !strings.Contains(err.Error(), "may write, so it is not followed") {
					t.Errorf("%s: %v, want it refused", path, err)
				}
			}
			must(t, mounts.MakeHost(nil, c, filepath.Join(dir, "new/folder"), rootfs.Owner{UID: 5, GID: 5}))
			node(t, filepath.Join(dir, "new/folder"), "d 0755 5:5")
			untouched()
		})
	}
}

// What a container makes of a tree that it was granted within another one keeps nobody from
// following an operator's link.
func TestATreeThatAContainerMadeUnreachableIsNoReasonToFollowNoLink(t *testing.T) {
	for name, leads := range map[string]string{
		"gone": "", "a loop": "logs", "too long": strings.Repeat("x", 300), "too long a path": strings.Repeat("x/", 2040), "below a file": "file/x",
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			must(t, os.MkdirAll(filepath.Join(top, "granted"), 0o755))
			must(t, os.MkdirAll(filepath.Join(top, "release/data"), 0o755))
			must(t, os.WriteFile(filepath.Join(top, "granted/file"), nil, 0o600))
			must(t, os.Symlink("release", filepath.Join(top, "current")))
			if leads != "" {
				must(t, os.Symlink(leads, filepath.Join(top, "granted/logs")))
			}
			c := mounts.Container{ID: "this", Bundle: t.TempDir(), Trees: func() []ledger.Tree {
				return []ledger.Tree{
					{Path: filepath.Join(top, "granted"), Writable: true},
					{Path: filepath.Join(top, "granted/logs"), Writable: true},
				}
			}}
			if err := mounts.MakeHost(nil, c, filepath.Join(top, "current/data"), rootfs.Owner{}); err != nil {
				t.Errorf("the operator's link is not followed: %v", err)
			}
		})
	}
}

func TestAnOperatorsLinkIsFollowedAlsoWhenItIsRetargeted(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"app/releases/1/data", "app/releases/2/data", "granted/logs", "shown"} {
		must(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
	}
	at := func(path string) string { return filepath.Join(top, path) }
	must(t, os.Symlink("releases/1", at("app/current")))
	must(t, os.Symlink(top+"/app/current/../2", at("app/next")))
	must(t, os.Symlink(at("granted/logs"), at("logs")))
	must(t, os.Symlink("../app/current", at("shown/link")))
	c := mounts.Container{ID: "this", Bundle: t.TempDir(), Trees: func() []ledger.Tree {
		return []ledger.Tree{
			{Path: at("granted"), Writable: true},
			{Path: at("shown")},
			{Path: "/", Writable: true},
			// It has what the link leads to, and not the link.
			{Path: at("app/current/data"), Writable: true},
		}
	}}
	h, target := shared(t, nil)
	target.Bundle = c.Bundle
	h.keepLedger(t, target, c.Trees()...)
	leads := func(path, to string) {
		t.Helper()
		must(t, mounts.MakeHost(nil, c, at(path), rootfs.Owner{}))
		must(t, addPath(t, target, at(path), "/mnt/x", "rw"))
		is, err := os.Stat(h.root + "/mnt/x")
		must(t, err)
		want, err := os.Stat(at(to))
		must(t, err)
		if !os.SameFile(is, want) {
			t.Errorf("%s does not lead to %s", path, to)
		}
		b := mounts.Bind{Host: at(path), Container: "/mnt/x", Options: "rw"}
		must(t, mounts.Kind.Remove(t.Context(), target, b))
		must(t, mounts.Kind.Reconcile(t.Context(), target, nil, []mounts.Bind{b}))
	}
	leads("app/current/data", "app/releases/1/data")
	leads("app/next/data", "app/releases/2/data")
	leads("logs", "granted/logs")
	leads("shown/link/data", "app/releases/1/data")
	must(t, os.Remove(at("app/current")))
	must(t, os.Symlink("releases/2", at("app/current")))
	leads("app/current/data", "app/releases/2/data")
	leads("app/current/new", "app/releases/2/new")
}

// While a host path is looked up and made, a container that may write its parent swaps
// what is there.
func TestWhatAContainerSwapsMeanwhileDoesNotReachTheHost(t *testing.T) {
	out, untouched := victim(t)
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.Symlink(out+"/dir", filepath.Join(dir, "b")))
	c := mounts.Container{ID: "this", Bundle: t.TempDir(), Trees: func() []ledger.Tree { return []ledger.Tree{{Path: dir, Writable: true}} }}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if i%3 == 0 { // what is being made becomes a link, too
				_ = os.Remove(filepath.Join(dir, "a/new"))
				_ = os.Symlink(out+"/dir", filepath.Join(dir, "a/new"))
				_ = os.Remove(filepath.Join(dir, "a/new"))
			}
			if err := unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/b", unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	made := 0
	for i := 0; i < 2000 || made < 10 && i < 100_000; i++ {
		err := mounts.MakeHost(nil, c, filepath.Join(dir, "a/new"), rootfs.Owner{UID: 5, GID: 5})
		if err == nil {
			made++
		} else if errors.Is(err, unix.EPERM) {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	if made < 10 {
		t.Errorf("only %d attempts succeeded: nothing was tested", made)
	}
	untouched()
}
