package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/resource"
)

// Optional is the kind of the marks on records of Kind whose host path may be
// missing at a start: each is such a record once more. They have a list of their
// own, so that the older versions of the tool read the others as before.
var Optional = resource.Kind[Bind]{Key: config.OptionalPaths}

// Restore plans to make real what is recorded in d. An optional path that the
// host does not have is a step that fails, which a start survives; any other is
// made.
func Restore(w *deadline.Waiter, d *config.Document) (resource.Plan[Bind], error) {
	optional, err := config.List[Bind](d, config.OptionalPaths)
	if err != nil {
		return resource.Plan[Bind]{}, err
	}
	k := Kind
	k.Resolve = func(b Bind) (Bind, bool, error) {
		now, renewed, err := resolve(b)
		if err == nil && slices.Contains(optional, b) {
			err = b.Exists(w)
		}
		return now, renewed, err
	}
	return k.Restore(d)
}

// Exists is the error for an optional record whose host path is missing.
func (b Bind) Exists(w *deadline.Waiter) error {
	_, err := deadline.Get(w, onHost, b.Host, func() (fs.FileInfo, error) { return os.Stat(b.Host) })
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist, and is optional", b.Host)
	}
	return err
}
