package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// maxPaths is how many paths a container can be given. More that are recorded
// already are served.
const maxPaths = 128

var optionalFlag = cli.BoolFlag{Name: "optional", Usage: "let the container start even while the host does not have this"}

func (a App) pathCommands() []cli.Command {
	return []cli.Command{
		{
			Name:      "add-path",
			Usage:     "add directories and files of the host to a container, now if it runs, and at its every start",
			ArgsUsage: "<container> HOST:CONTAINER[:OPTIONS]...",
			Description: "OPTIONS is a comma-separated list of ro or rw, of private, rprivate or rslave, and of idmap; rw,rslave if left out.\n" +
				"   With ro later mounts of the host below the path do not arrive; with ro,rslave they do, writable if the host can\n" +
				"   write them. With idmap the host's users are the container's. A missing directory of the host is made, with a\n" +
				"   warning, unless it is optional.",
			Flags:  []cli.Flag{optionalFlag, dryRunFlag},
			Action: a.addPaths,
		},
		{
			Name:      "remove-path",
			Usage:     "take added directories and files of the host away from a container",
			ArgsUsage: "<container> HOST:CONTAINER...",
			Flags:     []cli.Flag{forgetFlag, dryRunFlag},
			Action:    a.removePaths,
		},
	}
}

func (a App) addPaths(c *cli.Context) error {
	if err := atLeastArgs(c, 2); err != nil {
		return err
	}
	return a.transact(c, "Failed to add path: ", resource.Stop, func(s *session) error {
		optional := c.Bool(optionalFlag.Name)
		binds, err := parseBinds(c.Args().Tail(), func(b mounts.Bind) error { return addable(s.wait, b, optional) })
		if err != nil {
			return err
		}
		return s.addPaths(binds, optional)
	})
}

func (s *session) addPaths(binds []mounts.Bind, optional bool) error {
	kind := mounts.UndoableKind()
	apply := kind.Apply
	kind.Apply = func(ctx context.Context, t *resource.Target, b mounts.Bind) error {
		return s.grantPath(b, func() error { return apply(ctx, t, b) })
	}
	paths, err := kind.Edit(s.change)
	if err != nil {
		return err
	}
	marks, err := mounts.Optional.Edit(s.change)
	if err != nil {
		return err
	}
	own := s.spec.Owner().Or(rootfs.Owner{})
	whose := s.container()
	before := paths.Records()
	for _, b := range binds {
		var task *resource.Task
		if slices.Contains(before, b) && s.isLostPath(b) {
			task = paths.Update(b, b)
		} else if err := s.addError(paths.Records(), b); err != nil {
			paths.Fail("add", b, err)
			break
		} else {
			task = paths.Add(b)
		}
		if !s.noSpec { // then nobody knows for whom
			task.Offline = func(context.Context) error {
				return s.grantPath(b, func() error { return mounts.MakeHost(s.wait, whose, b.Host, b.HostOwner(own)) })
			}
		}
		s.printOnSuccess(task, "Add path (%s) to container(%s,%s) done.", b.Host, s.name, b.Container)
		if optional && !slices.Contains(marks.Records(), b) {
			marks.Add(b).Needs = task
		}
	}
	return nil
}

// grantPath does what gives the container a path, and warns of a host directory that was
// made for it, which may be a mistyped one, and of a path that belongs to nobody in the
// container.
func (s *session) grantPath(b mounts.Bind, give func() error) error {
	missing := mounts.Missing(s.wait, b.Host)
	if err := give(); err != nil {
		return addPathError(err)
	}
	var warn []error
	if missing {
		warn = append(warn, fmt.Errorf("the host had no %s: made, an empty directory", b.Host))
	}
	if s.spec.UserNS() {
		warn = append(warn, b.CheckOwner(s.wait, s.spec.Maps))
	}
	return resource.Warn(errors.Join(warn...))
}

// isLostPath tells whether a recorded path is not there: then its command was killed,
// and is repeated.
func (s *session) isLostPath(b mounts.Bind) bool {
	if s.target == nil {
		return false
	}
	lost, err := mounts.Lost(context.Background(), s.target, b)
	return s.target.Ledger.Pending(mounts.Kind.Name, b) || lost && err == nil
}

// addError refuses what cannot be added to the records.
func (s *session) addError(records []mounts.Bind, b mounts.Bind) error {
	if len(records) >= maxPaths {
		//lint:ignore ST1005 the wording of v0.9
		return errors.New("Path already reach max limit")
	}
	if err := mounts.Check(append(records, b)); err != nil {
		return fmt.Errorf("AddPath: failed to UpdateBind, err: %w", err)
	}
	if err := s.checkDeviceVisible(records, b); err != nil {
		return addPathError(err)
	}
	if s.noSpec {
		return nil // nobody knows what it has
	}
	return addPathError(b.CheckUsers(s.spec.UserNS()))
}

