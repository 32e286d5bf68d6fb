package hooks

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/kmod"
)

// modules are what one start asks for: first what the container's environment
// names, then what its file records.
type modules struct {
	requester kmod.Requester
	names     []string // loaded so far
}

// requestModules loads what the container asks for and takes its lock. Loading is
// slow and no business of the lock; so when the file, read again under the lock,
// turns out to ask for more, the lock is given back first.
func (h *Hook) requestModules(ctx context.Context, st state, init process.ID, wanted []string) (m modules, lock *config.Lock, r recorded, err error) {
	m.requester = kmod.Requester{ID: st.ID, Init: init}
	if len(wanted) > 0 {
		// The file is looked at first: a start that cannot succeed loads nothing.
		if r, err = h.load(st.Bundle); err != nil {
			return m, nil, r, err
		}
		wanted = append(wanted, kmod.Without(r.modules, wanted)...)
	}
	for {
		if len(wanted) > 0 {
			if err := h.loadModules(ctx, &m, st.Bundle, wanted); err != nil {
				return m, nil, r, err
			}
		}
		if lock, err = config.LockContainer(ctx, st.Bundle, hookLockWait); err != nil {
			return m, nil, r, err
		}
		if r, err = h.load(st.Bundle); err != nil {
			lock.Unlock()
			return m, nil, r, err
		}
		if wanted = kmod.Without(r.modules, m.names); len(wanted) == 0 {
			return m, lock, r, nil
		}
		lock.Unlock()
	}
}

// loadModules loads the modules and writes one line into the log for each: who
// asked for it and what came of it.
func (h *Hook) loadModules(ctx context.Context, m *modules, bundle string, names []string) error {
	if err := nsenter.CheckMount(m.requester.Init.PID); err != nil { // such a start will be refused
		return err
	}
	if m.requester.Name == "" {
		m.requester.Name = containerName(bundle)
	}
	results, err := kmod.Loader{Wait: hookLockWait}.Load(ctx, m.requester, names)
	for _, r := range results {
		entry := h.log.WithFields(logrus.Fields(kmod.Audit(m.requester, r)))
		if r.Reason != "" {
			entry.Warn("kernel module")
		} else {
			entry.Info("kernel module")
		}
	}
	m.names = append(m.names, names...)
	return err
}

// record remembers what the container asks for, under its lock.
func (m modules) record() error {
	if len(m.names) == 0 {
		return nil
	}
	if err := (kmod.Loader{}).Record(m.requester, m.names); err != nil {
		return fmt.Errorf("note which kernel modules the container asks for: %w", err)
	}
	return nil
}

// containerName is the name that iSulad knows the container by; it keeps that
// beside config.json. "" where there is none.
func containerName(bundle string) string {
	data, err := open.Read(filepath.Join(bundle, "config.v2.json"), maxEngineConfig)
	if err != nil {
		return ""
	}
	var c struct{ CommonConfig struct{ Name string } }
	if json.Unmarshal(data, &c) != nil {
		return ""
	}
	return c.CommonConfig.Name
}
