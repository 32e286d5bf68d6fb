package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

// virtual are the block devices that are not what lsblk calls a disk.
var virtual = regexp.MustCompile(`^(loop|ram|dm-|md|sr|fd)\d`)

// Disk makes at path a node of some disk of this machine, of whose partitions
// udevd would tell. It is for looking at: nobody opens it. What stood there goes.
func Disk(path string) error {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join("/sys/class/block", e.Name())
		if _, err := os.Lstat(filepath.Join(dir, "partition")); err == nil || virtual.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "dev"))
		if err != nil {
			return err
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err != nil {
			return fmt.Errorf("%s/dev: %w", dir, err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return Mknod(path, unix.S_IFBLK|0o600, major, minor, 0, 0)
	}
	return errors.New("this machine has no disk")
}

// Udevadm puts a program in the place of udevadm until the test ends: no udevd
// serves the sandbox. It returns what is executed then.
func Udevadm(t testing.TB, program string) string {
	t.Helper()
	const path, saved = "/usr/bin/udevadm", "/usr/bin/udevadm.saved"
	err := os.Rename(path, saved)
	if err == nil {
		t.Cleanup(func() {
			if err := os.Rename(saved, path); err != nil {
				t.Error(err)
			}
		})
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}
