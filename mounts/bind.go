// Package mounts brings host directories and files into containers: the bind
// records, the shared path through which host mounts reach a mount namespace,
// and the clean-up that never deletes through a mount.
package mounts

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bind is a record of device_hook.json's bindToAdd.
type Bind struct {
	Host      string // as recorded; links in it are followed when it is bound
	Container string
	Options   string // comma separated, as recorded
}

// String is the record as it stands in device_hook.json.
func (b Bind) String() string { return b.Host + ":" + b.Container + ":" + b.Options }

// UnmarshalText splits "host:container:options".
func (b *Bind) UnmarshalText(text []byte) error {
	fields := strings.Split(string(text), ":")
	if len(fields) != 3 {
		// Compat: config-bind-two-part-unloadable.
		//lint:ignore ST1005 the wording of v0.9
		return fmt.Errorf("Wrong bind format: %s,err bind must have two : in string", text)
	}
	*b = Bind{fields[0], fields[1], fields[2]}
	return nil
}

// MarshalText is the opposite of UnmarshalText.
func (b Bind) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// ErrSameTarget says that two records have one container path.
//
//lint:ignore ST1005 the wording of v0.9
var ErrSameTarget = errors.New("Mount more than one host paths to a single path in container")

// Check refuses records that contradict each other: a container path can be
// used once, and a host path has one pair of staging mounts, with one set of
// options.
func Check(binds []Bind) error {
	targets := make(map[string]bool, len(binds))
	hosts := make(map[string]string, len(binds))
	for _, b := range binds {
		target, host := filepath.Clean(b.Container), filepath.Clean(b.Host)
		if targets[target] {
			return ErrSameTarget
		}
		targets[target] = true
		if old, ok := hosts[host]; ok && !sameOptions(old, b.Options) {
			//lint:ignore ST1005 the wording of v0.9
			return fmt.Errorf("Mount one host path with different permissions, old: %s, new: %s", old, b.Options)
		}
		hosts[host] = b.Options
	}
	return nil
}

// sameOptions compares options as sets.
func sameOptions(a, b string) bool {
	if a == b {
		return true
	}
	x, y := strings.Split(a, ","), strings.Split(b, ",")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// options are the parsed options of a record.
type options struct {
	readOnly    bool
	propagation uintptr // of mount(2); 0 when no option says it
	idmap       bool    // owners are those of the container's user namespace
}

// option is a word among a record's options, which has at most one of each group.
type option struct {
	name, group string
	set         func(*options)
}

var known = [...]option{
	{"ro", "access", func(o *options) { o.readOnly = true }},
	{"rw", "access", func(*options) {}},
	{"private", "propagation", func(o *options) { o.propagation = unix.MS_PRIVATE }},
	{"rprivate", "propagation", func(o *options) { o.propagation = unix.MS_PRIVATE | unix.MS_REC }},
	{"rslave", "propagation", func(o *options) { o.propagation = unix.MS_SLAVE | unix.MS_REC }},
	{"idmap", "owners", func(o *options) { o.idmap = true }},
}

func parseOptions(s string) (o options, err error) {
	var groups []string
	for name := range strings.SplitSeq(s, ",") {
		i := slices.IndexFunc(known[:], func(k option) bool { return k.name == name })
		if i < 0 || slices.Contains(groups, known[i].group) {
			return options{}, fmt.Errorf("invalid permissions: %s", s)
		}
		groups = append(groups, known[i].group)
		known[i].set(&o)
	}
	return o, nil
}

// receives is the propagation of what the record gives the container. What the host
// mounts in the tree later arrives, as the host has it; not in a tree that is read-only,
// for it could be written, unless rslave asks for it.
func (o options) receives() uintptr {
	switch {
	case o.propagation != 0:
		return o.propagation
	case o.readOnly:
		return unix.MS_PRIVATE | unix.MS_REC
	}
	return unix.MS_SLAVE | unix.MS_REC
}
