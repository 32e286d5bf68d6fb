package mounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// remove unmounts what b gave the container, wherever that has it now, in all of
// its mount namespaces. It is no error if none is left. The mount point stays, as it always
// did: the image may have had it before. The staging mounts are reconcile's.
func remove(_ context.Context, t *resource.Target, b Bind) error {
	w, err := ownMountsOf(t, b)
	if err != nil {
		return err
	}
	if w.unsure != nil {
		return w.unsure
	}
	left, err := mounttable.Detach(t.Mounts(), w.ours)
	if len(left) == 0 || err != nil {
		return err
	}
	l := left[0]
	at := l.In(w.at)
	if l.PID != t.Init.PID {
		return fmt.Errorf("process %d has it still at %s, in a mount namespace of its own", l.PID, at)
	}
	return fmt.Errorf("something else is mounted over %s in the container (its init is process %d): unmount that there first", at, l.PID)
}

// Lost tells whether a container that runs lacks what is recorded for it: the
// command that recorded it was killed, or the container has unmounted it.
func Lost(ctx context.Context, t *resource.Target, b Bind) (bool, error) {
	if verify(ctx, t, b) == nil {
		return false, nil
	}
	w, err := ownMountsOf(t, b)
	if err != nil {
		return false, err
	}
	lost := true
	err = mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool {
		lost = !w.ours(m)
		return lost
	})
	return lost && err == nil, err
}

// ownMounts tells the mounts that a path gave a container from others.
type ownMounts struct {
	at, path   string        // the container's root, and the path, in its mount namespace
	shared     string        // where the path arrives there
	id         int           // of the mount that we made; 0: that is gone, or nobody knows
	peerGroups []string      // peer groups whose mounts are all ours
	sources    []mountSource // what our mounts show
	root       mountSource   // of the host
	others     []given       // what the container has by its specification and by other paths
	had        *had          // what it had before the path; nil: nobody knows
	only       bool          // by another path it has the same: only what is known or in place goes
	spec       []ledger.Tree // that are not in others yet
	wait       *deadline.Waiter
	unsure     error // nobody knows whether what is in the path's place is its
}

func ownMountsOf(t *resource.Target, b Bind) (*ownMounts, error) {
	if err := t.FindSharedPath(); err != nil {
		return nil, err
	}
	w := &ownMounts{spec: t.Ledger.Trees(), wait: t.Wait}
	root, err := t.Root.Open("/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	on, at, err := mountOf(root, t.MountsPID)
	if on == nil || err != nil {
		return nil, errors.Join(err, errors.New("the container's root is in none of its mounts"))
	}
	w.at, w.others = at, []given{{mountSource: on.mountSource}}
	w.path, w.shared = filepath.Join(w.at, b.Container), filepath.Join(w.at, place.SharedPath, stagingName(b.Host))
	if w.root, err = sourceOf(t.Wait, "/"); err != nil {
		return nil, err
	}
	if err := w.readStaging(t.ID, b); err != nil {
		return nil, err
	}
	return w, w.look(t, b)
}

// readStaging looks at the staging mounts, which the container cannot change: at those
// of the path, with what is mounted below them, and those of others.
func (w *ownMounts) readStaging(id string, b Bind) error {
	var foreign []string // groups that somebody else is in, too
	all := stagingPaths(id)
	own := []string{filepath.Join(all[0], stagingName(b.Host)), filepath.Join(all[1], stagingName(b.Host))}
	err := mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		switch {
		case slices.ContainsFunc(own, m.Point.Within):
			w.sources, w.peerGroups = append(w.sources, sourceAt(m)), append(w.peerGroups, peerGroups(m, "shared:")...)
			return true
		case isStaged(all, m):
			w.others = append(w.others, heldBy(m))
		}
		foreign = append(foreign, peerGroups(m, "shared:")...)
		return true
	})
	w.peerGroups = slices.DeleteFunc(w.peerGroups, func(g string) bool { return slices.Contains(foreign, g) })
	return err
}

