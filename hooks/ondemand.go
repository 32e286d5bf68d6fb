package hooks

import (
	"errors"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/kmod"
)

// untouched tells whether nothing is recorded for the container, and nothing of ours is
// left of an earlier start. Nothing is read for that, nor made.
func untouched(st state) bool {
	ours := []string{
		filepath.Join(st.Bundle, config.Name),
		filepath.Join(place.Master, st.ID), kmod.Loader{}.RequestPath(st.ID),
	}
	for _, g := range place.Generations {
		ours = append(ours, filepath.Join(g.Starts(), st.ID), ledger.Path(g, st.ID), filepath.Join(g.NetNS(), st.ID))
	}
	return !slices.ContainsFunc(ours, func(path string) bool {
		var st unix.Stat_t
		return !errors.Is(unix.Lstat(path, &st), unix.ENOENT) // in doubt it is there
	})
}
