package devices

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// sysfs is the folders in which the kernel has all devices by their numbers. They stay
// open: of many devices most of the time goes into the way there.
type sysfs struct{ char, block *os.File }

// of is where the kernel has the device; "": it has none of its number.
func (s *sysfs) of(d Device) string {
	folder, path := &s.block, sysBlock
	if d.Type == "c" {
		folder, path = &s.char, sysChar
	}
	if *folder == nil {
		var err error
		if *folder, err = open.File(path, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			return ""
		}
	}
	var target [1024]byte
	n, err := unix.Readlinkat(int((*folder).Fd()), d.numbers(), target[:])
	if err != nil || n == len(target) {
		return ""
	}
	return filepath.Join(path, string(target[:n]))
}

func (s *sysfs) close() {
	s.char.Close()
	s.block.Close()
}
