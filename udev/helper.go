// Package udev serves the rules by which the host's udevd tells us that a
// partition of a container's disk came or went.
package udev

import (
	"fmt"
	"io"
	"strings"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/command"
)

// event is what a rule hands over:
//
//	<add|remove> <container id's prefix> <partition> <disk in the container> <disk>
type event struct {
	action, container, partition, path, disk string
}

// Helper is the program that the rules name. It returns the exit code; what
// goes wrong is one line on stderr, which udevd puts in its log.
func Helper(name string, args []string, stderr io.Writer) int {
	ev, err := parse(args)
	if err == nil {
		// Disks cannot be added by this version, so the rule is an older
		// one's, and so is the container.
		err = fmt.Errorf("%s %s for container %s: partitions are not supported by this version", ev.action, ev.partition, ev.container)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", name, command.OneLine(err.Error()))
		return 1
	}
	return 0
}

func parse(args []string) (event, error) {
	if len(args) != 5 {
		return event{}, fmt.Errorf("want 5 arguments (action, container, partition, path, disk), got %d", len(args))
	}
	ev := event{args[0], args[1], args[2], args[3], args[4]}
	switch {
	case ev.action != "add" && ev.action != "remove":
		return ev, fmt.Errorf("unknown action %q", ev.action)
	case !container.ValidID(ev.container):
		return ev, fmt.Errorf("%q is not a container's id", ev.container)
	case !strings.HasPrefix(ev.path, "/"):
		return ev, fmt.Errorf("path %q: not absolute", ev.path)
	case !isPartition(ev.partition, ev.disk):
		return ev, fmt.Errorf("%q is not a partition of %q", ev.partition, ev.disk)
	}
	return ev, nil
}

// isPartition tells whether partition is one of disk's own. The rule's pattern,
// KERNEL=="sda*", also matches sdaa1.
func isPartition(partition, disk string) bool {
	rest, ok := strings.CutPrefix(partition, disk)
	if !ok || disk == "" || strings.ContainsRune(disk, '/') {
		return false
	}
	number := strings.TrimPrefix(rest, "p")
	return number != "" && strings.Trim(number, "0123456789") == ""
}
