package mounts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

// InContainer is the mount that a container has on a path.
type InContainer struct {
	Tree     string `json:"tree"` // major:minor of the file system, and what of it
	ReadOnly bool   `json:"readOnly"`
}

func (m InContainer) String() string {
	access := "rw"
	if m.ReadOnly {
		access = "ro"
	}
	return m.Tree + " " + access
}

// recordedPath is what is on a recorded path in the container.
type recordedPath struct {
	bind  Bind
	file  *os.File    // nil: nothing
	at    string      // its path in the mount namespace
	id    int         // of the mount that it is on
	on    *mount      // nil: not found in the table
	alone bool        // it receives from no other mount
	is    made        // what the ledger has
	under mountSource // what the mount shows that has its number now; the zero value: none has
}

// Views looks at the recorded paths of a running container, and finds how it is served, as Find
// does. Those that are optional may be missing on the host.
func Views(t *resource.Target, records, optional []Bind) ([]resource.View, error) {
	spots := make([]recordedPath, len(records))
	defer func() {
		for _, s := range spots {
			s.file.Close()
		}
	}()
	for i, b := range records {
		if err := spots[i].open(t, b); err != nil {
			return nil, err
		}
	}
	shared, err := findShared(t)
	if err != nil {
		return nil, err
	}
	err = mountpoint.Each(t.MountsPID, func(m *mountpoint.Mount) bool {
		shared.see(m)
		for i := range spots {
			s := &spots[i]
			if s.file != nil && m.ID == s.id {
				s.on, s.alone = &mount{heldBy(m), m.Point.String()}, len(peerGroups(m, "master:")) == 0
			}
			if s.is.ID != 0 && m.ID == s.is.ID {
				s.under = sourceAt(m)
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	t.NoSharedPath, t.Detect = shared.direct(), nil
	stages := stagingPaths(t.ID)
	views := make([]resource.View, len(records))
	for i, s := range spots {
		v := resource.View{Name: s.bind.Container, Recorded: s.bind, Granted: Kind.Grant(t, s.bind)}
		if err := s.view(t, stages, slices.Contains(optional, s.bind), &v); err != nil {
			return nil, err
		}
		views[i] = v
	}
	return views, nil
}

func (s *recordedPath) open(t *resource.Target, b Bind) (err error) {
	s.bind = b
	t.Ledger.Made(kindName, b, &s.is)
	s.file, err = t.Root.Open(b.Container, unix.O_PATH)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.at, err = os.Readlink(procFD(s.file)); err != nil {
		return err
	}
	s.id, err = mountpoint.ID(s.file)
	return err
}

// view says what is on the path, and what should be.
func (s *recordedPath) view(t *resource.Target, stages []string, optional bool, v *resource.View) error {
	b := s.bind
	_, _, err := resolve(b)
	o, _ := parseOptions(b.Options)
	if err != nil {
		v.DifferForGood("record refused", "%v", err)
		return nil
	}
	host, err := lookUp(t.Wait, b.Host)
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
	if err != nil && !gone {
		return err
	}
	defer host.Close()
	there := s.on != nil && s.on.point == s.at
	if there {
		v.Real = InContainer{fmt.Sprintf("%d:%d %s", s.on.Major, s.on.Minor, command.Printable(s.on.Root)), s.on.ReadOnly}
	}
	same := false
	if there && !gone {
		if same, err = t.Root.SameFile(s.file, host.File); err != nil {
			return err
		}
	}
	covered := false
	if !same && !gone && s.under != (mountSource{}) && s.id != s.is.ID {
		// Another mount may have got the number of a mount that is gone.
		on, at, err := mountOf(host.File, 0)
		if err != nil {
			return err
		}
		covered = on != nil && on.at(at) == s.under
	}
	switch {
	case gone && optional:
	case gone:
		v.Differ("path missing on the host", "the host has no %s; it would be made", b.Host)
	case !there && covered:
		v.Differ("mount covered", "%s in the container does not lead to the mount that was made for it: something else is mounted above it", b.Container)
	case !there:
		v.Differ("mount missing", "nothing is mounted on %s in the container", b.Container)
	case !same && covered:
		v.Differ("mount covered", "%s of file system %d:%d is mounted over %s in the container", command.Printable(s.on.Root), s.on.Major, s.on.Minor, b.Container)
	case !same:
		v.Differ("mount shows another tree", "%s in the container shows %s of file system %d:%d, and not what the host has at %s", b.Container, command.Printable(s.on.Root), s.on.Major, s.on.Minor, b.Host)
	case o.readOnly && !s.on.ReadOnly:
		v.Differ("mount writable", "%s in the container can be written, and is recorded as ro", b.Container)
	case t.NoSharedPath == nil && !staged(stages, b, host.File):
		v.Differ("staging mount missing", "the host has unmounted the path below %s: its later mounts in %s do not arrive", place.SharedPath, b.Host)
	case t.NoSharedPath == nil && s.alone && o.propagation&unix.MS_PRIVATE == 0:
		v.Differ("mount cut off", "%s in the container receives no mounts: later mounts of the host in %s do not arrive", b.Container, b.Host)
	case !o.readOnly && s.on.ReadOnly:
		on, _, err := mountOf(host.File, 0)
		if err != nil || on == nil || on.ReadOnly {
			return err // as the host has it
		}
		v.Differ("mount read-only", "%s in the container cannot be written, and is recorded as rw", b.Container)
	}
	return nil
}

// staged tells whether the path's staging mounts are there.
func staged(stages []string, b Bind, host *os.File) bool {
	for _, dir := range stages {
		if !mounted(filepath.Join(dir, stagingName(b.Host)), host) {
			return false
		}
	}
	return true
}

// removeBrokenStaging removes staging mounts of the path that do not hand on what they receive any more:
// a command was killed that was about to unmount them.
func removeBrokenStaging(t *resource.Target, b Bind) error {
	o, err := parseOptions(b.Options)
	if err == nil {
		err = t.FindSharedPath()
	}
	if err != nil || t.NoSharedPath != nil || o.propagation&unix.MS_PRIVATE != 0 {
		return err
	}
	all, alone := stagingPaths(t.ID), false
	master := filepath.Join(all[0], stagingName(b.Host))
	err = mountpoint.Each(0, func(m *mountpoint.Mount) bool {
		if m.Point.Is(master) {
			alone = len(peerGroups(m, "shared:")) == 0
		}
		return true
	})
	if err != nil || !alone {
		return err
	}
	return mountpoint.Purge(master)
}

// Repairing is Kind for what is to be made real again: a mount that is in its place, and
// shows something else, is made anew.
func Repairing() *resource.Kind[Bind] {
	k := Kind
	k.Apply = func(ctx context.Context, t *resource.Target, b Bind) (err error) {
		var s recordedPath
		if err := s.open(t, b); err != nil {
			return err
		}
		ours := s.file != nil && s.is.ID != 0 && s.id == s.is.ID
		s.file.Close()
		if ours || verify(ctx, t, b) == nil {
			if err := remove(ctx, t, b); err != nil {
				return err
			}
		}
		if err := removeBrokenStaging(t, b); err != nil {
			return err
		}
		var u undo.Stack
		defer u.OnError(&err)
		return attachBind(t, b, &u, true)
	}
	return &k
}