func addPathError(err error) error {
	if err != nil {
		return fmt.Errorf("AddPath: failed to add bind, err: %w", err)
	}
	return nil
}

func (a App) removePaths(c *cli.Context) error {
	if err := atLeastArgs(c, 2); err != nil {
		return err
	}
	return a.transact(c, "Failed to remove path: ", resource.Skip, func(s *session) error {
		binds, err := parseBinds(c.Args().Tail(), func(mounts.Bind) error { return nil })
		if err != nil {
			return err
		}
		return s.removePaths(binds)
	})
}

func (s *session) removePaths(binds []mounts.Bind) error {
	kind := mounts.Kind
	kind.Remove = func(ctx context.Context, t *resource.Target, b mounts.Bind) error {
		if err := mounts.Kind.Remove(ctx, t, b); err != nil {
			//lint:ignore ST1005 the wording of v0.9
			return fmt.Errorf("Failed to remove bind(%s:%s),error: %w", b.Host, b.Container, err)
		}
		return nil
	}
	paths, err := kind.Edit(s.change)
	if err != nil {
		return err
	}
	marks, err := mounts.Optional.Edit(s.change)
	if err != nil {
		return err
	}
	for _, b := range binds {
		records := paths.Records()
		i := slices.IndexFunc(records, func(r mounts.Bind) bool {
			return filepath.Clean(r.Host) == b.Host && filepath.Clean(r.Container) == b.Container
		})
		if i < 0 {
			//lint:ignore ST1005 the wording of v0.9
			paths.Fail("remove", b, fmt.Errorf("Path pair(%s:%s) is not added by %s, can not remove it, please check input parameter", b.Host, b.Container, s.app.Name))
			continue
		}
		task := paths.Remove(records[i])
		s.printOnSuccess(task, "Remove path (%s) from container(%s,%s) done", b.Host, s.name, b.Container)
		if slices.Contains(marks.Records(), records[i]) {
			marks.Remove(records[i]).Needs = task
		}
	}
	return nil
}

// parseBinds reads all arguments before anything is changed for one.
func parseBinds(args []string, check func(mounts.Bind) error) ([]mounts.Bind, error) {
	binds := make([]mounts.Bind, len(args))
	for i, arg := range args {
		b, err := parseBind(arg)
		if err == nil {
			err = check(b)
		}
		if err != nil {
			//lint:ignore ST1005 the wording of v0.9
			return nil, bareError{fmt.Errorf("Failed to parse bind: %s, %w", arg, err)}
		}
		binds[i] = b
	}
	return binds, nil
}

// parseBind reads HOST:CONTAINER[:OPTIONS].
func parseBind(arg string) (mounts.Bind, error) {
	fields := append(strings.Split(arg, ":"), "rw,rslave")
	if len(fields) != 3 && len(fields) != 4 {
		return mounts.Bind{}, fmt.Errorf("invalid path specification: %s", arg)
	}
	if !filepath.IsAbs(fields[0]) || !filepath.IsAbs(fields[1]) {
		return mounts.Bind{}, fmt.Errorf("invalid path specification:%s, only absolute path is allowed", arg)
	}
	b, _, err := mounts.Kind.Resolve(mounts.Bind{Host: filepath.Clean(fields[0]), Container: filepath.Clean(fields[1]), Options: fields[2]})
	return b, err
}

// addable refuses what no start could have.
func addable(w *deadline.Waiter, b mounts.Bind, optional bool) error {
	if !utf8.ValidString(b.String()) {
		return errors.New("invalid path specification: not UTF-8, which device_hook.json cannot hold: rename the path")
	}
	if place.Within(b.Container, place.SharedPath) {
		return fmt.Errorf("invalid path specification: %s in the container is the shared path, by which host paths arrive: choose another path", place.SharedPath)
	}
	for element := range strings.SplitSeq(b.Container, "/") {
		if len(element) > unix.NAME_MAX || len(b.Container) >= unix.PathMax {
			return fmt.Errorf("invalid path specification: %w", unix.ENAMETOOLONG)
		}
	}
	if err := mounts.CheckTarget(b.Container); err != nil {
		return fmt.Errorf("invalid path specification: %w", err)
	}
	if optional {
		return b.Exists(w)
	}
	return mounts.CheckHost(w, b.Host)
}
