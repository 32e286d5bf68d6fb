package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/docker/go-units"
	"github.com/urfave/cli"

	"isula.org/isulad-tools/devices"
)

// mapping is a device as an argument has it: host[:container][:permissions].
type mapping struct{ host, container, permissions string }

func (m mapping) String() string { return m.host + ":" + m.container }

// parseMapping takes an argument apart. Two fields are a container path or a
// permission, whichever the second looks like; empty fields count as not given.
func parseMapping(arg string) (m mapping, err error) {
	fields := strings.Split(arg, ":")
	m.host, m.permissions = fields[0], "rwm"
	switch {
	case len(fields) > 3 || !utf8.ValidString(arg): // JSON could not keep it
		return m, fmt.Errorf("invalid device specification: %s", arg)
	case len(fields) == 2 && isPermission(fields[1]):
		m.permissions = fields[1]
	case len(fields) >= 2:
		m.container = fields[1]
	}
	if len(fields) == 3 && fields[2] != "" {
		m.permissions = fields[2]
	}
	if !isPermission(m.permissions) {
		return m, fmt.Errorf("invalid permission: %s", m.permissions)
	}
	if m.host, err = cleanPath("hostpath", m.host); err != nil {
		return m, err
	}
	if m.container, err = cleanPath("containerpath", m.container); err != nil {
		return m, err
	}
	if m.host == "" && m.container == "" {
		return m, errors.New("either of host path and container path should be assigned")
	}
	return m, nil
}

func cleanPath(what, path string) (string, error) {
	switch {
	case path == "":
		return "", nil
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("%s should be an absolute path: %s", what, path)
	}
	return filepath.Clean(path), nil
}

func isPermission(p string) bool {
	for i, c := range p {
		if !strings.ContainsRune("rwm", c) || strings.ContainsRune(p[:i], c) {
			return false
		}
	}
	return p != ""
}

// parseMappings reads a command's arguments behind the container.
func parseMappings(c *cli.Context) ([]mapping, error) {
	var list []mapping
	for _, arg := range c.Args().Tail() {
		m, err := parseMapping(arg)
		if err != nil {
			//lint:ignore ST1005 the wording of v0.9
			return nil, fmt.Errorf("Failed to parse device mapping: %s, %w", arg, err)
		}
		list = append(list, m)
	}
	return list, nil
}

// parseDevices reads a command's arguments behind the container, and looks at the
// devices that the host has there: of a directory, at those in it.
func parseDevices(c *cli.Context) (list []devices.Device, folders bool, err error) {
	for _, arg := range c.Args().Tail() {
		ms, folder, err := parseHosts(arg)
		if err != nil {
			//lint:ignore ST1005 the wording of v0.9
			return nil, false, fmt.Errorf("Failed to parse device: %s, %w", arg, err)
		}
		folders = folders || folder
		var failed []string // of a directory's, each is told
		for _, m := range ms {
			of := arg
			if folder {
				of = m.host
			}
			if list, err = addParsed(list, m, of, c.Bool("follow-partition"), c.Bool(optionalFlag.Name)); err != nil {
				failed = append(failed, err.Error())
			}
		}
		if len(failed) > 0 {
			return nil, false, errors.New(strings.Join(failed, "; "))
		}
	}
	return list, folders, nil
}

// addParsed adds the device of a mapping to list, with its partitions if they are to
// follow. of is what errors call it.
func addParsed(list []devices.Device, m mapping, of string, follow, optional bool) ([]devices.Device, error) {
	d, block, err := parseDevice(m)
	if optional && m.host != "" && errors.Is(err, fs.ErrNotExist) {
		away := devices.Away(m.host)
		away.PathInContainer, away.CgroupPermissions, away.Optional = m.withDefaults().container, m.permissions, true
		return append(list, away), nil
	}
	if err != nil {
		//lint:ignore ST1005 the wording of v0.9
		return list, fmt.Errorf("Failed to parse device: %s, %w", of, err)
	}
	d.Optional = optional
	if follow && d.Parent != "" && slices.ContainsFunc(list, func(o devices.Device) bool { return o.Same(d) && o.PathInContainer == d.PathInContainer }) {
		return list, nil // a partition that followed its disk
	}
	list = append(list, d)
	switch {
	case !follow:
		return list, nil
	case d.Type == "c":
		//lint:ignore ST1005 the wording of v0.9
		return list, fmt.Errorf("Char device %s not support follow partition", of)
	case !block.Partitionable():
		return list, nil
	}
	parts, err := devices.PartitionsOf(d, block)
	if err != nil {
		//lint:ignore ST1005 as above
		return list, fmt.Errorf("Failed to parse device: %s, %w", of, err)
	}
	for _, p := range parts {
		if !hasHost(list, p.PathOnHost) { // given by itself, too
			list = append(list, p)
		}
	}
	return list, nil
}

