package mounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// remove unmounts what b gave the container, wherever that has it now, in all of
// its mount namespaces. What is gone is fine. The mount point stays, as it always
// did: the image may have had it before. The transfer mounts are settle's.
func remove(_ context.Context, t *resource.Target, b Bind) error {
	w, err := wanted(t, b)
	if err == nil {
		err = w.unsure(b)
	}
	if err != nil {
		return err
	}
	left, err := mounttable.Detach(t.Cgroups.Processes, w.ours)
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	l := left[0]
	at := filepath.Join("/", strings.TrimPrefix(l.Mountpoint, w.at))
	if l.PID != t.Init.PID {
		return fmt.Errorf("process %d has it still at %s, in a mount namespace of its own", l.PID, command.Printable(at))
	}
	return fmt.Errorf("something else is mounted over %s in the container (its init is process %d): unmount that there first", command.Printable(at), l.PID)
}

// Lost tells whether a container that runs lacks what is recorded for it: the
// command that recorded it was killed, or the container has unmounted it.
func Lost(ctx context.Context, t *resource.Target, b Bind) (bool, error) {
	if verify(ctx, t, b) == nil {
		return false, nil
	}
	w, err := wanted(t, b)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(w.table, w.ours), nil
}

// made is, in the ledger, the mount that we made in the container for a path.
type made struct {
	ID       int    // of the mount; another one gets it when that is gone
	Dev, Ino uint64 // of the directory or file that it shows
}

// wants tells the mounts that a path gave a container from others.
type wants struct {
	at, path string            // the container's root, and the path, in its mount namespace
	shared   string            // where the path arrives there
	table    []*mountinfo.Info // the mounts that the container's init sees
	id       int               // of the mount that we made; 0: that is gone, or nobody knows
	groups   []string          // peer groups of which all mounts are ours
	trees    []tree            // what our mounts show
	root     tree              // of the host
	others   []tree            // what the container has by its specification and by other paths
	only     bool              // by another path it has the same: only what is known or in place goes
	spec     func() ([]string, error)
	host     []*mountinfo.Info
}

func wanted(t *resource.Target, b Bind) (*wants, error) {
	w := &wants{shared: filepath.Join(place.SharedPath, sha(b.Host)), spec: t.SpecBinds}
	var err error
	if w.host, err = mountinfo.GetMounts(nil); err != nil {
		return nil, err
	}
	if w.table, err = mounttable.Of(t.Init.PID); err != nil {
		return nil, err
	}
	root, err := t.Root.Open("/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	on, at, err := mountOf(root, w.table)
	if on == nil || err != nil {
		return nil, errors.Join(err, errors.New("the container's root is in none of its mounts"))
	}
	w.others = []tree{treeAt(on)}
	w.at, w.path, w.shared = at, filepath.Join(at, b.Container), filepath.Join(at, w.shared)
	if w.root, err = treeOf("/", w.host); err != nil {
		return nil, err
	}
	w.stage(t, b)
	known := w.known(t, b)
	if known != nil {
		w.id, w.trees = known.ID, append(w.trees, treeAt(known))
	}
	if w.trees == nil || t.Direct != nil && known == nil {
		// It may be on a server that does not answer.
		now, err := treeOf(filepath.Clean(b.Host), w.host)
		if err != nil {
			return nil, err
		}
		w.trees = append(w.trees, now)
	}
	return w, nil
}

// stage looks at the transfer mounts, which the container cannot change: at those
// of the path, with what is mounted below them, and those of others.
func (w *wants) stage(t *resource.Target, b Bind) {
	var foreign []string // groups that somebody else is in, too
	for _, m := range w.host {
		ours, others := false, false
		for _, side := range []string{place.Master, place.Midpath} {
			dir := filepath.Join(side, t.ID)
			ours = ours || within(m.Mountpoint, filepath.Join(dir, sha(b.Host)))
			others = others || m.Mountpoint != dir && within(m.Mountpoint, dir)
		}
		switch {
		case ours:
			w.trees, w.groups = append(w.trees, treeAt(m)), append(w.groups, groups(m, "shared")...)
			continue
		case others:
			w.others = append(w.others, treeAt(m))
		}
		foreign = append(foreign, groups(m, "shared")...)
	}
	w.groups = slices.DeleteFunc(w.groups, func(g string) bool { return slices.Contains(foreign, g) })
	for _, g := range t.Ledger.Grants(kindName, false) {
		var o Bind
		if json.Unmarshal(g.Record, &o) != nil || o == b {
			continue
		}
		w.only = w.only || filepath.Clean(o.Host) == filepath.Clean(b.Host)
		if m := w.known(t, o); m != nil && !w.only {
			w.others = append(w.others, treeAt(m))
		}
	}
}

// known returns the mount that was made for b, if it is still there.
func (w *wants) known(t *resource.Target, b Bind) *mountinfo.Info {
	var is made
	if !t.Ledger.Made(kindName, b, &is) {
		return nil
	}
	i := slices.IndexFunc(w.table, func(m *mountinfo.Info) bool { return m.ID == is.ID })
	if i < 0 {
		return nil
	}
	m := w.table[i]
	if slices.Contains(w.trees, treeAt(m)) {
		return m
	}
	f, err := t.Root.Open(strings.TrimPrefix(m.Mountpoint, w.at), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil
	}
	defer f.Close()
	if now, err := madeOf(f); err != nil || now != is {
		return nil
	}
	return m
}

func madeOf(f *os.File) (is made, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return is, os.NewSyscallError("fstat", err)
	}
	id, err := mountpoint.ID(f)
	if err != nil {
		return is, err
	}
	is = made{Dev: st.Dev, Ino: st.Ino}
	is.ID, err = strconv.Atoi(id)
	return is, err
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// ours tells whether the path gave the container m: by its number, as a member of
// a group of ours, or, when it was cut off from that, by what it shows.
func (w *wants) ours(m *mountinfo.Info) bool {
	switch shows := treeAt(m); {
	case m.ID == w.id:
		return true
	case !within(m.Mountpoint, w.at) || within(m.Mountpoint, w.shared):
		return false
	case m.Mountpoint == w.path && slices.Contains(w.trees, shows):
		return true
	case w.only:
		return false
	case slices.ContainsFunc(append(groups(m, "master"), groups(m, "shared")...), func(g string) bool { return slices.Contains(w.groups, g) }):
		w.groups = append(w.groups, groups(m, "shared")...) // which its own copies are in
		return true
	default:
		return w.shown(shows) && !w.accounted(shows)
	}
}

// shown tells whether what a mount shows is of the path. All of the host's root
// file system is too much to say so.
func (w *wants) shown(shows tree) bool {
	return slices.ContainsFunc(w.trees, func(t tree) bool { return t == shows || t != w.root && t.has(shows) })
}

// accounted tells whether the container has what a mount shows by something else.
func (w *wants) accounted(shows tree) bool {
	if w.spec != nil {
		sources, err := w.spec()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true
		}
		w.spec = nil
		for _, source := range sources {
			if t, err := treeOf(source, w.host); err == nil {
				w.others = append(w.others, t)
			}
		}
	}
	return slices.ContainsFunc(w.others, func(t tree) bool { return t.has(shows) })
}

