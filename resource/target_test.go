package resource

import (
	"testing"

	"isula.org/isulad-tools/internal/rootfs"
)

func TestAnIdThatIsNotMappedKeepsTheOthersValue(t *testing.T) {
	t.Parallel()
	other := rootfs.Owner{UID: 6, GID: 7}
	for _, c := range []struct {
		own  MappedRoot
		want rootfs.Owner
	}{
		{MappedRoot{-1, -1}, other},
		{MappedRoot{0, 0}, rootfs.Owner{UID: 0, GID: 0}},
		{MappedRoot{100000, -1}, rootfs.Owner{UID: 100000, GID: 7}},
		{MappedRoot{-1, 100000}, rootfs.Owner{UID: 6, GID: 100000}},
		{MappedRoot{1, 2}, rootfs.Owner{UID: 1, GID: 2}},
	} {
		if got := c.own.Or(other); got != c.want {
			t.Errorf("%v.Or(%v) = %v, want %v", c.own, other, got, c.want)
		}
	}
}
