package container

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// Open opens the ways into container id, which runs as s says and has the
// specification sp. What it is granted generation g keeps. Where its root is inside
// its mount namespace differs: runc runs prestart before pivot_root(2), so it is the
// root's host path there; iSulad 2.1's lcr runs it after, and so it is later with any:
// it is /. That is the namespace's root, wherever init has gone with chroot(2) since.
// What does not answer is waited for by w.
func Open(w *deadline.Waiter, g place.Generation, id string, s Start, sp *Spec) (t *resource.Target, closeAll func(), err error) {
	var closers []func()
	all := func() {
		for _, c := range closers {
			c()
		}
	}
	defer func() {
		if err != nil {
			all()
		}
	}()
	ns, err := nsenter.EnterMount(s.Init.PID, "container "+id, w)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, ns.Close)
	root, sees, err := rootOf(ns, s.Init.PID, id, w)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, closer(root))
	ours, err := root.Same("/")
	if err != nil {
		return nil, nil, err
	}
	if ours {
		path, err := sp.RootPath(s.Bundle, s.Root)
		if err != nil {
			return nil, nil, err
		}
		if root, err = root.Sub(path); err != nil {
			return nil, nil, fmt.Errorf("container's root: %w", err)
		}
		closers = append(closers, closer(root))
		if host, err := root.Same("/"); err != nil || host {
			return nil, nil, errors.Join(err, errors.New("the container's root is the host's /, where nothing is made or removed"))
		}
	}
	root.Restrict(sp.rights())
	if !s.Init.Lives() { // then what was opened by its pid may be another's
		return nil, nil, fmt.Errorf("process %d: %w", s.Init.PID, process.ErrGone)
	}
	t = &resource.Target{
		Wait:      w,
		ID:        id,
		Bundle:    s.Bundle,
		Init:      s.Init,
		Root:      root,
		Owner:     sp.Owner(),
		UserNS:    sp.UserNS(),
		Pivoted:   !ours,
		NS:        ns,
		MountsPID: sees,
		Net:       netOf(id, s),
		Cgroups:   cgroup.Container{Path: sp.Linux.CgroupsPath, PID: s.Init.PID, Dirs: s.Cgroups},

		DeviceRules: sp.DeviceRules(EngineOf(s.Bundle)),
		Nodes:       sp.Nodes(),
	}
	t.Ledger, t.Doubt = OpenLedger(g, id, s, sp)
	closers = append(closers, t.Net.Close, t.Cgroups.Close, t.Ledger.Close)
	return t, all, nil
}

// rootOf opens the root of the mount namespace that process pid is in, and says who sees
// all of it. That is not the process where it has changed its root directory.
func rootOf(ns *nsenter.Mount, pid int, id string, w *deadline.Waiter) (root *rootfs.Root, sees int, err error) {
	if root, err = rootfs.OfProcess(pid, "container "+id, w); err != nil {
		return nil, 0, err
	}
	at, err := root.At()
	if err == nil && at == "/" {
		return root, pid, nil
	}
	root.Close()
	if err == nil {
		sees, err = ns.Thread()
	}
	if err == nil {
		root, err = rootfs.OfProcess(sees, "container "+id, w)
	}
	return root, sees, err
}

// OpenLedger opens what container id was granted by the start s, with the specification
// sp. doubt says what could not be read of it.
func OpenLedger(g place.Generation, id string, s Start, sp *Spec) (l *ledger.Ledger, doubt error) {
	return ledger.Open(g, id, ledger.Start{Engine: EngineOf(s.Bundle), Init: s.Init, Bundle: s.Bundle, Ask: sp.Trees(s.Bundle)})
}

// netOf returns the network namespace in which the container was started, even if init
// has entered another one since: the pin of the hook, if there is one of this start (the
// start record then has cgroups).
func netOf(id string, s Start) *rtnl.Namespace {
	for _, g := range place.Generations {
		var fs unix.Statfs_t
		pin := filepath.Join(g.NetNS(), id)
		if s.Cgroups != nil && unix.Statfs(pin, &fs) == nil && fs.Type == unix.NSFS_MAGIC {
			return rtnl.AtPath(pin)
		}
	}
	return rtnl.OfProcess(s.Init.PID)
}

// closer closes this root, whatever its variable holds later.
func closer(r *rootfs.Root) func() { return func() { r.Close() } }

// RootPath is the host path of the container's root file system: what the
// runtime said, if it did, else the specification's. It is not guessed: the
// wrong one would be changed.
func (s *Spec) RootPath(bundle, said string) (string, error) {
	config := filepath.Join(bundle, SpecName)
	switch {
	case filepath.IsAbs(said):
		return said, nil
	case said != "":
		return "", fmt.Errorf("root: %q is not an absolute path", said)
	case s.Root.Path == "":
		return "", fmt.Errorf("%s: root.path: missing, and the container's state has no root", config)
	case filepath.IsAbs(s.Root.Path):
		return s.Root.Path, nil
	}
	return filepath.Join(bundle, s.Root.Path), nil
}

// EngineOf is the engine's name in a bundle's path, <graph>/engines/NAME/<id>; podman
// in one of podman's form, <graphroot>/<driver>-containers/<id>/userdata, which CRI-O's
// has, too; "" when the path is of another form.
func EngineOf(bundle string) string {
	dir := filepath.Dir(bundle)
	if filepath.Base(bundle) == "userdata" && strings.HasSuffix(filepath.Base(filepath.Dir(dir)), "-containers") {
		return "podman"
	}
	if filepath.Base(filepath.Dir(dir)) != "engines" {
		return ""
	}
	return filepath.Base(dir)
}
