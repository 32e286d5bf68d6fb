package devices

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/resource"
)

// Selector is a record of device_hook.json's deviceSelectors: a wish for all nodes of the
// USB devices that it means, whenever they are plugged in. Its nodes are devices like others,
// with Select in their records. The fields are those of a path's record, with which it
// shares its compiled code.
type Selector struct {
	Host      string // usb:VID:PID[:SERIAL]
	Container string // the path of the only node; "": nodes have the kernel's names
	Options   string // the permissions, a subset of "rwm"; "" is all
}

// Selectors is the kind of record that selectors are. Nothing is made for one.
var Selectors = resource.Kind[Selector]{Name: "device selector", Key: config.Selectors}

// String is the record as it stands in device_hook.json: host[:container[:permissions]].
func (s Selector) String() string {
	return strings.TrimRight(s.Host+":"+s.Container+":"+s.Options, ":")
}

// MarshalText is String.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String writes. A serial number is neither empty nor a path.
func (s *Selector) UnmarshalText(text []byte) error {
	fields := strings.Split(string(text), ":")
	n := min(3, len(fields))
	if n < len(fields) && fields[n] != "" && fields[n][0] != '/' {
		n++
	}
	parsed, err := ParseSelector(strings.Join(fields[:n], ":"))
	if err != nil {
		return err
	}
	rest := append(fields[n:], "", "")
	parsed.Container, parsed.Options = rest[0], rest[1]
	if len(fields) > n+2 || parsed.Container != "" && parsed.Container[0] != '/' {
		return fmt.Errorf("selector %q: want usb:VID:PID[:SERIAL][:PATH[:PERMISSIONS]]", text)
	}
	if err := checkPermissions(parsed.Options); err != nil {
		return err
	}
	*s = parsed
	return CheckDiskPath(s.Container)
}

// ParseSelector reads usb:VID:PID[:SERIAL]. The text stands in udev rules, which root's
// udevd runs.
func ParseSelector(text string) (Selector, error) {
	fields := strings.Split(text, ":")
	if len(fields) < 3 || len(fields) > 4 || fields[0] != "usb" {
		return Selector{}, fmt.Errorf("selector %q: want usb:VID:PID or usb:VID:PID:SERIAL", text)
	}
	for _, id := range fields[1:3] {
		if len(id) != 4 || strings.Trim(id, "0123456789abcdefABCDEF") != "" {
			return Selector{}, fmt.Errorf("selector %q: %q is not an id of four hexadecimal digits, as lsusb prints it", text, id)
		}
	}
	fields[1], fields[2] = strings.ToLower(fields[1]), strings.ToLower(fields[2])
	if len(fields) == 4 && !isSerial(fields[3]) {
		return Selector{}, fmt.Errorf("selector %q: a serial number has 1 to 126 letters, digits, '.', '_' and '-': give usb:VID:PID without it", text)
	}
	return Selector{Host: strings.Join(fields, ":")}, nil
}

func isSerial(s string) bool {
	return s != "" && len(s) <= 126 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// Overlaps tells whether some device may be meant by both.
func (s Selector) Overlaps(o Selector) bool {
	return s.means(o.Host) || o.means(s.Host)
}

// means tells whether s means a USB device, by what identifies it.
func (s Selector) means(usb string) bool {
	return usb == s.Host || !hasSerial(s.Host) && strings.HasPrefix(usb, s.Host+":")
}

// hasSerial tells whether usb:VID:PID is followed by a serial number.
func hasSerial(usb string) bool { return strings.Count(usb, ":") > 2 }

// usbAt is the USB device that sysfs has at dir, as a selector with its serial number has
// it; "": there is none.
func usbAt(dir string) string {
	vendor, product := attribute(dir, "idVendor"), attribute(dir, "idProduct")
	if vendor == "" || product == "" {
		return ""
	}
	usb := "usb:" + vendor + ":" + product
	if serial := attribute(dir, "serial"); serial != "" {
		usb += ":" + serial
	}
	return usb
}

// usbAbove finds the USB device that what sysfs has at dir is part of: the nearest, as what
// is plugged into a hub is not part of that.
func usbAbove(dir string) (usb string) {
	if !strings.Contains(dir, "/usb") { // of a bus: no other need be asked
		return ""
	}
	for ; strings.HasPrefix(dir, "/sys/devices/") && usb == ""; dir = filepath.Dir(dir) {
		usb = usbAt(dir)
	}
	return usb
}

// isSelected tells whether d, by its numbers of now, is of a USB device that its selector means.
func (d Device) isSelected() bool {
	s, err := ParseSelector(d.Select)
	return err == nil && s.means(usbAbove(d.sysfsOf()))
}

// usbNode is a node of a USB device.
type usbNode struct {
	Device
	usb string // of which, as usbAt
}

// ofDevice tells whether it is the USB device's own node, that of libusb: the others are of
// its drivers.
func (n usbNode) ofDevice() bool { return strings.HasPrefix(n.PathOnHost, "/dev/bus/usb/") }

// usbNodes lists the nodes of all USB devices of the host.
func usbNodes() (list []usbNode, err error) {
	for _, folder := range [...]string{sysChar, sysBlock} {
		kind := filepath.Base(folder)[:1]
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			target, _ := os.Readlink(filepath.Join(folder, e.Name()))
			dir := filepath.Join(folder, target)
			usb := usbAbove(dir)
			name := nodeNameAt(dir)
			if usb == "" || name == "" {
				continue
			}
			d := Device{Type: kind, PathOnHost: "/dev/" + name, PathInContainer: "/dev/" + name, CgroupPermissions: "rwm", Optional: true}
			if d.Major, d.Minor, err = parseNumbers(e.Name()); err != nil {
				continue
			}
			if there, err := FromNode(d.PathOnHost); err != nil || !there.Same(d) {
				continue // it comes or goes at this moment, and its event is on its way
			}
			if block, err := FindBlock(d.Major, d.Minor); kind == "b" && err == nil {
				d.Parent = block.ParentPath()
			}
			list = append(list, usbNode{d, usb})
		}
	}
	return list, nil
}

