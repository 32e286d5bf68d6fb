// Package udev serves the rules by which the host's udevd tells us that a device
// of a container, or a partition of a disk, came or went. udevd waits for us, in
// its queue and with its locks: what cannot be done at once is left to the
// container's next start, and what udevd's service may not do to a transient
// unit of systemd.
package udev

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/logging"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/systemd"
)

// How long one event, and a lock that another command holds, are given: below
// udevd, whose queue waits meanwhile; and in a unit of our own, or where no systemd
// runs and nobody else would serve the event. udevd itself would kill after 180 s.
const (
	eventTimeout  = 20 * time.Second
	eventLockWait = 5 * time.Second

	lastTimeout  = 2 * time.Minute
	lastLockWait = time.Minute
)

// direct is the argument in front of those that a rule gives, when the helper
// runs where it may do everything and nobody waits for it.
const direct = "--direct"

// event is what a rule hands over:
//
//	<add|change|remove|unbind> <container> <device> <device or disk in the container> <disk>
//
// A device's own rule has devices.Itself as the last, and so has a selector's, with the
// selector in the place of the device.
type event struct {
	action, container, name, path, disk string
	direct                              bool
}

// ofSelector tells whether the event is of what a selector means.
func (e event) ofSelector() bool {
	_, err := devices.ParseSelector(e.path)
	return err == nil && e.isOfDevice()
}

// isOfDevice tells whether the event is of the device and not of a partition.
func (e event) isOfDevice() bool { return e.disk == devices.Itself }

func (e event) args() []string { return []string{e.action, e.container, e.name, e.path, e.disk} }

// handsOver tells whether a unit of systemd serves what takes too long here.
func (e event) handsOver() bool { return !e.direct && systemd.Runs() }

// lockWait is how long a lock is waited for.
func (e event) lockWait() time.Duration {
	if e.handsOver() {
		return eventLockWait
	}
	return lastLockWait
}

// timeout is how long the event is served.
func (e event) timeout() time.Duration {
	if e.handsOver() {
		return eventTimeout
	}
	return lastTimeout
}

// Helper is the program that the rules name. It returns the exit code; what
// goes wrong is one line on stderr, which udevd puts in its log, and in ours.
func Helper(g place.Generation, name string, args []string, stderr io.Writer) int {
	ev, err := parse(args)
	if err == nil {
		err = serve(g, name, ev)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", name, command.OneLine(err.Error()))
		return 1
	}
	return 0
}

func serve(g place.Generation, name string, ev event) error {
	ctx, cancel := context.WithTimeout(context.Background(), ev.timeout())
	defer cancel()
	// A log that cannot be written is not worth a line per event in udevd's.
	h := &helper{generation: g, log: logging.Helper(name, g.Log, io.Discard)}
	err := h.serve(ctx, ev)
	if err != nil {
		h.log.WithFields(logrus.Fields{"id": ev.container, "event": ev.action + " " + ev.name}).Error(command.OneLine(err.Error()))
	}
	return err
}

// parse checks the arguments. They are the kernel's and our own rule's; an older
// version's, or somebody's who runs us by hand, may be anything.
func parse(args []string) (event, error) {
	var ev event
	if len(args) > 0 && args[0] == direct {
		ev.direct, args = true, args[1:]
	}
	if len(args) != 5 {
		return event{}, fmt.Errorf("want 5 arguments (action, container, device, path, disk), got %d", len(args))
	}
	ev.action, ev.container, ev.name, ev.path, ev.disk = args[0], args[1], args[2], args[3], args[4]
	switch {
	case !slices.Contains([]string{"add", "change", "remove", "unbind"}, ev.action):
		return ev, fmt.Errorf("unknown action %q", ev.action)
	case !container.ValidID(ev.container):
		return ev, fmt.Errorf("%q is not a container's id", ev.container)
	case !path.IsAbs(ev.path) && !ev.ofSelector():
		return ev, fmt.Errorf("path %q: not absolute", ev.path)
	case !isKernelName(ev.name):
		return ev, fmt.Errorf("%q is not a device", ev.name)
	case !ev.isOfDevice() && !devices.IsPartition(ev.name, ev.disk):
		return ev, fmt.Errorf("%q is not a partition of %q", ev.name, ev.disk)
	}
	return ev, devices.CheckDiskPath(ev.path)
}

// isKernelName tells whether name can be that of a device: sda1, cciss/c0d0, ttyUSB0,
// bus/usb/001/002, bsg/0:0:0:0.
func isKernelName(name string) bool {
	return path.Clean("/"+name) == "/"+name && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_./!:") == "" && !strings.HasPrefix(name, ".") && name != ""
}
