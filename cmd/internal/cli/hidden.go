package cli

import (
	"fmt"
	"path/filepath"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/mounts"
)

// checkVisible refuses a device that the container could not see, as what it has there is a
// recorded path's. A node is never made in the host's directory. Where the host has the
// same device there, that is as good.
func (s *session) checkVisible(paths []mounts.Bind, d devices.Device) error {
	points := make([]string, len(paths))
	for i, b := range paths {
		points[i] = b.Container
	}
	i := d.Below(points)
	if i < 0 {
		return nil
	}
	rest, err := filepath.Rel(filepath.Clean(points[i]), filepath.Clean(d.PathInContainer))
	if err != nil {
		return err
	}
	there := filepath.Join(paths[i].Host, rest)
	if found, err := deadline.Get(s.wait, "the host", there, func() (devices.Device, error) { return devices.FromNode(there) }); err == nil && found.Same(d) {
		return nil
	}
	return fmt.Errorf("device %s:%s would be hidden by the path %s:%s: choose another place for one of them, or remove-path the path",
		d.PathOnHost, d.PathInContainer, paths[i].Host, paths[i].Container)
}

// checkDeviceVisible is checkVisible for the device that a path to be added would hide, if any.
func (s *session) checkDeviceVisible(paths []mounts.Bind, b mounts.Bind) error {
	list, err := config.List[devices.Device](s.doc, config.Devices)
	if err != nil {
		return nil // whoever needs them says so
	}
	for _, d := range list {
		if d.Below([]string{b.Container}) < 0 {
			continue
		}
		if err := s.checkVisible(append(paths, b), d); err != nil {
			return err
		}
	}
	return nil
}