// look looks at the container's mounts: which are those that the ledger says were
// made for its paths, and what is in the path's place. Another mount may have got the
// number of a mount that is gone.
func (w *ownMounts) look(t *resource.Target, b Bind) error {
	is, noted := map[Bind]made{}, false
	for _, g := range t.Ledger.Grants(kindName, false) {
		var o Bind
		var m made
		if json.Unmarshal(g.Record, &o) == nil && json.Unmarshal(g.Made, &m) == nil {
			is[o] = m
		}
		if o == b {
			_, noted = is[b]
			_ = json.Unmarshal(g.Had, &w.had) // else nobody knows
		}
		w.only = w.only || o != b && filepath.Clean(o.Host) == filepath.Clean(b.Host)
	}
	there := map[int]mount{}
	for _, m := range is {
		there[m.ID] = mount{}
	}
	err := mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool {
		if _, ok := there[m.ID]; ok {
			there[m.ID] = mount{heldBy(m), m.Point.String()}
		}
		return true
	})
	if err != nil {
		return err
	}
	staged := w.sources
	for o, was := range is {
		switch m := there[was.ID]; {
		case m.point == "", !slices.Contains(staged, m.mountSource) && !leadsTo(t, strings.TrimPrefix(m.point, w.at), was):
		case o == b:
			w.id, w.sources = was.ID, append(w.sources, m.mountSource)
		case !w.only:
			w.others = append(w.others, m.given)
		}
	}
	if w.sources == nil || t.NoSharedPath != nil && w.id == 0 {
		// It may be on a server that does not answer.
		now, err := sourceOf(t.Wait, filepath.Clean(b.Host))
		if err != nil {
			return err
		}
		w.sources = append(w.sources, now)
	}
	if w.id != 0 || noted && len(w.peerGroups) > 0 {
		return nil // what is the path's is known, whatever is in its place
	}
	return mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool {
		if m.Point.Is(w.path) && w.path != w.at && slices.ContainsFunc(w.sources, sourceAt(m).sameDevice) && !w.shown(m) {
			w.unsure = fmt.Errorf("%s in the container is a mount of %s, not of the recorded host path: unmount it there first, if it is an old mount of that path", b.Container, command.Printable(m.Root.String()))
		}
		return w.unsure == nil
	})
}

// leadsTo tells whether a path in the container is that of a mount.
func leadsTo(t *resource.Target, path string, is made) bool {
	f, err := t.Root.Open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer f.Close()
	now, err := madeOf(t, f)
	return err == nil && now == is
}

// ours tells whether the path gave the container m: by its number, as a member of
// a group of ours, or, when it was cut off from that, by what it shows.
func (w *ownMounts) ours(m *mountpoint.Mount) bool {
	switch {
	case m.ID == w.id:
		return true
	case !m.Point.Within(w.at) || m.Point.Within(w.shared):
		return false
	case m.Point.Is(w.path) && anyIsOf(w.sources, m) && !w.hadBefore(m):
		return true
	case w.only:
		return false
	case slices.ContainsFunc(append(peerGroups(m, "master:"), peerGroups(m, "shared:")...), func(g string) bool { return slices.Contains(w.peerGroups, g) }):
		w.peerGroups = append(w.peerGroups, peerGroups(m, "shared:")...) // which its own copies are in
		return true
	default:
		return w.shown(m) && !w.isOtherwiseGiven(m)
	}
}

// shown tells whether what a mount shows is of the path. All of the host's root
// file system is too much to say so.
func (w *ownMounts) shown(m *mountpoint.Mount) bool {
	return slices.ContainsFunc(w.sources, func(t mountSource) bool { return t.isOf(m) || t != w.root && t.has(m) })
}

