package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

// All visits what each container of this host was granted: its latest start, and the
// grants that nobody revoked. Lines that cannot be understood are left out. The error says
// what could not be read.
func All(visit func(id string, s Start, grants []Grant)) error {
	var errs []error
	for _, g := range place.Generations {
		entries, err := os.ReadDir(g.Starts())
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // there are none, mostly
			errs = append(errs, err)
		}
		for _, e := range entries {
			id := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".granted")
			if e.Name() != fileName(id) {
				continue
			}
			l := &Ledger{path: filepath.Join(g.Starts(), e.Name()), any: true}
			switch data, err := open.Read(l.path, maxSize); {
			case err == nil:
				_ = l.read(data)
				visit(id, l.start, l.list(len(l.grants), func(*Grant) bool { return true }))
			case !errors.Is(err, fs.ErrNotExist): // its container has ended meanwhile
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