// of returns the nodes that s means, as records.
func (s Selector) of(all []usbNode) (list []usbNode) {
	for _, n := range all {
		if s.means(n.usb) {
			n.Select, n.CgroupPermissions = s.Host, cmp.Or(s.Options, "rwm")
			list = append(list, n)
		}
	}
	return list
}

// named are records of nodes, of which the only one has the selector's path. The USB
// device's own node counts where there is no other. Of several that could have the path
// the one that has it stays; none is given it anew.
func (s Selector) named(nodes []usbNode, recorded []Device) (list []Device, err error) {
	others := slices.ContainsFunc(nodes, func(n usbNode) bool { return !n.ofDevice() })
	var may []Device
	for _, n := range nodes {
		if s.Container == "" || others && n.ofDevice() {
			list = append(list, n.Device)
			continue
		}
		n.PathInContainer = s.Container
		may = append(may, n.Device)
	}
	if len(may) > 1 {
		err = fmt.Errorf("%s has %d nodes, from %s to %s: only one can be %s in the container", s.Host, len(may), may[0].PathOnHost, may[len(may)-1].PathOnHost, s.Container)
		may = slices.DeleteFunc(may, func(d Device) bool {
			return !slices.ContainsFunc(recorded, func(r Device) bool {
				return r.PathInContainer == d.PathInContainer && r.PathOnHost == d.PathOnHost && r.Same(d)
			})
		})
	}
	return append(list, may...), err
}

// followed says how udevd knows what s means. The rules are the same whatever is plugged in,
// so that nobody has to tell udevd of others when it comes. What has gone has no attributes
// in sysfs any more: the kernel tells the ids of a USB device and, since Linux 4.14, of an
// interface that its driver let go; of partitions udevd remembers them.
func (s Selector) followed() Followed {
	fields := strings.Split(s.Host, ":")
	vendor, product := fields[1], fields[2]
	comes := `ATTRS{idVendor}=="` + vendor + `", ATTRS{idProduct}=="` + product + `"`
	if len(fields) > 3 {
		comes += `, ATTRS{serial}=="` + fields[3] + `"`
	}
	short := func(id string) string { return cmp.Or(strings.TrimLeft(id, "0"), "0") }
	is := `ENV{PRODUCT}=="` + short(vendor) + "/" + short(product) + `/*", ENV{DEVTYPE}==`
	return Followed{Path: s.Host, Matches: []string{
		comes + `, ENV{DEVNAME}=="?*",ACTION=="add"`,
		is + `"usb_interface",ACTION=="unbind"`,
		is + `"usb_device",ACTION=="remove"`,
		`SUBSYSTEM=="block", ENV{ID_VENDOR_ID}=="` + vendor + `", ENV{ID_MODEL_ID}=="` + product + `",ACTION=="remove"`,
	}}
}

// Selectable are selectors of the USB devices that the host has, for those who choose.
func Selectable() (list []string) {
	all, _ := usbNodes() // what cannot be read is not offered
	for _, n := range all {
		s, err := ParseSelector(n.usb)
		if err != nil { // by its serial number
			s, err = ParseSelector(strings.Join(strings.SplitN(n.usb, ":", 4)[:3], ":"))
		}
		if err == nil && !slices.Contains(list, s.Host) {
			list = append(list, s.Host)
		}
	}
	return list
}

// SelectorViews looks at whether a container has what its selectors mean; records are its devices.
func SelectorViews(d *config.Document, records []Device, runs bool) ([]resource.View, error) {
	selectors, err := config.List[Selector](d, config.Selectors)
	if err != nil || len(selectors) == 0 {
		return nil, err
	}
	all, err := usbNodes()
	if err != nil {
		return nil, err
	}
	views := make([]resource.View, len(selectors))
	for i, s := range selectors {
		v := &views[i]
		v.Name, v.Recorded = s.Host, s
		list, err := s.named(s.of(all), records)
		if err != nil {
			v.DifferForGood("path ambiguous", "%v", err)
		}
		for _, d := range list {
			if runs && !slices.ContainsFunc(records, func(r Device) bool { return r.PathOnHost == d.PathOnHost && r.Same(d) }) {
				v.Differ("selected device missing", "the host has %s, which the container was not given", d.PathOnHost)
			}
		}
	}
	return views, nil
}
