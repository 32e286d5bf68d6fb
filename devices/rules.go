package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

const rulesDir = "/etc/udev/rules.d"

// Disk is a disk of a container whose partitions udevd shall tell us about.
type Disk struct {
	Path string // in the container
	Name string // of the kernel
}

// Disks lists those of a container's devices that are disks now.
func Disks(list []Device) ([]Disk, error) {
	var disks []Disk
	for _, d := range list {
		if d.Type != "b" {
			continue
		}
		block, err := FindBlock(d.Major, d.Minor)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a node without a device behind it has no partitions
		}
		if err != nil {
			return nil, err
		}
		if block.Type != "disk" {
			continue
		}
		if err := CheckDiskPath(d.PathInContainer); err != nil {
			return nil, err
		}
		disks = append(disks, Disk{Path: d.PathInContainer, Name: block.Name})
	}
	return disks, nil
}

// ruleLine is the line for one disk of container id.
func ruleLine(g place.Generation, id string, d Disk) string {
	return fmt.Sprintf(`KERNEL=="%s*",ACTION=="add|remove", ENV{DEVTYPE}=="partition", SUBSYSTEM=="block", RUN{program}+="%s %s $name %s %s"`,
		d.Name, helperPath(g)+" $env{ACTION}", short(id), d.Path, d.Name)
}

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
				want = append(want, ruleLine(g, id, d))
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
	if err := atomicfile.Sweep(rulesDir, filepath.Base(path)); err != nil {
		return false, err
	}
	old, err := readRules(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	text, changed := editRules(g, old, id, want)
	if !changed {
		return false, nil
	}
	if err := os.MkdirAll(rulesDir, 0o755); err != nil {
		return false, err
	}
	if err := atomicfile.Write(rulesDir, filepath.Base(path), text, 0o600); err != nil {
		return false, fmt.Errorf("save %s: %w", path, err)
	}
	return true, nil
}

// readRules reads the file of rules at once, with room for some more: that of a
// host with many containers has megabytes.
func readRules(path string) ([]byte, error) {
	f, err := open.File(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+4096))
	_, err = text.ReadFrom(f)
	return text.Bytes(), err
}

// editRules returns text with the lines of container id replaced by want, and
// whether that is another text. A line that is wanted and there stays where it
// is. Only lines of the container are looked at one by one.
func editRules(g place.Generation, text []byte, id string, want []string) ([]byte, bool) {
	missing := slices.Clone(want)
	ours := []byte(" $env{ACTION} " + short(id) + " $name ")
	changed := false
	for from := 0; ; {
		at := bytes.Index(text[from:], ours)
		if at < 0 {
			break
		}
		start := bytes.LastIndexByte(text[:from+at], '\n') + 1
		end := len(text)
		if n := bytes.IndexByte(text[start:], '\n'); n >= 0 {
			end = start + n + 1
		}
		if i := slices.Index(missing, string(bytes.TrimSuffix(text[start:end], []byte("\n")))); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			from = end
			continue
		}
		text = slices.Delete(text, start, end)
		from, changed = start, true
	}
	if len(missing) == 0 && !changed {
		return text, false
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text, '\n')
	}
	first := "## This File is auto-generated by " + g.Tool + ".\n"
	if !bytes.HasPrefix(text, []byte(first)) {
		text = slices.Insert(text, 0, []byte(first+"## DO   NOT  EDIT   IT\n\n")...)
	}
	for _, line := range missing {
		text = append(append(text, line...), '\n')
	}
	return text, true
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
