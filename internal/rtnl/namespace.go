// Package rtnl reaches the links, addresses and routes of a container's
// network namespace and of the host's, by a netlink socket in each (rtnetlink(7)).
// No thread is left in a namespace that is not the host's. It knows nothing of
// what they are for.
package rtnl

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// ErrHostNetwork says that a container has the host's network. Nothing of it is ever
// changed in a container's name.
var ErrHostNetwork = errors.New("the container has no network namespace of its own, it uses the host's")

// ErrNotNetworkNamespace says that a file is no network namespace.
var ErrNotNetworkNamespace = errors.New("not a network namespace")

// Namespace is a container's network namespace, with the host's beside it.
type Namespace struct {
	// Inside and Host are for requests in either, after Open.
	Inside, Host *Conn

	path     string
	ns, ours *os.File
	hostNSID int // the number that the host knows the namespace by; -1: not known yet
}

// AtPath is the network namespace in the file at path. Nothing is opened yet.
func AtPath(path string) *Namespace { return &Namespace{path: path, hostNSID: -1} }

// OfProcess is the network namespace of process pid. Nothing is opened yet.
func OfProcess(pid int) *Namespace { return AtPath(process.Path(pid, "ns/net")) }

// IsOpen tells whether Open has done its work.
func (s *Namespace) IsOpen() bool { return s.Inside != nil }

// Open opens it.
func (s *Namespace) Open() (err error) {
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	// To fstat(2) a namespace is a regular file.
	s.ns, err = open.Regular(s.path, unix.O_RDONLY, 0)
	if errors.Is(err, open.ErrNotRegular) {
		return fmt.Errorf("%s: %w", s.path, ErrNotNetworkNamespace)
	}
	if err != nil {
		return err
	}
	// NS_GET_NSTYPE: Linux 4.11
	if kind, err := unix.IoctlRetInt(int(s.ns.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return fmt.Errorf("%s: %w", s.path, ErrNotNetworkNamespace)
	}
	if s.ours, err = open.File("/proc/self/ns/net", unix.O_RDONLY, 0); err != nil {
		return err
	}
	theirs, err := s.ns.Stat()
	if err != nil {
		return err
	}
	ours, err := s.ours.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(theirs, ours) {
		return ErrHostNetwork
	}
	if s.Host, err = Dial(); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	// Not by the library, which would move this thread there, and not notice when
	// it cannot move it back.
	err = nsenter.InNet(s.ns, func() (err error) {
		s.Inside, err = Dial()
		return err
	})
	if err != nil {
		return fmt.Errorf("netlink socket in %s: %w", s.path, err)
	}
	return nil
}

// Close closes what Open opened.
func (s *Namespace) Close() {
	for _, h := range []*Conn{s.Inside, s.Host} {
		if h != nil {
			h.Close()
		}
	}
	s.Inside, s.Host = nil, nil
	s.ns.Close()
	s.ours.Close()
}

// FD is the namespace, HostFD the host's, for requests that name one.
func (s *Namespace) FD() int { return int(s.ns.Fd()) }

// HostFD is the host's namespace.
func (s *Namespace) HostFD() int { return int(s.ours.Fd()) }

// ID names the namespace for as long as it exists.
type ID struct{ Dev, Ino uint64 }

// ID is the namespace's.
func (s *Namespace) ID() (id ID, err error) {
	var st unix.Stat_t
	err = unix.Fstat(s.FD(), &st)
	return ID{st.Dev, st.Ino}, os.NewSyscallError("fstat", err)
}

// EnableIPv6 switches IPv6 on for a link of the namespace, which the kernel lets nobody
// do but by its parameter. Who renames the link meanwhile gets it for another one of
// the same namespace, no more.
func (s *Namespace) EnableIPv6(index int) error {
	link, err := s.Inside.LinkAt(index)
	if link == nil || err != nil {
		return cmp.Or(err, error(&OpError{"look for link with index", index, unix.ENODEV}))
	}
	return nsenter.InNet(s.ns, func() error { // the host's /proc/sys shows the thread's namespace
		f, err := open.File("/proc/sys/net/ipv6/conf/"+link.Name+"/disable_ipv6", unix.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return open.WriteTo(f, "0")
	})
}

// IsHostLink tells whether a link in this namespace is surely the host's: it is hardware, or
// one end of a pair whose other end is in the host's namespace. Whoever is in this one
// makes no such link.
func (s *Namespace) IsHostLink(link *Link) (bool, error) {
	if link.Kind != "veth" || link.PeerNS < 0 {
		return link.Kind == "", nil
	}
	host, err := s.Inside.nsid(s.ours)
	return host == link.PeerNS, err
}

// HasPeerOf tells whether the host's link is one end of a pair of which the other
// end is in this namespace.
func (s *Namespace) HasPeerOf(host *Link) (bool, error) {
	if host.Kind != "veth" || host.PeerNS < 0 {
		return false, nil // the peer is in the host's namespace, too
	}
	if s.hostNSID < 0 {
		id, err := s.Host.nsid(s.ns)
		if err != nil {
			return false, err
		}
		// -1: no nsid is assigned. The kernel assigns one when it first reports a link to
		// that namespace.
		s.hostNSID = id
	}
	return s.hostNSID == host.PeerNS, nil
}
