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

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

const rulesDir = "/etc/udev/rules.d"

// maxRules bounds what is read of the file of rules: that of a host with many
// containers has megabytes.
const maxRules = 64 << 20

// ruleLines are the lines for one device of container id. A disk has one for its
// partitions, and one for itself. The latter goes by the disk's link, if it has one: it
// may come back under another name. The former goes without one while it is away. A change is
// of interest only where it is all that udevd is told: one follows every closing of a disk that
// was open for writing.
func ruleLines(g place.Generation, id string, f Followed) []string {
	run := func(helper, disk string) string {
		return fmt.Sprintf(`RUN{program}+="%s $env{ACTION} %s $name %s %s"`, helper, place.Short(id), f.Path, disk)
	}
	line := func(match, actions, devtype, disk string) string {
		return fmt.Sprintf(`%s,ACTION=="%s", ENV{DEVTYPE}=="%s", SUBSYSTEM=="block", %s`, match, actions, devtype, run(HelperPath(g), disk))
	}
	var lines []string
	for _, match := range f.Matches {
		lines = append(lines, match+", "+run(strings.Join(Helper(g), " "), Itself))
	}
	if f.Name != "" {
		lines = append(lines, line(`KERNEL=="`+f.Name+`*"`, "add|remove", "partition", f.Name))
	}
	switch {
	case f.Link != "":
		actions := "add|remove"
		if f.Exchanged {
			actions = "add|change|remove"
		}
		lines = append(lines, line(`SYMLINK=="`+f.Link+`"`, actions, "disk", Itself))
		if f.Name != "" && (f.Exchanged || f.Bound) {
			lines = append(lines, line(`KERNEL=="`+f.Name+`"`, actions, "disk", Itself))
		}
	case f.Name != "":
		lines = append(lines, line(`KERNEL=="`+f.Name+`"`, "add|remove", "disk", Itself))
	}
	return lines
}

// Itself stands in a device's own rule where that of a disk's partitions has the disk's
// kernel name.
const Itself = "-"

// HelperPath is where udevd finds the helper of generation g.
func HelperPath(g place.Generation) string { return "/lib/udev/" + g.Helper }

// asHelper is the command by which the tool is the helper, too.
const asHelper = "udev-event"

// Helper is the helper's command line. Where it is not installed, the tool's program is
// the helper, too.
func Helper(g place.Generation) []string {
	self, err := os.Executable()
	if err == nil && filepath.Base(self) == g.Tool && CheckDiskPath(self) == nil && !exists(HelperPath(g)) {
		return []string{self, asHelper}
	}
	return []string{HelperPath(g)}
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

// SyncRules makes the udev rules of container id those of its devices, in the file of
// generation g; an older generation's file loses what it has of the container.
// Lines of others stay. It tells whether udevd must be told; see ReloadRules.
func SyncRules(ctx context.Context, g place.Generation, id string, list []Followed, wait time.Duration) (changed bool, err error) {
	var errs []error
	for _, other := range place.Generations {
		var want []Followed
		if other == g {
			want = list
		}
		c, err := syncFile(ctx, other, id, want, wait)
		changed = changed || c
		errs = append(errs, err)
	}
	return changed, errors.Join(errs...)
}

// SyncRules makes the rules those of the container's devices, by the names that they have
// now; see SyncRules.
func (h *Hotplug) SyncRules(ctx context.Context, g place.Generation, id string, wait time.Duration) (changed bool, err error) {
	list, err := h.Followed()
	if err == nil {
		err = h.doc.Save()
	}
	if err != nil {
		return false, err
	}
	return SyncRules(ctx, g, id, list, wait)
}

func syncFile(ctx context.Context, g place.Generation, id string, list []Followed, wait time.Duration) (bool, error) {
	path := rulesPath(g)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && len(list) == 0 {
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
	old, err := open.Read(path, maxRules)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	var want []string
	for _, f := range list {
		var lines []string
		if f.Away { // of a large file nothing is looked for in vain
			lines = linesOf(old, id, f.Path)
		}
		if lines == nil {
			lines = ruleLines(g, id, f)
		}
		want = append(want, lines...)
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

// linesOf are the lines that text has for the device at path in container id.
func linesOf(text []byte, id, path string) (lines []string) {
	end := []byte(" $env{ACTION} " + place.Short(id) + " $name " + path + " " + Itself + `"`)
	if !bytes.Contains(text, end) {
		return nil
	}
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSuffix(line, []byte("\n")); bytes.HasSuffix(line, end) {
			lines = append(lines, string(line))
		}
	}
	return lines
}

// editRules returns text with the lines of container id replaced by want, and
// whether that is another text. A line that is wanted and there stays where it
// is. Only lines of the container are looked at one by one.
func editRules(g place.Generation, text []byte, id string, want []string) ([]byte, bool) {
	missing := slices.Clone(want)
	ours := []byte(" $env{ACTION} " + place.Short(id) + " $name ")
	changed := false
	for from := 0; ; {
		at := bytes.Index(text[from:], ours)
		if at < 0 {
			break
		}
		if before := text[:from+at]; !bytes.HasSuffix(before, []byte("_wrapper")) && !bytes.HasSuffix(before, []byte(" "+asHelper)) {
			from += at + len(ours)
			continue // somebody else's
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

// Settle has udevd told of rules, if they changed, and then has the container's devices looked at
// again: nobody tells of what comes or goes before udevd knows the rules. That look may change
// the rules, too. A device that never comes to rest is left to its next event.
func Settle(changed bool, tell func(), look func() (changed bool)) {
	for range 3 {
		if changed {
			tell()
		}
		if changed = look(); !changed {
			return
		}
	}
	tell()
}

// reloadWait bounds udevadm, which gives up by itself, unless it hangs, after three
// seconds. A container can do without.
const reloadWait = 5 * time.Second

// UdevdRuns tells whether there is an udevd to be told.
func UdevdRuns() bool { return exists("/run/udev/control") }

// ReloadRules tells udevd that rules changed. It is called without any lock: udevd
// may be waiting for a helper that waits for one.
func ReloadRules(ctx context.Context) error {
	udevadm, err := command.LookPath("udevadm")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadWait)
	defer cancel()
	_, err = command.Cmd{Path: udevadm, Args: []string{"control", "--reload", "--timeout=3"}}.Run(ctx)
	return err
}
