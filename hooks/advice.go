package hooks

import (
	"errors"
	"fmt"
	"strings"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// advise says with which command the container starts without the record that its start
// was refused for.
func (h *Hook) advise(st state, err error) error {
	var failed *resource.RecordError
	if !errors.As(err, &failed) {
		return err
	}
	var verb, what string
	switch r := failed.Record.(type) {
	case devices.Device:
		verb, what = "remove-device", quote(r.PathOnHost+":"+r.PathInContainer)
	case network.NIC:
		verb, what = "remove-nic --name "+quote(r.HostName+":"+r.Name), ""
	case network.Route:
		verb, what = "remove-route", quote(r.Rule())
	default:
		return err
	}
	name := st.ID
	if container.EngineOf(st.Bundle) == "" { // it is known to nobody until it starts
		name = "--bundle " + quote(st.Bundle) + " " + name
	}
	return fmt.Errorf("%w; to start without it run: %s", err, strings.TrimSpace(strings.Join([]string{h.Generation.Tool, verb, name, what}, " ")))
}

// quote makes a word of a shell's command.
func quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._:+@%,-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
