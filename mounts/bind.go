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
// used once, and a host path has one pair of transfer mounts, with one set of
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

// options lists each option with the flag that mount(2) has for it, and the
// group of which a record can have one.
type option struct {
	name, group string
	flag        uintptr
}

var options = [...]option{
	{"ro", "access", unix.MS_RDONLY},
	{"rw", "access", 0},
	{"private", "propagation", unix.MS_PRIVATE},
	{"rprivate", "propagation", unix.MS_PRIVATE | unix.MS_REC},
	{"rslave", "propagation", unix.MS_SLAVE | unix.MS_REC},
}

// parseOptions returns whether a mount is read-only and the flags of its
// propagation, 0 to leave it as it comes.
func parseOptions(s string) (readOnly bool, propagation uintptr, err error) {
	var groups []string
	for name := range strings.SplitSeq(s, ",") {
		i := slices.IndexFunc(options[:], func(o option) bool { return o.name == name })
		if i < 0 || slices.Contains(groups, options[i].group) {
			return false, 0, fmt.Errorf("invalid permissions: %s", s)
		}
		groups = append(groups, options[i].group)
		if options[i].group == "access" {
			readOnly = options[i].flag != 0
		} else {
			propagation = options[i].flag
		}
	}
	return readOnly, propagation, nil
}
