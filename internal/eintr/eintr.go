// Package eintr is the one place where interrupted system calls are made again.
// The Go runtime interrupts its own threads (SIGURG), and a file system in user
// space hands that on as EINTR, whatever the call.
package eintr

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Retry calls f until it is not interrupted.
func Retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// Openat is unix.Openat.
func Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	return Retry(func() (int, error) { return unix.Openat(dirfd, path, flags, mode) })
}
