package network

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
)

func checkEth(n NIC) error {
	switch {
	case n.HostName == "":
		return errors.New("host nic name input error")
	case n.Bridge != "":
		return errors.New("for eth type, bridge cannot be set")
	}
	return nil
}

func hostNICMissing(name string) error {
	return fmt.Errorf("HostNic(%s) not found, please check", name)
}

// findEth finds the link in the namespace of the container's start.
func findEth(w *session, n parsedNIC) (e linkEnds, err error) {
	err = w.findLent(n, func(from *rtnl.Namespace, link *rtnl.Link) error {
		if from == w.space {
			e.inside = link
		}
		return nil
	})
	if errors.Is(err, errDestroyed) || errors.Is(err, errInOtherNetNS) || errors.Is(err, errNotInLedger) {
		err = nil
	}
	return e, err
}

func applyEth(ctx context.Context, w *session, n parsedNIC, u *undo.Stack) (is made, err error) {
	there, err := linkByNameOrAltName(w.inside, n.Name)
	if err != nil {
		return is, err
	}
	e, err := findEth(w, n)
	if err != nil {
		return is, err
	}
	link, err := linkByName(w.host, n.HostName)
	switch {
	case err != nil:
		return is, err
	case link == nil && e.inside != nil && e.inside.Name == n.Name && (n.is.Was != nil || e.inside.Alias == n.legacyAlias()):
		n.is.Inside = e.inside.Index // moved by a run that was killed
		return n.is, nil
	case link == nil:
		return is, hostNICMissing(n.HostName)
	case there != nil:
		return is, fmt.Errorf("the container has a nic with name %s", n.Name)
	}
	enableOffloads(n.HostName)
	if is.NS, err = w.space.ID(); err != nil {
		return is, err
	}
	if is.Was, err = saveLink(w.host, link); err != nil {
		return is, err
	}
	is.Inside = link.Index // the kernel keeps it, unless it is taken
	n.is = is
	w.Ledger.Make(nicName, n.NIC, is)
	if err := w.Ledger.Flush(); err != nil { // a move loses the rest
		return is, err
	}
	to := rtnl.LinkAttrs{Name: n.Name, MTU: n.MTU, QueueLen: &n.QueueLen, MAC: n.mac, NS: w.space.FD()}
	u.Push("return link "+n.HostName, func() error {
		err := removeEth(ctx, w, n) // whatever became of it
		if told := (resource.Warning{}); errors.As(err, &told) {
			return nil
		}
		return err
	})
	if err := w.host.SetLink(link.Index, to); err != nil {
		return is, wrapOp(opMoveLink, err)
	}
	// Not by its name: the container may have given it another one already.
	moved, err := findEth(w, n)
	if err == nil && moved.inside == nil {
		err = errGone
	}
	if err != nil {
		return is, err
	}
	is.Inside = moved.inside.Index
	return is, nil
}

func removeEth(_ context.Context, w *session, n parsedNIC) error {
	err := w.findLent(n, func(from *rtnl.Namespace, link *rtnl.Link) error { return w.returnToHost(n, from, link) })
	if errors.Is(err, errDestroyed) { // nobody will have it again
		return resource.Warn(err)
	}
	return err
}

// freeName returns a name like the one wanted that the host has no link of.
func freeName(host *rtnl.Conn, wanted string) (string, error) {
	for i := range 100 {
		end := fmt.Sprintf("_%d", i)
		name := wanted[:min(len(wanted), maxName-len(end))] + end
		link, err := linkByNameOrAltName(host, strings.TrimSpace(name))
		if link == nil {
			return name, err
		}
	}
	return "", fmt.Errorf("no free name like %s on the host", wanted)
}