// parseHosts reads one argument: a device, or a directory of the host for all that are
// in it. A directory without any is taken for a device, which it is not.
func parseHosts(arg string) (list []mapping, folder bool, err error) {
	m, err := parseMapping(arg)
	if err != nil {
		return nil, false, err
	}
	if st, err := os.Stat(m.host); err != nil || !st.IsDir() || m.host == "/" {
		return []mapping{m}, false, nil
	}
	names, err := devices.InFolder(m.host)
	if err != nil {
		return nil, false, err
	}
	inside := m.withDefaults().container
	for _, name := range names {
		if !utf8.ValidString(name) || strings.Contains(name, ":") {
			return nil, false, fmt.Errorf("the name of %q in it cannot be recorded: add the others one by one", name)
		}
		list = append(list, mapping{filepath.Join(m.host, name), filepath.Join(inside, name), m.permissions})
	}
	if len(list) == 0 {
		return []mapping{m}, false, nil
	}
	return list, true, nil
}

func hasHost(list []devices.Device, path string) bool {
	for _, d := range list {
		if d.PathOnHost == path {
			return true
		}
	}
	return false
}

// parseDevice looks at the device of one mapping. Of a block device, block is what the
// kernel says.
func parseDevice(m mapping) (d devices.Device, block devices.Block, err error) {
	if d, err = devices.FromNode(m.host); err != nil {
		return d, block, err
	}
	d.CgroupPermissions = m.permissions
	if m.container != "" {
		d.PathInContainer = m.container
	}
	if d.PathInContainer == "/" {
		return d, block, errors.New("containerpath should not be /")
	}
	if d.Type == "c" {
		return d, block, nil
	}
	if block, err = blockOf(d); err != nil {
		return d, block, err
	}
	if block.Type != "lvm" {
		d.Parent = block.ParentPath()
	}
	if block.Partitionable() {
		err = devices.CheckDiskPath(d.PathInContainer)
	}
	return d.Bind(), block, err
}

func blockOf(d devices.Device) (devices.Block, error) {
	block, err := devices.FindBlock(d.Major, d.Minor)
	if errors.Is(err, fs.ErrNotExist) {
		return block, fmt.Errorf("the kernel has no block device %d:%d", d.Major, d.Minor)
	}
	return block, err
}

// limitFlag is an option for I/O limits of one kind.
type limitFlag struct{ kind, flag, usage string }

// limitFlags are the options for I/O limits, by the kind's name, in the order in
// which v0.9 looks at them. Only the first, that of weights, is not for
// update-device.
var limitFlags = [...]limitFlag{
	{"blkio weight", "blkio-weight-device", "set the I/O weight of a disk, `PATH:WEIGHT`: 10 to 1000, or 0 for none"},
	{"read bps", "device-read-bps", "limit reading from a disk, `PATH:SIZE` a second: 512k, 1.5mb; 0 for no limit"},
	{"write bps", "device-write-bps", "limit writing to a disk, `PATH:SIZE` a second"},
	{"read iops", "device-read-iops", "limit reading from a disk, `PATH:NUMBER` of operations a second"},
	{"write iops", "device-write-iops", "limit writing to a disk, `PATH:NUMBER` of operations a second"},
}

// limitRequest is a limit that a command asks for.
type limitRequest struct {
	kind string
	devices.Limit
	partition, disk string // the path that was typed, where the limit is that of its disk; the kernel's name of that
	away            error  // the host does not have the device now: it is kept for its return, if it is recorded
}

// parseLimits reads the options for I/O limits. Of several for one disk, the last
// one counts.
func parseLimits(c *cli.Context) ([]limitRequest, error) {
	var list []limitRequest
	for _, f := range limitFlags {
		for _, value := range c.StringSlice(f.flag) {
			l, err := parseLimit(f.kind, value)
			if err != nil {
				return nil, err
			}
			same := func(w limitRequest) bool {
				return w.kind == f.kind && w.Major == l.Major && w.Minor == l.Minor && (l.away == nil || w.Path == l.Path)
			}
			list = append(deleteRequest(list, same), l)
		}
	}
	return list, nil
}

