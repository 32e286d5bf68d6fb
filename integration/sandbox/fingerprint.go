package sandbox

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Fingerprint is the state of the sandbox' "host" that a container's life must
// not change: fact -> value.
type Fingerprint map[string]string

// places are the trees that hooks write to. All of them are the sandbox's own,
// fresh or without what the host has there.
var places = []string{"/dev", "/run", "/.sharedpath", "/etc/udev/rules.d", "/var/lib/isulad", "/var/lib/lcrd", "/var/log/hyperagent"}

// TakeFingerprint records the mount table, owner and mode of every node in the
// places hooks write to (and in more when given), links, and the cgroups of
// this run.
func TakeFingerprint(more ...string) (Fingerprint, error) {
	f := Fingerprint{}
	mounts, err := Mounts(0)
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		f.count("mount " + MountLine(m))
	}
	for _, p := range append(slices.Clone(places), more...) {
		if err := f.addTree(p); err != nil {
			return nil, err
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		// Whether it is running the kernel finds out a little later.
		f["link "+l.Name] = fmt.Sprintf("%s %s mtu %d", l.HardwareAddr, l.Flags&^net.FlagRunning, l.MTU)
	}
	for _, dir := range CgroupDirs(CgroupParent()) {
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && p != dir {
				f["cgroup "+p] = "present"
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// count lets identical mounts on top of each other be told apart.
func (f Fingerprint) count(key string) { f[key] += "+" }

func (f Fingerprint) addTree(dir string) error {
	if _, err := os.Lstat(dir); err != nil {
		return nil
	}
	tree, err := Tree(dir, func(p string) bool { return dir == "/dev" && p == "/pts" })
	if err != nil {
		return err
	}
	for p, n := range tree {
		f["file "+filepath.Join(dir, p)] = fmt.Sprintf("%s %d bytes", n, n.Size)
	}
	return nil
}

// Diff lists what after has more, less or otherwise, one line each; empty when
// both are the same. Facts starting with one of the ignored prefixes (like
// "file /run/runc") do not count.
func (f Fingerprint) Diff(after Fingerprint, ignore ...string) []string {
	var lines []string
	keys := slices.Collect(maps.Keys(f))
	keys = append(keys, slices.Collect(maps.Keys(after))...)
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		if slices.ContainsFunc(ignore, func(p string) bool { return strings.HasPrefix(k, p) }) {
			continue
		}
		old, had := f[k]
		now, has := after[k]
		switch {
		case had && !has:
			lines = append(lines, fmt.Sprintf("- %s: %s", k, old))
		case !had && has:
			lines = append(lines, fmt.Sprintf("+ %s: %s", k, now))
		case old != now:
			lines = append(lines, fmt.Sprintf("~ %s: %s, was %s", k, now, old))
		}
	}
	return lines
}