// unsure refuses to guess whether what is in the path's place is what its host path
// was when it was added.
func (w *wants) unsure(b Bind) error {
	for _, m := range w.table {
		shows := treeAt(m)
		if m.Mountpoint == w.path && w.path != w.at && slices.ContainsFunc(w.trees, shows.sameDevice) && !w.shown(shows) && m.ID != w.id {
			return fmt.Errorf("%s in the container is a mount of %s, not of the recorded host path: unmount it there first, if it is an old mount of that path", b.Container, command.Printable(m.Root))
		}
	}
	return nil
}

// settle makes what is behind the mounts follow the records: transfer mounts
// that no record needs any more go, and what went with a path that is gone comes
// back: what was mounted below it, and another mount of its host path.
func settle(ctx context.Context, t *resource.Target, now, gone []Bind) error {
	errs := []error{sweep(t.ID, now)}
	for _, b := range now {
		if slices.ContainsFunc(gone, b.wentWith) && b.servable() {
			errs = append(errs, apply(ctx, t, b))
		}
	}
	return errors.Join(errs...)
}

// servable tells whether b is no record that a start skips, and its host path is
// there.
func (b Bind) servable() bool {
	_, _, err := resolve(b)
	return err == nil && b.Exists() == nil
}

// wentWith tells whether b may have gone with other.
func (b Bind) wentWith(other Bind) bool {
	return within(filepath.Clean(b.Container), filepath.Clean(other.Container)) || filepath.Clean(b.Host) == filepath.Clean(other.Host)
}

// sweep removes the transfer mounts of a container that serve none of records.
// Removing the mount point on the host unmounts it everywhere: also inside.
func sweep(id string, records []Bind) error {
	used := map[string]bool{}
	for _, b := range records {
		used[sha(b.Host)] = true
	}
	var errs []error
	// As they were made, the other way round.
	for _, dir := range []string{filepath.Join(place.Master, id), filepath.Join(place.Midpath, id)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if name := e.Name(); !isSHA(name) || used[name] {
				continue
			}
			// ENOTEMPTY: the container has put something there, which is no reason
			// to give it back what is unmounted.
			if err := mountpoint.Remove(filepath.Join(dir, e.Name())); !errors.Is(err, unix.ENOTEMPTY) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// isSHA tells transfer mounts from device nodes, which lie beside them.
func isSHA(name string) bool {
	sum, err := hex.DecodeString(name)
	return err == nil && len(sum) == sha256.Size
}
