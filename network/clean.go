package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// Clean removes the interfaces that are recorded for container id, which has
// ended, through the namespaces that are pinned for it: a veth is deleted, an
// eth comes back to the host. It goes on after errors. Without a pin the kernel
// has done it, but for a switch's database.
func Clean(ctx context.Context, id string, records []NIC) error {
	if len(records) == 0 {
		return nil
	}
	var errs []error
	for _, g := range place.Generations {
		errs = append(errs, cleanThrough(ctx, filepath.Join(g.NetNS(), id), id, records))
	}
	return errors.Join(errs...)
}

func cleanThrough(ctx context.Context, pin, id string, records []NIC) error {
	t := &resource.Target{ID: id, Net: netspace.At(pin)}
	defer t.Net.Close()
	w, err := enter(t)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, netspace.ErrNone), errors.Is(err, netspace.ErrHost):
		return nil // nothing of the container's is there
	case err != nil:
		return err
	}
	w.ended = true
	var errs []error
	for _, r := range records {
		if err := w.take(ctx, r); err != nil {
			errs = append(errs, fmt.Errorf("remove network interface %s: %w", r, err))
		}
	}
	return errors.Join(errs...)
}
