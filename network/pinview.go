package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// Namespace is a network namespace by its number.
type Namespace struct {
	Ino uint64 `json:"ino"`
	Pin string `json:"pin"`
}

func (n Namespace) String() string { return fmt.Sprintf("net:[%d] at %s", n.Ino, n.Pin) }

// PinView looks at the name that keeps the network namespace of a container, which was
// started with our hook. right tells whether the namespace behind it is the container's.
func PinView(t *resource.Target) (v resource.View, right bool, err error) {
	v.Name = "network namespace"
	ours, now, err := namespacesOf(t)
	if err != nil {
		return v, false, err
	}
	differ := v.Differ
	if now != ours {
		differ = v.DifferForGood // no process is known that is in it
	}
	for _, g := range place.Generations {
		pin := filepath.Join(g.NetNS(), t.ID)
		var fsys unix.Statfs_t
		var st unix.Stat_t
		err := unix.Statfs(pin, &fsys)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = unix.Stat(pin, &st)
		}
		if err != nil {
			return v, false, &os.PathError{Op: "stat", Path: pin, Err: err}
		}
		if fsys.Type != unix.NSFS_MAGIC {
			continue
		}
		v.Real = Namespace{st.Ino, pin}
		if st.Ino == ours.Ino {
			return v, true, nil
		}
		differ("other netns pin", "%s keeps the network namespace net:[%d], and the container's is net:[%d]", pin, st.Ino, ours.Ino)
		return v, false, nil
	}
	differ("netns pin missing", "the container's network namespace is not pinned: links of the host would not come back as they were")
	return v, false, nil
}

// namespacesOf is the namespace in which the container was given its links, without any that of
// its init; now is that of its init.
func namespacesOf(t *resource.Target) (ours, now rtnl.ID, err error) {
	var st unix.Stat_t
	path := process.Path(t.Init.PID, "ns/net")
	if err := unix.Stat(path, &st); err != nil {
		return ours, now, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	now = rtnl.ID{Dev: st.Dev, Ino: st.Ino}
	for _, g := range t.Ledger.Grants(nicName, false) {
		var is made
		if g.Made != nil && json.Unmarshal(g.Made, &is) == nil && is.NS.Ino != 0 {
			return is.NS, now, nil
		}
	}
	return now, now, nil
}