// isOtherwiseGiven tells whether the container has what a mount shows by something else.
func (w *ownMounts) isOtherwiseGiven(m *mountpoint.Mount) bool {
	for _, of := range w.spec {
		if t, err := sourceOf(w.wait, of.Path); err == nil {
			w.others = append(w.others, given{t, !of.Writable})
		}
	}
	w.spec = nil
	return slices.ContainsFunc(w.others, func(o given) bool { return o.gives(m) }) || w.hadBefore(m) || !w.had.knows() && ofKernel(m)
}

// hadBefore tells whether the container had what a mount shows before the path gave it.
// What it had of more than the path shows says nothing: it may have been read-only.
func (w *ownMounts) hadBefore(m *mountpoint.Mount) bool {
	return w.had != nil && slices.ContainsFunc(w.had.Trees, func(h given) bool {
		return h.gives(m) && slices.ContainsFunc(w.sources, func(t mountSource) bool { return t == h.mountSource || t != w.root && t.covers(h.mountSource) })
	})
}

// reconcile makes what is behind the mounts follow the records: staging mounts
// that no record needs any more go, and what went with a path that is gone comes
// back: what was mounted below it, and another mount of its host path. So does what was
// below a path that came.
func reconcile(ctx context.Context, t *resource.Target, now, gone []Bind) error {
	errs := []error{removeStale(t.ID, now)}
	points := make(map[string]bool, len(now))
	for _, b := range now {
		points[filepath.Clean(b.Container)] = true
	}
	ordered := slices.Clone(now)
	sort.SliceStable(ordered, func(a, b int) bool { return outermostFirst(ordered[a], ordered[b]) < 0 })
	for _, b := range ordered {
		hidden := isBelowAny(points, b.Container) && verify(ctx, t, b) != nil
		if (hidden || slices.ContainsFunc(gone, b.mayHaveGoneWith) && !isThere(t, b)) && b.hostPathExists(t.Wait) {
			errs = append(errs, apply(ctx, t, b))
		}
	}
	return errors.Join(errs...)
}

// isThere tells whether the mount that was made for b is there still. It may show what a
// link led to that was retargeted since.
func isThere(t *resource.Target, b Bind) (there bool) {
	var is made
	if !t.Ledger.Made(kindName, b, &is) {
		return false
	}
	err := mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool {
		there = m.ID == is.ID
		return !there
	})
	return there && err == nil
}

// hostPathExists tells whether b is no record that a start skips, and its host path is
// there.
func (b Bind) hostPathExists(w *deadline.Waiter) bool {
	_, _, err := resolve(b)
	return err == nil && b.Exists(w) == nil
}

// mayHaveGoneWith tells whether b may have gone with other.
func (b Bind) mayHaveGoneWith(other Bind) bool {
	return place.Within(filepath.Clean(b.Container), filepath.Clean(other.Container)) || place.Within(filepath.Clean(b.Host), filepath.Clean(other.Host))
}

// removeStale removes the staging mounts of a container that serve none of records.
// Removing the mount point on the host unmounts it everywhere: also inside.
func removeStale(id string, records []Bind) error {
	used := make(map[string]bool, len(records))
	for _, b := range records {
		used[stagingName(b.Host)] = true
	}
	var errs []error
	for _, dir := range stagingPaths(id) {
		names, err := namesIn(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, name := range names {
			if used[name] || !isStagingName(name) {
				continue
			}
			// ENOTEMPTY: the container has put something there, which is no reason
			// to give it back what is unmounted.
			if err := mountpoint.Remove(filepath.Join(dir, name)); !errors.Is(err, unix.ENOTEMPTY) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// namesIn are the names in a directory, in no order.
func namesIn(dir string) ([]string, error) {
	f, err := open.File(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// isStaged tells whether a mount of the host is a staging mount, or below one.
func isStaged(stages []string, m *mountpoint.Mount) bool {
	return slices.ContainsFunc(stages, m.Point.Within) && !slices.ContainsFunc(stages, m.Point.Is)
}

// isStagingName tells staging mounts from device nodes, which lie beside them.
func isStagingName(name string) bool {
	sum, err := hex.DecodeString(name)
	return err == nil && len(sum) == sha256.Size
}
