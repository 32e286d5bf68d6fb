package mounts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// ofProc are the files of /proc that may be mounted over: those that runtimes allow, and
// lxcfs serves.
var ofProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev", "/proc/slabinfo", "/proc/stat", "/proc/swaps",
	"/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid", "/proc/uptime",
}

// CheckTarget refuses the container paths over which nothing can be mounted without
// breaking the container.
func CheckTarget(path string) error {
	path = filepath.Clean("/" + path)
	switch {
	case slices.Contains([]string{"/", "/dev", "/proc", "/sys"}, path):
		return fmt.Errorf("%s in the container cannot be mounted over, the container would stop working: choose a path below it or elsewhere", path)
	case place.Within(path, "/proc") && !slices.Contains(ofProc, path):
		return fmt.Errorf("%s in the container cannot be mounted over: below /proc only the files that runtimes allow can be, such as cpuinfo and meminfo", path)
	}
	return nil
}

// checkPoint refuses a mount point that links have led to where none is to be, and one in
// a tree of the host that hands on what is mounted there: the host would have the mount,
// too.
func checkPoint(t *resource.Target, b Bind, point *os.File) error {
	on, err := t.Root.Where(point)
	if err != nil {
		return err
	}
	at := ""
	if !on.Root { // /proc, /sys and /dev are mounts
		at, err = t.Root.Path(point)
	} else if is, e := t.Root.IsRoot(point); is || e != nil {
		at, err = "/", e
	}
	if err == nil && at != "" {
		err = CheckTarget(at)
	}
	if err != nil {
		return fmt.Errorf("%s leads to %s: %w", b.Container, command.Printable(at), err)
	}
	if on.OfHost && on.Shared {
		return fmt.Errorf("%s in the container is in a host directory, mounted on %s, that shares its mounts with the host: choose another path", b.Container, command.Printable(on.Point))
	}
	return nil
}

// unmountBelow unmounts the paths below b that the container was granted before it: they would
// be hidden, where nobody could take them away. reconcile gives them back, on top.
func unmountBelow(t *resource.Target, b Bind) error {
	prefix, err := json.Marshal(":" + filepath.Clean(b.Container) + "/")
	if err != nil {
		return err
	}
	below := map[int]bool{}
	for _, g := range t.Ledger.Grants(kindName, false) {
		var is made
		if bytes.Contains(g.Record, prefix[1:len(prefix)-1]) && json.Unmarshal(g.Made, &is) == nil {
			below[is.ID] = true
		}
	}
	if len(below) == 0 {
		return nil
	}
	_, err = mounttable.Detach(t.Mounts(), func(m *mountpoint.Mount) bool { return below[m.ID] })
	return err
}

// isBelowAny tells whether a path is below one of points.
func isBelowAny(points map[string]bool, path string) bool {
	for path = filepath.Clean(path); path != "/" && path != "."; {
		if path = filepath.Dir(path); points[path] {
			return true
		}
	}
	return false
}

// outermostFirst orders records so that none hides another.
func outermostFirst(a, b Bind) int { return depth(a.Container) - depth(b.Container) }

func depth(path string) (n int) {
	for _, c := range filepath.Clean(path) {
		if c == '/' {
			n++
		}
	}
	return n
}
