package devices

import (
	"context"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/resource"
)

// placeholderTarget is where a link leads that keeps the place of a character device which is away:
// nowhere. Whoever opens a path to write makes a file there, and would write that.
const placeholderTarget = "/.isulad-tools/away"

// withdraw takes d's node away until the device is back.
func withdraw(_ context.Context, t *resource.Target, d Device) error {
	if err := removeNode(t, d); err != nil || d.Type != "c" || d.isContainers(t) {
		return err
	}
	if err := putPlaceholder(t, d); err != nil && t.Init.Lives() {
		return resource.Warn(err)
	}
	return nil
}

func putPlaceholder(t *resource.Target, d Device) error {
	at := path.Clean("/" + d.PathInContainer)
	dir, err := t.Root.Open(path.Dir(at), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil // it is gone, and so is the place
	}
	defer dir.Close()
	if on, err := t.Root.Where(dir); err != nil || on.OfHost {
		return err
	}
	maker := t.Root.Maker(t.Owner.Or(rootfs.Owner{}))
	return t.Root.Do(at, func() error {
		err := maker.Root(func() error {
			return open.Again(func() error { return unix.Symlinkat(placeholderTarget, int(dir.Fd()), path.Base(at)) })
		})
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EROFS) {
			return nil // nobody makes a file there
		}
		return os.NewSyscallError("symlinkat", err)
	}, dir)
}

// isPlaceholder tells whether such a link is there.
func isPlaceholder(dir *os.File, base string) bool {
	text := make([]byte, len(placeholderTarget)+1)
	n, err := unix.Readlinkat(int(dir.Fd()), base, text)
	return err == nil && string(text[:n]) == placeholderTarget
}
