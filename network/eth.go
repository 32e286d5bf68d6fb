package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/undo"
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

// findEth finds the link in the container.
func findEth(w *work, n nic) (e ends, err error) {
	e.inside, err = find(w.inside, n.Name)
	return e, err
}

// mark is the alias of a link of the host while the container has it: whose link
// of that name it is would not be known otherwise.
func (n nic) mark() string { return "isulad-tools " + n.HostName }

// unmark takes the mark off a link that goes back.
func (n nic) unmark(link *netspace.Link, to *netspace.Attributes) {
	if none := ""; link.Alias == n.mark() {
		to.Alias = &none
	}
}

func applyEth(_ context.Context, w *work, n nic, u *undo.Stack) (index int, err error) {
	there, err := lookUp(w.inside, n.Name)
	if err != nil {
		return 0, err
	}
	link, err := find(w.host, n.HostName)
	switch {
	case err != nil:
		return 0, err
	case link == nil && there != nil && there.Alias == n.mark():
		return there.Index, nil // moved by a run that was killed
	case link == nil:
		return 0, hostNICMissing(n.HostName)
	case there != nil:
		return 0, fmt.Errorf("the container has a nic with name %s", n.Name)
	}
	offload(n.HostName)
	to := netspace.Attributes{Name: n.Name, MTU: n.MTU, QueueLen: &n.QueueLen, MAC: n.mac, NS: w.space.FD()}
	if mark := n.mark(); link.Alias == "" {
		to.Alias = &mark
	}
	u.Push("return link "+n.HostName, func() error { return w.giveBack(n, link) })
	if err := w.host.Set(link.Index, to); err != nil {
		return 0, refused(moveLink, err)
	}
	moved, err := find(w.inside, n.Name)
	if err == nil && moved == nil {
		err = errGone
	}
	if err != nil {
		return 0, err
	}
	return moved.Index, nil
}

// giveBack undoes a move, whatever became of it, as far as the kernel has kept
// the link's state: its addresses are lost.
func (w *work) giveBack(n nic, was *netspace.Link) error {
	for _, name := range []string{n.Name, was.Name} { // moved and renamed, or moved
		link, err := find(w.inside, name)
		if err != nil {
			return err
		}
		if link == nil || !bytes.Equal(link.MAC, was.MAC) && !bytes.Equal(link.MAC, n.mac) {
			continue
		}
		to := netspace.Attributes{Name: was.Name, MTU: was.MTU, QueueLen: &was.QueueLen, MAC: was.MAC, NS: w.space.HostFD()}
		n.unmark(link, &to)
		if err := w.inside.Set(link.Index, to); err != nil {
			return refused(moveLink, err)
		}
		break
	}
	link, err := find(w.host, was.Name)
	if link == nil || err != nil {
		return err
	}
	if was.Up {
		return setUp(w.host, link.Index)
	}
	return nil
}

func removeEth(_ context.Context, w *work, n nic) error {
	link, err := find(w.inside, n.Name)
	if link == nil || err != nil {
		return err
	}
	name := n.HostName
	taken, err := lookUp(w.host, name)
	if err != nil {
		return err
	}
	if taken != nil {
		if !w.ended {
			return fmt.Errorf("the host has another nic with name %s now", name)
		}
		if name, err = freeName(w.host, name); err != nil {
			return err
		}
	}
	to := netspace.Attributes{Name: name, NS: w.space.HostFD()}
	n.unmark(link, &to)
	if err := w.inside.Set(link.Index, to); err != nil {
		return refused(moveLink, err)
	}
	if name != n.HostName {
		return remark{fmt.Errorf("the host has another nic with name %s now, the container's is returned as %s", n.HostName, name)}
	}
	return nil
}

// freeName returns a name like the one wanted that the host has no link of.
func freeName(host *netspace.Side, wanted string) (string, error) {
	for i := range 100 {
		end := fmt.Sprintf("_%d", i)
		name := wanted[:min(len(wanted), maxName-len(end))] + end
		link, err := lookUp(host, strings.TrimSpace(name))
		if link == nil {
			return name, err
		}
	}
	return "", fmt.Errorf("no free name like %s on the host", wanted)
}
