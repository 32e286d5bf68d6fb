package kmod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/open"
)

// kindName is what one of them is called in the log.
const kindName = "kernel module"

// Module is a record of device_hook.json's kernelModules: a name as it was given.
type Module string

// check refuses a list with a bad name in it, or with one name twice.
func check(list []Module) error {
	for i, m := range list {
		if !valid(string(m)) {
			return &NameError{string(m)}
		}
		if slices.ContainsFunc(list[:i], func(o Module) bool { return Same(string(o), string(m)) }) {
			return fmt.Errorf("%q stands twice", string(m))
		}
	}
	if len(list) > maxNames {
		return fmt.Errorf("%d kernel modules, more than %d", len(list), maxNames)
	}
	return nil
}

// Recorded returns the names that are recorded in a container's file.
func Recorded(d *config.Document) ([]string, error) {
	if !d.Has(config.KernelModules) {
		return nil, nil
	}
	list, err := config.List[Module](d, config.KernelModules)
	if err == nil {
		if err = check(list); err != nil {
			err = fmt.Errorf("%s: %w", config.KernelModules, err)
		}
	}
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = string(m)
	}
	return names, err
}

// SetRecorded records these names and saves the file. They are the host's and
// are loaded before the container's lock is taken: nothing is done to the
// container.
func SetRecorded(d *config.Document, names []string) error {
	list := make([]Module, len(names))
	for i, name := range names {
		list[i] = Module(name)
	}
	if err := check(list); err != nil {
		return err
	}
	if err := config.Put(d, config.KernelModules, list); err != nil {
		return err
	}
	return d.Save()
}

// Same tells whether two names are one to modprobe and the kernel.
func Same(a, b string) bool { return canonical(a) == canonical(b) }

// Without returns the names that are not among those known.
func Without(names, known []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(known, func(k string) bool { return Same(k, name) })
	})
}

// Audit returns the fields of the log's line about one request.
func Audit(by Requester, r Result) map[string]any {
	fields := map[string]any{
		"kind": kindName, "id": by.ID, "container": by.Name, "module": r.Name, "result": string(r.Outcome), "ms": r.Took.Milliseconds(),
	}
	if r.Reason != "" {
		fields["reason"] = r.Reason
	}
	return fields
}

// maxSpecSize bounds what is read of a config.json.
const maxSpecSize = 16 << 20

// OfSpec returns the names in the environment of a container whose bundle is dir.
func OfSpec(dir string) ([]string, error) {
	path := filepath.Join(dir, "config.json")
	data, err := open.Read(path, maxSpecSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var spec struct {
		Process struct {
			Env []string `json:"env"`
		} `json:"process"`
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return Requested(spec.Process.Env)
}
