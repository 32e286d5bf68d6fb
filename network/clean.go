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

// ErrStuck says that an interface may still be in a pinned namespace. With that it
// would go away.
var ErrStuck = errors.New("the network namespace is kept")

// remark is worth telling, though the interface is gone or back all the same.
type remark struct{ error }

// Clean removes the interfaces that are recorded for container id, which has
// ended. It goes on after errors.
func Clean(ctx context.Context, id string, records []NIC) error {
	pinned, err := takeBack(ctx, id, records)
	if !pinned && len(records) > 0 {
		err = errors.Join(err, forgetPorts(ctx, records))
	}
	return err
}

// TakeBack removes them through the namespaces that are pinned for the container:
// a veth is deleted, an eth comes back to the host. Without a pin the kernel has
// done it, but for a switch's database.
func TakeBack(ctx context.Context, id string, records []NIC) error {
	_, err := takeBack(ctx, id, records)
	return err
}

func takeBack(ctx context.Context, id string, records []NIC) (pinned bool, err error) {
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
		case err != nil:
			errs = append(errs, err, ErrStuck)
			continue
		}
		w.ended, pinned = true, true
		errs = append(errs, w.each(records, func(r NIC) error { return w.take(ctx, r) }))
		t.Net.Close()
	}
	return pinned, errors.Join(errs...)
}

// each is do for each record. ErrStuck is among the errors when one is no remark.
func (w *work) each(records []NIC, do func(NIC) error) error {
	var errs []error
	var stuck error
	for _, r := range records {
		err := do(r)
		if err == nil {
			continue
		}
		if told := (remark{}); !errors.As(err, &told) {
			stuck = ErrStuck
		}
		errs = append(errs, fmt.Errorf("remove network interface %s: %w", r, err))
	}
	return errors.Join(append(errs, stuck)...)
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
		link, err := lookUp(host, r.HostName)
		if link == nil && err == nil {
			err = w.leaveSwitch(ctx, r.Bridge, r.HostName)
		}
		if err != nil {
			return remark{err}
		}
		return nil
	})
}
