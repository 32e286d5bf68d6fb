// Package resource is the engine that the hooks and the command line share:
// what a container is to us (Target), what can be done with one kind of
// resource (Kind), and how a list of records becomes steps with one policy
// for failures (Plan). It knows no particular kind.
package resource

import (
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/mounttable"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/rtnl"
)

// Target is a container whose resources change: its init process, and the
// ways into it. Nothing in it is a path that the container could redirect.
type Target struct {
	ID        string
	Bundle    string
	Init      process.ID
	Root      *rootfs.Root   // the container's root directory, in its mount namespace
	Owner     MappedRoot     // the container's own root user, if it has one
	NS        *nsenter.Mount // a thread in the container's mount namespace
	MountsPID int            // a process, or that thread, whose mount table has all that is below Root

	UserNS  bool // it has a user namespace of its own
	Pivoted bool // its root is that of its mount namespace: the host's is gone

	// NoSharedPath is why it has no shared path: its mounts are attached directly. Of a
	// container that runs Detect finds that out; see FindSharedPath.
	NoSharedPath error
	Detect       func(*Target) error

	Wait *deadline.Waiter // for what never answers, in the container or on the host

	Net      *rtnl.Namespace                      // its network namespace, opened when it is needed
	LookPath func(program string) (string, error) // finds what is executed; nil: where hooks may look

	// Ledger is what this start was granted; nil: nobody knows. Doubt is what could
	// not be read of it.
	Ledger *ledger.Ledger
	Doubt  error
	// Nodes are those that the container has by its specification or from its
	// runtime: they are not ours.
	Nodes []Node

	// Cgroups finds the container's cgroup directories; DeviceRules are those
	// of the device controller that it was started with, nil when its specification
	// is not known.
	Cgroups     cgroup.Container
	DeviceRules []cgroup.DeviceRule
}

// FindSharedPath sees to it that NoSharedPath is known.
func (t *Target) FindSharedPath() error {
	if t.Detect == nil {
		return nil
	}
	if err := t.Detect(t); err != nil {
		return err
	}
	t.Detect = nil
	return nil
}

// Mounts is how the container's mounts are looked for.
func (t *Target) Mounts() mounttable.Container {
	return mounttable.Container{Threads: t.Cgroups.Threads, Whose: "container " + t.ID, Wait: t.Wait}
}

// Node is a device node, by its path in the container.
type Node struct {
	Path, Type   string
	Major, Minor int64
}

// MappedRoot is the root user and group of a container that has a user namespace of
// its own, in host ids; -1 is an id that is not mapped, or no such namespace.
type MappedRoot struct{ UID, GID int }

// Or returns the owner with other's ids where o has none.
func (o MappedRoot) Or(other rootfs.Owner) rootfs.Owner {
	if o.UID >= 0 {
		other.UID = o.UID
	}
	if o.GID >= 0 {
		other.GID = o.GID
	}
	return other
}
