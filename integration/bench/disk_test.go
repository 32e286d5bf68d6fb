package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

// disk is the node of some disk of this machine, in the private /dev. Nobody
// opens it.
func (w *world) disk() (string, error) {
	const path = "/dev/benchdisk"
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	files, err := filepath.Glob("/sys/class/block/*/dev")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err != nil {
			return "", fmt.Errorf("%s: %w", f, err)
		}
		block, err := devices.FindBlock(int64(major), int64(minor))
		if err != nil {
			return "", err
		}
		if block.Type == "disk" && !strings.HasPrefix(block.Name, "loop") {
			return path, sandbox.Mknod(path, unix.S_IFBLK|0o600, major, minor, 0, 0)
		}
	}
	return "", errors.New("this machine has no disk")
}

// quietUdevadm puts the shortest of programs where udevadm is: no udevd serves
// the sandbox, and udevadm would wait for it.
func quietUdevadm() error {
	const path = "/usr/bin/udevadm"
	if now, err := os.Readlink(path); err == nil && now == bin+"/empty" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(bin+"/empty", path)
}
