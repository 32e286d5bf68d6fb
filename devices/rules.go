package devices

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
)

const rulesDir = "/etc/udev/rules.d"

// Disk is a disk of a container about which, and about whose partitions, udevd
// shall tell us.
type Disk struct {
	Path string // in the container
	Name string // of the kernel
	Link string // below /dev, of one that is known by such: disk/by-id/NAME
}

// Disks lists the recorded devices that are disks now: whole ones, which can have
// partitions.
func Disks(records []Device) ([]Disk, error) {
	var disks []Disk
	for _, d := range records {
		if d.Type != "b" || d.Parent != "" {
			continue
		}
		block, err := FindBlock(d.Major, d.Minor)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a node without a device behind it has no partitions
		}
		if err != nil {
			return nil, err
		}
		if !block.partitionable() {
			continue
		}
		// By numbers that are no longer its own it would be another disk.
		if now, _, err := resolve(d); err != nil || now.Major != d.Major || now.Minor != d.Minor {
			continue
		}
		if err := CheckDiskPath(d.PathInContainer); err != nil {
			return nil, err
		}
		disk := Disk{Path: d.PathInContainer, Name: block.Name}
		if link, ok := strings.CutPrefix(d.PathOnHost, "/dev/disk/by-id/"); ok && CheckDiskPath(link) == nil {
			disk.Link = "disk/by-id/" + link
		}
		disks = append(disks, disk)
	}
	return disks, nil
}

// ruleLines are the lines for one disk of container id: one for its partitions,
// one for itself, which goes by its link, should it come back under another name.
func ruleLines(g place.Generation, id string, d Disk) []string {
	itself := `KERNEL=="` + d.Name + `"`
	if d.Link != "" {
		itself = `SYMLINK=="` + d.Link + `"`
	}
	run := func(disk string) string {
		return fmt.Sprintf(`SUBSYSTEM=="block", RUN{program}+="%s $env{ACTION} %s $name %s %s"`, helperPath(g), short(id), d.Path, disk)
	}
	return []string{
		fmt.Sprintf(`KERNEL=="%s*",ACTION=="add|remove", ENV{DEVTYPE}=="partition", %s`, d.Name, run(d.Name)),
		fmt.Sprintf(`%s,ACTION=="add|remove", ENV{DEVTYPE}=="disk", %s`, itself, run(Itself)),
	}
}

// Itself stands in a disk's own rule where that of its partitions has the disk's
// kernel name.
const Itself = "-"

func helperPath(g place.Generation) string { return "/lib/udev/" + g.Helper }

// short is the part of an id that stands in a rule: of an id as iSulad makes
// them its beginning, any other whole.
func short(id string) string {
	if len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" {
		return id[:8]
	}
	return id
}

// CheckDiskPath refuses a disk's path in the container that cannot stand in a rule:
// the rule is text that root's udevd runs.
func CheckDiskPath(path string) error {
	for _, c := range path {
		if c <= ' ' || c == 0x7f || strings.ContainsRune("\"'$%\\", c) {
			return fmt.Errorf("path %q: a disk's path in the container must not contain %q", path, c)
		}
	}
	return nil
}

// SyncRules makes the udev rules of container id those of its disks, in the file of
// generation g; an older generation's file loses what it has of the container.
// Lines of others stay. It tells whether udevd must be told; see ReloadRules.
func SyncRules(ctx context.Context, g place.Generation, id string, disks []Disk, wait time.Duration) (changed bool, err error) {
	var errs []error
	for _, other := range place.Generations {
		var want []string
		if other == g {
			for _, d := range disks {
				want = append(want, ruleLines(g, id, d)...)
			}
		}
		c, err := syncFile(ctx, other, id, want, wait)
		changed = changed || c
		errs = append(errs, err)
	}
	return changed, errors.Join(errs...)
}

func syncFile(ctx context.Context, g place.Generation, id string, want []string, wait time.Duration) (bool, error) {
	path := filepath.Join(rulesDir, "99-"+g.Tool+".rules")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && len(want) == 0 {
		return false, nil
	}
	if err := mountpoint.Mkdir(g.RunDir, 0o644); err != nil {
		return false, err
	}
	lock, err := config.LockFile(ctx, filepath.Join(g.RunDir, "udevd_config_locker"), wait)
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	text := editRules(g, string(old), id, want)
	if text == string(old) {
		return false, nil
	}
	if err := os.MkdirAll(rulesDir, 0o755); err != nil {
		return false, err
	}
	if err := atomicfile.Write(rulesDir, filepath.Base(path), []byte(text), 0o600); err != nil {
		return false, fmt.Errorf("save %s: %w", path, err)
	}
	return true, nil
}

// editRules returns text with the lines of container id replaced by want. A line
// that is wanted and there stays where it is.
func editRules(g place.Generation, text, id string, want []string) string {
	var lines []string
	missing := slices.Clone(want)
	changed := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if i := slices.Index(missing, line); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		} else if strings.Contains(line, " $env{ACTION} "+short(id)+" $name ") {
			changed = true
			continue
		}
		lines = append(lines, line)
	}
	if len(missing) == 0 && !changed {
		return text
	}
	header := []string{"## This File is auto-generated by " + g.Tool + ".", "## DO   NOT  EDIT   IT", ""}
	if len(lines) < 2 || lines[0] != header[0] {
		lines = append(header, lines...)
	}
	return strings.Join(append(lines, missing...), "\n") + "\n"
}

// ReloadRules tells udevd that rules changed. It is called without any lock: udevd
// may be waiting for a helper that waits for one.
func ReloadRules(ctx context.Context) error {
	udevadm, err := command.Find("udevadm")
	if err != nil {
		return err
	}
	_, err = command.Cmd{Path: udevadm, Args: []string{"control", "--reload", "--timeout=3"}}.Run(ctx)
	return err
}
