package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/selinux"
)

// relabel has the container label its files at its first start. When that cannot
// be, it starts as it is. Compat: hook-relabel-disabled, hook-relabel-no-selinux
func (h *Hook) relabel(ctx context.Context, s *startRun) {
	log := h.log.WithField("id", s.state.ID)
	err := h.wait.Do(s.state.whose(), "/", func() error { return selinux.Prepare(ctx, s.target, hookLockWait) })
	switch {
	case errors.Is(err, selinux.ErrDisabled):
		log.Infof("--with-relabel: nothing to do: %v", err)
	case err != nil:
		log.Warn("--with-relabel: the container starts as it is: " + command.OneLine(err.Error()))
	}
}

// unlabel takes out of a stopped container what relabel put there for its next
// start. The root is a path of the host now, and may not be there: an ordinary
// lcr container's is an empty directory.
func (h *Hook) unlabel(st state, sp *container.Spec) error {
	path, err := sp.RootPath(st.Bundle, st.Root)
	if err != nil {
		return err
	}
	return h.wait.Do(st.whose(), path, func() error { return unlabel(path) })
}

func unlabel(path string) error {
	host, err := rootfs.OfProcess(os.Getpid(), "this host", nil)
	if err != nil {
		return err
	}
	defer host.Close()
	root, err := host.Sub(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("container's root: %w", err)
	}
	defer root.Close()
	if ours, err := root.Same("/"); err != nil || ours {
		return errors.Join(err, errors.New("the container's root is the host's /, where nothing is made or removed"))
	}
	return selinux.Remove(root)
}
