package ledger

import (
	"os"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

// All visits what each container of this host was granted: its latest start, and the
// grants that nobody revoked. Lines that cannot be understood are left out.
func All(visit func(id string, s Start, grants []Grant)) {
	for _, g := range place.Generations {
		entries, err := os.ReadDir(g.Starts())
		if err != nil {
			continue // there are none, mostly
		}
		for _, e := range entries {
			id := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".granted")
			if e.Name() != fileName(id) {
				continue
			}
			l := &Ledger{path: filepath.Join(g.Starts(), e.Name()), any: true}
			if data, err := open.Read(l.path, maxSize); err == nil {
				_ = l.read(data)
				visit(id, l.start, l.list(func(*Grant) bool { return true }))
			}
		}
	}
}
