package network

import (
	"errors"
	"fmt"

	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// session is a container whose links change.
type session struct {
	*resource.Target
	space  *rtnl.Namespace
	inside *rtnl.Conn
	host   *rtnl.Conn

	// containerEnded: the container has stopped. A host interface whose old name is taken is then
	// returned under a free name, because nobody else returns it.
	containerEnded bool

	ovsErr error // why Open vSwitch is not asked again: it did not answer
}

// enter opens the container's network namespace.
func enter(t *resource.Target) (*session, error) {
	if !t.Net.IsOpen() {
		if err := t.Net.Open(); err != nil {
			return nil, err
		}
		if t.Init.PID > 0 && !t.Init.Lives() { // then what was opened by its pid may be another's
			t.Net.Close()
			return nil, fmt.Errorf("process %d: %w", t.Init.PID, process.ErrGone)
		}
	}
	return &session{Target: t, space: t.Net, inside: t.Net.Inside, host: t.Net.Host}, nil
}

// linkByNameOrAltName returns the link that has this name, or this alternative name; nil for
// none.
func linkByNameOrAltName(side *rtnl.Conn, name string) (*rtnl.Link, error) {
	return side.Link(name)
}

// linkByName is linkByNameOrAltName for the name proper.
func linkByName(side *rtnl.Conn, name string) (*rtnl.Link, error) {
	link, err := linkByNameOrAltName(side, name)
	if link == nil || link.Name != name {
		return nil, err
	}
	return link, nil
}

// setUp brings a link up.
func setUp(side *rtnl.Conn, index int) error {
	up := true
	return wrapOp("failed to set link up", side.SetLink(index, rtnl.LinkAttrs{Up: &up}))
}

// rename gives a link another name, for which the kernel wants it down.
func rename(side *rtnl.Conn, index int, name string) error {
	down := false
	return errors.Join(wrapOp(opRename, side.SetLink(index, rtnl.LinkAttrs{Up: &down})), wrapOp(opRename, side.SetLink(index, rtnl.LinkAttrs{Name: name})))
}

// setBridge makes the host's link a port of the bridge with this index; 0 is none.
// The kernel takes it out of the bridge that it is in first.
func (w *session) setBridge(link, bridge int) error {
	return wrapOp(opEnslave, w.host.SetLink(link, rtnl.LinkAttrs{Bridge: &bridge}))
}

// errGone says that a link went away while we worked on it.
var errGone = errors.New("the link went away")

// opError is what the kernel said to a request, or would say.
type opError struct {
	what string
	err  error
}

// What is asked of the kernel, in v0.9's words.
const (
	opSetMTU      = "failed in prefunc: failed to set mtu"
	opEnslave     = "failed in prefunc: failed to add to bridge"
	opSetMAC      = "failed to set hardware"
	opRename      = "failed to rename link"
	opSetQueueLen = "failed to set qlen"
	opSetAddress  = "failed to set ip"
	opAddVeth     = "failed to create veth"
	opMoveLink    = "failed to move link"
	opDeleteLink  = "failed to delete link"
	opAddRoute    = "failed to add route"
	opDeleteRoute = "failed to delete route"
)

func (r *opError) Error() string { return r.what + ": " + r.err.Error() }
func (r *opError) Unwrap() error { return r.err }

// wrapOp wraps what the kernel said to a request: what tells of that in v0.9's words, or
// by a link's name.
func wrapOp(what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*rtnl.OpError); ok {
		err = e.Err
	}
	return &opError{what, err}
}
