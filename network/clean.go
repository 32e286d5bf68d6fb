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
// ended. It goes on after errors.
func Clean(ctx context.Context, id string, records []NIC) error {
	pinned, err := TakeBack(ctx, id, records)
	if !pinned && len(records) > 0 {
		err = errors.Join(err, forgetPorts(ctx, records))
	}
	return err
}

// TakeBack removes them through the namespaces that are pinned for the container:
// a veth is deleted, an eth comes back to the host. Without a pin the kernel has
// done it, but for a switch's database.
func TakeBack(ctx context.Context, id string, records []NIC) (pinned bool, err error) {
	if len(records) == 0 {
		return false, nil
	}
	var errs []error
	for _, g := range place.Generations {
		t := &resource.Target{ID: id, Net: netspace.At(filepath.Join(g.NetNS(), id))}
		w, err := enter(t)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, netspace.ErrNone), errors.Is(err, netspace.ErrHost):
			continue // nothing of the container's is there
		case err == nil:
			w.ended, pinned = true, true
			err = w.each(records, func(r NIC) error { return w.take(ctx, r) })
			t.Net.Close()
		}
		errs = append(errs, err)
	}
	return pinned, errors.Join(errs...)
}

func (w *work) each(records []NIC, do func(NIC) error) error {
	var errs []error
	for _, r := range records {
		if err := do(r); err != nil {
			errs = append(errs, fmt.Errorf("remove network interface %s: %w", r, err))
		}
	}
	return errors.Join(errs...)
}

// forgetPorts removes from Open vSwitch's database the ports whose links have gone
// with their namespace.
func forgetPorts(ctx context.Context, records []NIC) error {
	host, err := netspace.Here()
	if err != nil {
		return err
	}
	defer host.Close()
	w := &work{Target: new(resource.Target), host: host}
	return w.each(records, func(r NIC) error {
		if link, err := lookUp(host, r.HostName); link != nil || err != nil {
			return err
		}
		return w.leaveSwitch(ctx, r.Bridge, r.HostName)
	})
}
