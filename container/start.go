// Package container knows who a container is: the record of what runs now,
// which the hooks keep, and the engines that answer for a name.
package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// Start is the record of one start of a container: what runs now. prestart
// writes it, under the container's lock, when all its work is done; poststop
// removes it.
type Start struct {
	Engine  string     `json:"engine"` // as in the path of its bundle; "" when that is of another form
	Init    process.ID `json:"init"`
	Bundle  string     `json:"bundle"`
	Root    string     `json:"root"`    // as given by the runtime, a path of the host
	Cgroups Cgroups    `json:"cgroups"` // directories, by controller
	// Hook is the name and the version of the hook that started it; "": an older one.
	Hook string `json:"hook,omitempty"`
}

// maxRecord bounds what is read of records and of engines' states.
const maxRecord = 16 << 20

// Cgroups maps a cgroup v1 controller to the container's directory.
type Cgroups map[string]string

// ReadStart returns the record of container id, of either generation.
// fs.ErrNotExist: there is none.
func ReadStart(id string) (Start, error) {
	for _, g := range place.Generations {
		s, err := readStart(filepath.Join(g.Starts(), id))
		if !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	}
	return Start{}, fmt.Errorf("start record of %s: %w", id, fs.ErrNotExist)
}

func readStart(path string) (s Start, err error) {
	b, err := open.Read(path, maxRecord)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// FindStart returns the id and the record of the container that word stands for
// in a udev rule. fs.ErrNotExist: there is none.
func FindStart(word string) (id string, s Start, err error) {
	if !ValidID(word) {
		return "", s, fmt.Errorf("%q is not a container's id", word)
	}
	if s, err = ReadStart(word); !errors.Is(err, fs.ErrNotExist) {
		return word, s, err
	}
	for _, g := range place.Generations {
		entries, err := os.ReadDir(g.Starts())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", s, err
		}
		for _, e := range entries {
			switch name := e.Name(); {
			case !WordMeans(word, name) || name == id:
			case id != "":
				return "", s, fmt.Errorf("%s is the beginning of more than one container's id", word)
			default:
				id = name
			}
		}
	}
	if id == "" {
		return "", s, fmt.Errorf("start record of %s: %w", word, fs.ErrNotExist)
	}
	s, err = ReadStart(id)
	return id, s, err
}

// Starts are the containers that run and of whose start there is a record.
func Starts() (list []Container, err error) {
	seen := map[string]bool{}
	for _, g := range place.Generations {
		entries, err := os.ReadDir(g.Starts())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return list, err
		}
		for _, e := range entries {
			id := e.Name()
			if seen[id] || strings.HasPrefix(id, ".") || !ValidID(id) { // a ledger, or what is being written
				continue
			}
			if s, err := ReadStart(id); err == nil && s.Init.Lives() {
				seen[id] = true
				list = append(list, Container{ID: id, Dir: s.Bundle, PID: s.Init.PID, Start: s.Init.Start})
			}
		}
	}
	return list, nil
}

// Running returns how c, as an engine described it, runs now; false if it does
// not. A start record beats what the engine said: that was before the
// container's lock was taken.
func Running(c Container) (s Start, ok bool, err error) {
	s, err = ReadStart(c.ID)
	if err == nil && s.Init.Lives() {
		return s, true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, false, err
	}
	init, err := c.Init()
	if errors.Is(err, process.ErrGone) {
		return s, false, nil
	}
	return Start{Init: init, Bundle: c.Dir}, err == nil, err
}

// WriteStart keeps the record of container id.
func WriteStart(g place.Generation, id string, s Start) error {
	if err := mountpoint.Mkdir(g.RunDir, 0o644); err != nil {
		return err
	}
	if err := mountpoint.Mkdir(g.Starts(), 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return atomicfile.Write(g.Starts(), id, append(b, '\n'), 0o600)
}

// RemoveStart forgets container id. It is no error if there is no record.
func RemoveStart(id string) error {
	var errs []error
	for _, g := range place.Generations {
		err := os.Remove(filepath.Join(g.Starts(), id))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, atomicfile.Sweep(g.Starts(), id))
	}
	return errors.Join(errs...)
}
