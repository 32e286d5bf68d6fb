package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// uninstall takes away what install put there, hook specs first, and gives each
// place back the file it held before. Recorded resources, run directories, logs,
// edited hook specs and files of others stay.
func uninstall(t *tree, askedGraph string, out io.Writer) error {
	graph, err := installedGraph(t, askedGraph)
	if err != nil {
		return err
	}
	for _, s := range specs(graph) {
		have, err := t.read(s.path, limit)
		if err := withdraw(t, s.path, err == nil && s.form.writtenFor(have) != "", out); err != nil {
			return fmt.Errorf("uninstall %s: %w", t.show(s.path), err)
		}
	}
	for _, path := range binaries(graph) {
		if err := withdraw(t, path, isBuild(t, path), out); err != nil {
			return fmt.Errorf("uninstall %s: %w", t.show(path), err)
		}
	}
	if err := withdraw(t, rotation, isRotation(t), out); err != nil {
		return fmt.Errorf("uninstall %s: %w", t.show(rotation), err)
	}
	dirs := []string{filepath.Join(graph, "hooks")}
	for _, s := range specs(graph) {
		dirs = append(dirs, filepath.Dir(s.path))
	}
	for _, dir := range dirs {
		if err := removeEmpty(t, dir); err != nil {
			return fmt.Errorf("remove %s: %w", t.show(dir), err)
		}
	}
	return nil
}

// removeEmpty removes a directory that nobody uses, neither for a file nor as a mountpoint.
func removeEmpty(t *tree, dir string) error {
	info, err := t.lstat(dir)
	if err != nil || info == nil || !info.IsDir() {
		return err
	}
	if err := t.discard(dir); !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EBUSY) {
		return err
	}
	return nil
}

// installedGraph prefers the graph root that our hook spec was written for:
// iSulad's configuration may have changed since.
func installedGraph(t *tree, asked string) (string, error) {
	if asked != "" {
		return checkGraph(asked, "GRAPH")
	}
	for _, s := range specs("/") {
		have, err := t.read(s.path, limit)
		if err != nil {
			continue
		}
		if hook := s.form.writtenFor(have); hook != "" {
			return filepath.Dir(filepath.Dir(hook)), nil
		}
	}
	return findGraph(t, "")
}

// withdraw removes path when it is ours and brings the last backup back.
func withdraw(t *tree, path string, ours bool, out io.Writer) error {
	if err := t.discard(temporary(path)); err != nil { // of a killed installation
		return err
	}
	info, err := t.lstat(path)
	if err != nil {
		return err
	}
	kept, err := backups(t, path)
	if err != nil {
		return err
	}
	last := ""
	if len(kept) > 0 {
		last = kept[len(kept)-1]
	}
	switch {
	case info != nil && !ours:
		result{"left", "not ours, or edited"}.print(out, t.show(path))
		if keptAlready(t, info, last) {
			return t.discard(last) // a killed installation got no further than the backup
		}
		return nil
	case last != "":
		if err := t.rename(last, path); err != nil {
			return err
		}
		result{"restored", "the file it had replaced"}.print(out, t.show(path))
	case info != nil:
		if err := t.discard(path); err != nil {
			return err
		}
		if err := t.sync(filepath.Dir(path)); err != nil {
			return err
		}
		result{"removed", ""}.print(out, t.show(path))
	}
	return nil
}

// backups lists the files that were kept for path, oldest first.
func backups(t *tree, path string) ([]string, error) {
	var kept []string
	for n := 1; ; n++ {
		name := backupName(path, n)
		info, err := t.lstat(name)
		if err != nil || info == nil {
			return kept, err
		}
		kept = append(kept, name)
	}
}

func backupName(path string, n int) string {
	if n == 1 {
		return path + ".isulad-tools-backup"
	}
	return fmt.Sprintf("%s.isulad-tools-backup%d", path, n)
}

// keptAlready reports that the file at a place is itself the backup named last.
func keptAlready(t *tree, info fs.FileInfo, last string) bool {
	if last == "" {
		return false
	}
	backup, err := t.lstat(last)
	return err == nil && backup != nil && os.SameFile(info, backup)
}

// backUp keeps the file at path under the first free name. An earlier backup is
// never overwritten: the original survives however often other versions of the
// old tool are installed over ours.
func backUp(t *tree, path string, info fs.FileInfo) (string, error) {
	kept, err := backups(t, path)
	if err != nil {
		return "", err
	}
	if n := len(kept); n > 0 && keptAlready(t, info, kept[n-1]) {
		return kept[n-1], nil
	}
	name := backupName(path, len(kept)+1)
	return name, t.link(path, name)
}

// ownedByUs tells whether the file belongs to whom we would give it.
func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == uint32(os.Geteuid())
}
