package network

import (
	"errors"
	"fmt"

	"isula.org/isulad-tools/internal/netspace"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/resource"
)

// work is a container whose links change.
type work struct {
	*resource.Target
	space  *netspace.Space
	inside *netspace.Side
	host   *netspace.Side

	// ended: the container has stopped. A host interface whose old name is taken is then
	// returned under a free name, because nobody else returns it.
	ended bool

	silent error // why Open vSwitch is not asked again: it did not answer
}

// enter opens the container's network namespace.
func enter(t *resource.Target) (*work, error) {
	if !t.Net.IsOpen() {
		if err := t.Net.Open(); err != nil {
			return nil, err
		}
		if t.Init.PID > 0 && !t.Init.Lives() { // then what was opened by its pid may be another's
			t.Net.Close()
			return nil, fmt.Errorf("process %d: %w", t.Init.PID, process.ErrGone)
		}
	}
	return &work{Target: t, space: t.Net, inside: t.Net.Inside, host: t.Net.Host}, nil
}

// lookUp returns the link that has this name, or this alternative name; nil for
// none.
func lookUp(side *netspace.Side, name string) (*netspace.Link, error) {
	link, err := side.Link(name)
	return link, refused("look for link "+name, err)
}

// find is lookUp for the name proper.
func find(side *netspace.Side, name string) (*netspace.Link, error) {
	link, err := lookUp(side, name)
	if link == nil || link.Name != name {
		return nil, err
	}
	return link, nil
}

// setUp brings a link up.
func setUp(side *netspace.Side, index int) error {
	up := true
	return refused("failed to set link up", side.Set(index, netspace.Attributes{Up: &up}))
}

// setBridge makes the host's link a port of the bridge with this index; 0 is none.
// The kernel takes it out of the one that it is in first.
func (w *work) setBridge(link, bridge int) error {
	return refused(join, w.host.Set(link, netspace.Attributes{Bridge: &bridge}))
}

// errGone says that a link went away while we worked on it.
var errGone = errors.New("the link went away")

// refusal is what the kernel said to a request, or would say.
type refusal struct {
	what string
	err  error
}

// What is asked of the kernel, in v0.9's words.
const (
	setMTU   = "failed in prefunc: failed to set mtu"
	join     = "failed in prefunc: failed to add to bridge"
	setMAC   = "failed to set hardware"
	setName  = "failed to rename link"
	setQueue = "failed to set qlen"
	setIP    = "failed to set ip"
	makePair = "failed to create veth"
	moveLink = "failed to move link"
	dropLink = "failed to delete link"
	addRoute = "failed to add route"
	delRoute = "failed to delete route"
)

func (r *refusal) Error() string { return r.what + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refused wraps what the kernel said to a request.
func refused(what string, err error) error {
	if err == nil {
		return nil
	}
	return &refusal{what, err}
}
