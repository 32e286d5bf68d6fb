package selinux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/undo"
)

// Host is the system that isulad runs in.
type Host struct {
	Root       string        // its root directory
	IsuladPath string        // the directory in it that isulad is installed in
	Wait       time.Duration // for others who change its configuration
}

// Plan is what readies a host for containers with SELinux.
type Plan struct {
	steps []step
	sys   *system
}

// step is one change that has to be made.
type step struct {
	what string
	do   func(context.Context) (takeBack func() error, err error)
}

// Plan looks at everything and changes nothing. Close follows.
func (h Host) Plan() (p *Plan, err error) {
	s, err := openSystem(h.Root)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	text, _, err := s.config()
	if err != nil {
		return nil, err
	}
	if !selinux.GetEnabled() {
		return nil, fmt.Errorf("%w in the running kernel", ErrDisabled)
	}
	p = &Plan{sys: s}
	if withMode(text, permissive) != text {
		p.add(fmt.Sprintf("set %s=%s in %s, where it is %q", modeKey, permissive, s.path(configPath), setting(text, modeKey)),
			func(ctx context.Context) (func() error, error) { return s.setPermissive(ctx, h.Wait) })
	}
	for _, look := range []func() error{
		func() error { return p.localContexts(setting(text, typeKey)) },
		p.enforce,
		func() error { return p.labelIsulad(filepath.Join(h.IsuladPath, "isulad")) },
		p.restart,
	} {
		if err := look(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Close releases what the plan holds.
func (p *Plan) Close() { p.sys.close() }

func (p *Plan) add(what string, do func(context.Context) (func() error, error)) {
	p.steps = append(p.steps, step{what, do})
}

// Steps says what the plan changes, one line each.
func (p *Plan) Steps() []string {
	var lines []string
	for _, s := range p.steps {
		lines = append(lines, s.what)
	}
	return lines
}

// Do makes the changes. What it did is taken back when a later one fails.
func (p *Plan) Do(ctx context.Context) (err error) {
	var u undo.Stack
	defer u.OnError(&err)
	for _, s := range p.steps {
		takeBack, err := s.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		if takeBack != nil {
			u.Push(s.what, takeBack)
		}
	}
	return nil
}

// localContexts has an administrator's own list of labels be there, which tools
// that change it want to find.
func (p *Plan) localContexts(policy string) error {
	if !validPolicy(policy) {
		return fmt.Errorf("%s: %s: %q is no policy's name", p.sys.path(configPath), typeKey, policy)
	}
	const name = "file_contexts.local"
	path := filepath.Join(configDir, policy, "contexts/files")
	dir, err := p.sys.open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return nil
	}
	p.add("make "+p.sys.path(filepath.Join(path, name))+", empty", func(context.Context) (func() error, error) {
		dir, err := p.sys.open(path, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		f, err := open.At(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, os.ErrExist) {
			return nil, nil
		}
		if err != nil {
			return nil, bareError(err)
		}
		takeBack := func() error { return p.sys.unlink(path, name) }
		if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
			return nil, errors.Join(err, takeBack())
		}
		return takeBack, nil
	})
	return nil
}

// unlink removes an entry of a directory.
func (s *system) unlink(path, name string) error {
	dir, err := s.open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("unlinkat", open.Again(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) }))
}

// enforce is setenforce(8).
func (p *Plan) enforce() error {
	if selinux.EnforceMode() != selinux.Enforcing {
		return nil
	}
	p.add("switch the running kernel to permissive mode", func(context.Context) (func() error, error) {
		return func() error { return setEnforce(selinux.Enforcing) }, setEnforce(selinux.Permissive)
	})
	return nil
}

// labelIsulad has init start isulad as it starts itself.
func (p *Plan) labelIsulad(path string) error {
	f, err := p.sys.open(path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := isRegular(f); err != nil {
		return fmt.Errorf("%s: %w", p.sys.path(path), err)
	}
	want, err := p.sys.initLabel()
	if err != nil {
		return err
	}
	has, err := labelOf(f)
	if err != nil {
		return fmt.Errorf("label of %s: %w", p.sys.path(path), err)
	}
	if has == want {
		return nil
	}
	set := func(label string) error {
		f, err := p.sys.open(path, unix.O_PATH)
		if err != nil {
			return err
		}
		defer f.Close()
		return setLabel(f, label)
	}
	p.add(fmt.Sprintf("label %s %s, where it is %q", p.sys.path(path), want, has), func(context.Context) (func() error, error) {
		return func() error { return set(has) }, set(want)
	})
	return nil
}

// restart has isulad run under its new label.
func (p *Plan) restart() error {
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		return err
	}
	p.add("restart isulad", func(ctx context.Context) (func() error, error) {
		_, err := command.Cmd{Path: systemctl, Args: []string{"restart", "isulad"}}.Run(ctx)
		return nil, err
	})
	return nil
}