func deleteRequest(list []limitRequest, which func(limitRequest) bool) []limitRequest {
	var rest []limitRequest
	for _, w := range list {
		if !which(w) {
			rest = append(rest, w)
		}
	}
	return rest
}

// parseLimit reads PATH:VALUE. The path is recorded as typed, but for a partition's.
func parseLimit(kind, arg string) (l limitRequest, err error) {
	path, value, ok := strings.Cut(arg, ":")
	if !ok || !utf8.ValidString(arg) {
		//lint:ignore ST1005 the wording of v0.9
		return l, fmt.Errorf("Bad format: %s", arg)
	}
	m, err := parseMapping(path)
	if err != nil {
		return l, err
	}
	if l, err = limitOf(kind, path, m.host); err != nil {
		return l, err
	}
	weights, largest := devices.LimitValues(kind)
	if weights {
		if l.Value, ok = parseWeight(value); !ok {
			//lint:ignore ST1005 the wording of v0.9
			return l, fmt.Errorf("Invalid weight for device: %s", arg)
		}
		return l, nil
	}
	if l.Value, ok = parseSize(value, largest); !ok {
		//lint:ignore ST1005 the wording of v0.9
		return l, fmt.Errorf("Invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. "+
			"Number must be a positive integer. Unit is optional and can be kb, mb, or gb", arg)
	}
	return l, nil
}

// limitOf is a limit without a value, of the device that the host has at a path.
func limitOf(kind, path, host string) (l limitRequest, err error) {
	d, err := devices.FromNode(host)
	if errors.Is(err, fs.ErrNotExist) {
		return limitRequest{kind: kind, Limit: devices.Limit{Major: -1, Minor: -1, Path: host}, away: err}, nil
	}
	if err != nil {
		return l, err
	}
	if d.Type == "c" {
		return l, errors.New("cannot set Qos of a char device")
	}
	block, err := blockOf(d)
	if err != nil {
		return l, fmt.Errorf("%s: %w", path, err)
	}
	disk, err := block.Whole()
	if err != nil {
		return l, fmt.Errorf("cannot set Qos of a child device: %w", err)
	}
	l = limitRequest{kind: kind, Limit: devices.Limit{Major: disk.Major, Minor: disk.Minor, Path: path}}
	if disk != block {
		l.partition, l.disk, l.Path = path, "/dev/"+disk.Name, diskPath(host, disk)
	}
	return l, nil
}

// diskPath is the path by which the limit of a disk is recorded that was given by that
// of a partition: the kernel's name of the disk, which v0.9 understands, too. A link to
// the partition stays: it leads to the same disk when the kernel's names change.
func diskPath(partition string, disk devices.Block) string {
	path := "/dev/" + disk.Name
	d, err := devices.FromNode(path)
	if _, e := os.Readlink(partition); e == nil || err != nil || d.Major != disk.Major || d.Minor != disk.Minor {
		return partition
	}
	return path
}

func parseWeight(s string) (string, bool) {
	w, err := strconv.ParseUint(s, 10, 16)
	if err != nil || w > 0 && (w < 10 || w > 1000) {
		return "", false
	}
	return strconv.FormatUint(w, 10), true
}

// isSize tells whether s is a number, optionally with a fraction, and with a unit: the
// library that reads sizes takes more for one. No regular expression: every start would
// pay for it and its tables.
func isSize(s string) bool {
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if end := len(s) - 1; end >= 0 && s[end]|0x20 == 'b' { // either case
		s = s[:end]
	}
	if end := len(s) - 1; end >= 0 && strings.IndexByte("kmgtp", s[end]|0x20) >= 0 {
		s = s[:end]
	}
	whole, fraction, dotted := strings.Cut(s, ".")
	return digits(whole) && (!dotted || digits(fraction))
}

// parseSize reads a number with a unit of 1024s.
//
// Compat: qos-size-*, the arithmetic is that of floating point numbers: what is
// near 2^63 is rounded up to it and refused. What is cut off to 0 is refused, too:
// 0 stands for no limit.
func parseSize(s string, largest int64) (string, bool) {
	if !isSize(s) {
		return "", false
	}
	size, err := units.RAMInBytes(s)
	// From 2^63 on the library's conversion gives, by the processor, the least or the
	// largest integer, neither of which a smaller floating point number becomes.
	if err != nil || size < 0 || size == math.MaxInt64 || size > largest {
		return "", false
	}
	if size == 0 && strings.ContainsAny(s, "123456789") {
		return "", false
	}
	return strconv.FormatInt(size, 10), true
}
