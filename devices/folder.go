package devices

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MaxInFolder is how many devices a directory may have that is given as a whole.
const MaxInFolder = 128

// maxFiles bounds what is looked at of a directory: one with more is none of devices.
const maxFiles = 1 << 14

// InFolder lists the devices in the host's directory dir, at any depth, by their paths
// below it. Links are left out, for they lead to what has a name already, and so is what
// is mounted there. dir itself may be a link.
func InFolder(dir string) (list []string, err error) {
	var top unix.Stat_t
	if err := unix.Stat(dir, &top); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	files := 0
	err = fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if files++; files > maxFiles {
			return fmt.Errorf("%s has more than %d files: it is no directory of devices", dir, maxFiles)
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		switch {
		case e.IsDir() && p != ".":
			if err := unix.Lstat(filepath.Join(dir, p), &st); err != nil || st.Dev != top.Dev {
				return fs.SkipDir // another file system, or gone meanwhile
			}
		case e.Type()&fs.ModeDevice != 0:
			if list = append(list, p); len(list) > MaxInFolder {
				return fmt.Errorf("%s has more than %d devices, the most that a directory may have: add those that are needed one by one", dir, MaxInFolder)
			}
		}
		return nil
	})
	return list, err
}
