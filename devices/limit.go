package devices

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// Limit is a record of one of device_hook.json's five lists of I/O limits.
type Limit struct {
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
	Path  string `json:"path"`  // of the device on the host
	Value string `json:"value"` // operations or bytes per second, or a weight
	// Optional is the device's, see Device.
	Optional bool `json:"optional,omitempty"`
	// Identity is that of the device with this path, see Device.
	Identity string `json:"identity,omitempty"`
}

// String is the record in the form path value, with the numbers.
func (l Limit) String() string {
	return fmt.Sprintf("%s %s (%d:%d)", l.Path, l.Value, l.Major, l.Minor)
}

// limit says where one kind of limit is kept and set.
type limit struct {
	name   string
	key    string   // of device_hook.json
	v1     []string // files of the blkio controller; the first that exists
	v2     []string // files of the unified hierarchy
	v2key  string   // in front of the value there
	weight bool     // a weight: not every scheduler has them
	most   int64    // the largest rate
}

// mostIOPS: the kernel counts operations in 32 bits, and would cut off the rest; all ones
// stand for no limit.
const mostIOPS = math.MaxUint32 - 1

var limits = [...]limit{
	{"read iops", config.ReadIOPS, []string{"blkio.throttle.read_iops_device"}, []string{"io.max"}, "riops=", false, mostIOPS},
	{"write iops", config.WriteIOPS, []string{"blkio.throttle.write_iops_device"}, []string{"io.max"}, "wiops=", false, mostIOPS},
	{"read bps", config.ReadBPS, []string{"blkio.throttle.read_bps_device"}, []string{"io.max"}, "rbps=", false, math.MaxInt64},
	{"write bps", config.WriteBPS, []string{"blkio.throttle.write_bps_device"}, []string{"io.max"}, "wbps=", false, math.MaxInt64},
	{"blkio weight", config.BlkioWeight, []string{"blkio.weight_device", "blkio.bfq.weight_device"}, []string{"io.bfq.weight", "io.weight"}, "", true, 0},
}

// LimitValues tells whether the values of a kind of limit are weights, else the largest rate.
func LimitValues(kind string) (weights bool, largest int64) {
	for _, l := range limits {
		if l.name == kind {
			return l.weight, l.most
		}
	}
	return false, 0
}

// LimitKinds are the kinds of resource that I/O limits are, in the order in
// which they are set.
func LimitKinds() []*resource.Kind[Limit] {
	var kinds []*resource.Kind[Limit]
	for _, l := range limits {
		kinds = append(kinds, &resource.Kind[Limit]{
			Name:    l.name,
			Key:     l.key,
			Policy:  resource.Stop,
			Resolve: resolveLimit,
			Apply:   func(_ context.Context, t *resource.Target, r Limit) error { return l.set(t, r) },
			Remove:  func(_ context.Context, t *resource.Target, r Limit) error { return l.clear(t, r) },
			Verify:  func(context.Context, *resource.Target, Limit) error { return nil },
			Tolerate: func(r Limit, err error) bool {
				return errors.Is(err, ErrNoWeights) || r.Optional && errors.Is(err, errVanished)
			},
		})
	}
	return kinds
}

// resolveLimit renews the numbers from the host's node: of a partition, they are its
// disk's, because the kernel limits nothing else.
func resolveLimit(old Limit) (now Limit, renewed bool, err error) {
	if old.Value == "" || strings.Trim(old.Value, "0123456789") != "" {
		return old, false, fmt.Errorf("value %q: not a number", old.Value)
	}
	// By the same way as the device: another one may have its name.
	d := Device{Type: "b", Major: old.Major, Minor: old.Minor, PathOnHost: old.Path, PathInContainer: old.Path, Identity: old.Identity}
	d, _, err = resolve(d)
	if errors.Is(err, errNoDevice) || err == nil && d.Type != "b" {
		return old, false, fmt.Errorf("%s: not a block device", old.Path)
	}
	if err != nil {
		return old, false, err
	}
	disk, err := wholeDisk(d.Major, d.Minor)
	if err != nil {
		return old, false, err
	}
	now = old
	now.Major, now.Minor = disk.Major, disk.Minor
	return now, now != old, nil
}

// ErrNoWeights says that a disk's I/O scheduler, or this kernel, has no weights.
// A start goes on without, as it always did.
var ErrNoWeights = errors.New("no scheduler with weights")

// CanHaveWeights tells whether the disk's I/O scheduler has weights, or one that
// could be chosen for it has.
func (l Limit) CanHaveWeights() bool {
	list := l.schedulers()
	return strings.Contains(list, "cfq") || strings.Contains(list, "bfq")
}

// schedulers are those that the disk's I/O could have, the present one in brackets.
func (l Limit) schedulers() string {
	list, err := open.Read(fmt.Sprintf("%s/%d:%d/queue/scheduler", sysBlock, l.Major, l.Minor), 4096)
	if err != nil {
		return ""
	}
	return string(list)
}

// set writes the limit to the container's cgroup.
func (k limit) set(t *resource.Target, l Limit) error {
	path, unified, err := k.file(t)
	if err != nil {
		if k.weight && errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrNoWeights, err)
		}
		return err
	}
	value := l.Value
	switch {
	case k.weight && value == "0" && filepath.Base(path) != k.v1[0]:
		value = "default" // only cfq takes a 0 for it
	case unified && value == "0":
		value = "max"
	}
	line := fmt.Sprintf("%d:%d %s", l.Major, l.Minor, value)
	if unified {
		line = fmt.Sprintf("%d:%d %s%s", l.Major, l.Minor, k.v2key, value)
	}
	file, err := open.File(path, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	err = open.WriteTo(file, line)
	if k.weight && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)) {
		return fmt.Errorf("%w: %w", ErrNoWeights, err)
	}
	return err
}

// clear takes the limit away. That of a device which the kernel has no more went
// with it.
func (k limit) clear(t *resource.Target, l Limit) error {
	l.Value = "0"
	err := k.set(t, l)
	if errors.Is(err, ErrNoWeights) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	return err
}

// file returns the control file of the limit, and whether it is of the unified
// hierarchy.
func (k limit) file(t *resource.Target) (string, bool, error) {
	dir, unified, err := t.Cgroups.Directory("blkio")
	if err != nil {
		return "", false, err
	}
	files := k.v1
	if unified {
		files = k.v2
	}
	if _, err := os.Stat(dir); err != nil {
		return "", unified, fmt.Errorf("the container's cgroup %s: %v", dir, err)
	}
	for _, f := range files {
		if p := filepath.Join(dir, f); exists(p) {
			return p, unified, nil
		}
	}
	return "", unified, fmt.Errorf("none of %s in %s: %w", strings.Join(files, ", "), dir, os.ErrNotExist)
}
