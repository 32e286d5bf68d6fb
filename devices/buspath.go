package devices

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// busPath is where the disk is plugged in that sysfs has at dir: the path from its PCI device
// on, without the numbers that the kernel counts up, so that it is the same after a reboot,
// as the links in by-path are. Two ports, and two units of one target, have two.
func busPath(dir string) string {
	parts := strings.Split(strings.TrimPrefix(dir, "/sys/devices/"), "/")
	parts = parts[:max(0, len(parts)-2)] // block/sda
	var path []string
	parent := "/sys/devices"
	for _, part := range parts {
		if isPCI(part) {
			path = nil
		}
		if p := persistent(parent, part); p != "" {
			path = append(path, p)
		}
		parent = filepath.Join(parent, part)
	}
	return strings.Join(path, "/")
}

// unit is which of a USB device's disks the one with this path is: "" is the first.
func unit(busPath string) string {
	address := busPath[strings.LastIndexByte(busPath, '/')+1:]
	if strings.Count(address, ":") != 2 || address == "0:0:0" {
		return ""
	}
	return "/" + address
}

// isPCI tells whether a part of a path is a PCI device's, such as 0000:00:14.0.
func isPCI(part string) bool {
	return len(part) == 12 && part[4] == ':' && part[7] == ':' && part[10] == '.'
}

// persistent is what of a part of a path below parent stays as long as the device is plugged
// in there; "": nothing.
func persistent(parent, part string) string {
	name := strings.TrimRight(part, "0123456789")
	bus, rest, _ := strings.Cut(part, ":")
	hub, port, _ := strings.Cut(part, "-")
	switch {
	case isPCI(part):
		return part
	case strings.HasPrefix(part, "target"):
		return ""
	case isDigits(hub) && port != "": // of USB: bus-port.port[:configuration.interface]
		return port
	case isDigits(bus) && rest != "": // of SCSI: host:channel:target:unit
		return rest
	case name == "host", name == "ata":
		return name + strconv.Itoa(rank(parent, name, part))
	case name == "usb", name == "virtio":
		return name
	}
	return part
}

// rank is how many entries of a directory have this name and a lower number than that of part.
func rank(dir, name, part string) (n int) {
	number := func(entry string) int {
		number, err := strconv.Atoi(strings.TrimPrefix(entry, name))
		if err != nil || !strings.HasPrefix(entry, name) {
			return -1
		}
		return number
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if is := number(e.Name()); is >= 0 && is < number(part) {
			n++
		}
	}
	return n
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
