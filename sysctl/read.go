package sysctl

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
)

// Value is a parameter as it is asked for, and as the container's namespace has it.
type Value struct{ Key, Want, Have string }

// maxValue bounds what is read of a parameter.
const maxValue = 1 << 16

// Read returns what the namespaces of process pid have, as Set would set it. A parameter
// that they do not have is "".
func Read(pid int, values map[string]string) ([]Value, error) {
	list, err := parse(values)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var kinds []nsenter.Kind
	for _, p := range list {
		if !slices.Contains(kinds, p.kind) {
			kinds = append(kinds, p.kind)
		}
	}
	out := make([]Value, len(list))
	err = nsenter.In(pid, kinds, func() error {
		for i, p := range list {
			text, err := open.Read(p.file, maxValue)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			out[i] = Value{p.key, normalised(p.value), normalised(string(text))}
		}
		return nil
	})
	return out, err
}

// normalised is a value as the kernel may space it.
func normalised(s string) string { return strings.Join(strings.Fields(s), " ") }
