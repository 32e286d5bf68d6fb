package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/network"
)

// isNamespaceOf checks that path is the network namespace of process pid.
func isNamespaceOf(t testing.TB, path string, pid int) {
	t.Helper()
	var pin, ns unix.Stat_t
	must(t, unix.Stat(path, &pin))
	must(t, unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &ns))
	if pin.Dev != ns.Dev || pin.Ino != ns.Ino {
		t.Errorf("%s is not the namespace of process %d", path, pid)
	}
}

func pinsAt(t testing.TB, path string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(allMounts(t)) {
		if strings.HasPrefix(line, path+" ") {
			n++
		}
	}
	return n
}

func TestANetworkNamespaceIsPinnedUntilItIsUnpinned(t *testing.T) {
	for _, g := range place.Generations {
		h := hold(t, nil)
		path := filepath.Join(g.NetNS(), h.id)
		must(t, network.Pin(g, h.id, h.pid))
		isNamespaceOf(t, path, h.pid)
		node(t, g.RunDir, "d 0644 0:0")
		node(t, g.NetNS(), "d 0600 0:0")
		for range 2 { // also when it is gone
			must(t, network.Unpin(h.id))
			gone(t, path)
			if n := pinsAt(t, path); n != 0 {
				t.Errorf("%d mounts are left on %s", n, path)
			}
		}
	}
	must(t, network.Unpin("no-such-container"))
}

func TestALeftoverPinIsReplacedNotTrusted(t *testing.T) {
	g := place.Isulad
	stale := hold(t, nil)
	out, untouched := victim(t)
	for what, leave := range map[string]func(path string){
		"another namespace": func(p string) { must(t, network.Pin(g, filepath.Base(p), stale.pid)) },
		"two of them": func(p string) {
			must(t, network.Pin(g, filepath.Base(p), stale.pid))
			must(t, unix.Mount("/proc/self/ns/net", p, "", unix.MS_BIND, ""))
		},
		"an empty file":   func(p string) { write(t, p, "") },
		"an empty folder": func(p string) { must(t, os.MkdirAll(p, 0o700)) },
		"a link":          func(p string) { must(t, os.Symlink(out+"/file", p)) },
		"the right one":   nil,
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, nil)
			path := filepath.Join(g.NetNS(), h.id)
			must(t, os.MkdirAll(g.NetNS(), 0o755))
			if leave != nil {
				leave(path)
			} else {
				must(t, network.Pin(g, h.id, h.pid))
			}
			if err := network.Pin(g, h.id, h.pid); err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			isNamespaceOf(t, path, h.pid)
			if n := pinsAt(t, path); n != 1 {
				t.Errorf("%s: %d mounts on the pin", what, n)
			}
			must(t, network.Unpin(h.id))
			gone(t, path)
		})
	}
	untouched()
}

func TestAPinThatCannotBeMadeLeavesNothing(t *testing.T) {
	g := place.Isulad
	h := hold(t, nil)
	path := filepath.Join(g.NetNS(), h.id)
	write(t, filepath.Join(path, "file"), "somebody's")
	if err := network.Pin(g, h.id, h.pid); err == nil {
		t.Error("a full folder was replaced")
	}
	if got := read(t, filepath.Join(path, "file")); got != "somebody's" {
		t.Errorf("the file is %q", got)
	}
	if err := network.Unpin(h.id); err == nil {
		t.Error("a full folder was unpinned")
	}
	must(t, os.RemoveAll(path))
	if err := network.Pin(g, h.id, 1<<30); err == nil {
		t.Error("the namespace of no process was pinned")
	}
	gone(t, path)
}

func TestAPinOutlivesItsProcess(t *testing.T) {
	var path, before string
	t.Run("while it runs", func(t *testing.T) {
		h := hold(t, nil)
		path = filepath.Join(place.Isulad.NetNS(), "outlives")
		must(t, network.Pin(place.Isulad, "outlives", h.pid))
		n, err := sandbox.Lstat(path)
		must(t, err)
		before = n.String()
	})
	node(t, path, before)
	if n := pinsAt(t, path); n != 1 {
		t.Errorf("%d mounts on the pin", n)
	}
	must(t, network.Unpin("outlives"))
}
