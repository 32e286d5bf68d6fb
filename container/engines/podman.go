package engines

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/open"
)

// Podman reads what podman, run by root, keeps of its containers: ids and names in
// GRAPHROOT/DRIVER-containers/containers.json, of those that go with a reboot in
// volatile-containers.json beside it, what runs in its runtime's state.
type Podman struct {
	Root string // its graphroot; "": its configured one
}

const defaultPodman = "/var/lib/containers/storage"

// storageConfs are its configuration, the first that is there.
var storageConfs = []string{"/etc/containers/storage.conf", "/usr/share/containers/storage.conf"}

// stored is what we read of an entry of containers.json.
type stored struct {
	ID    string   `json:"id"`
	Names []string `json:"names"`
	dir   string
}

// Find implements container.Engine, in podman's order: an id or a name, the beginning of
// an id.
func (p Podman) Find(_ context.Context, name string) (container.Container, error) {
	all, root, err := p.all()
	if err != nil {
		return container.Container{}, err
	}
	word := strings.TrimPrefix(name, "/")
	var found []stored
	for _, is := range []func(stored) bool{
		func(s stored) bool { return s.ID == word },
		func(s stored) bool { return slices.Contains(s.Names, word) },
		func(s stored) bool { return strings.HasPrefix(s.ID, word) },
	} {
		if len(found) == 0 {
			found = slices.DeleteFunc(slices.Clone(all), func(s stored) bool { return !is(s) })
		}
	}
	switch len(found) {
	case 0:
		return container.Container{}, fmt.Errorf("%w %s of podman in %s", errUnknown, word, root)
	case 1:
		return found[0].container()
	}
	return container.Container{}, several(podman, word, found[0].ID, found[1].ID)
}

// List implements container.Lister.
func (p Podman) List(context.Context) ([]container.Container, error) {
	all, _, err := p.all()
	var list []container.Container
	for _, s := range all {
		c, e := s.container()
		err = errors.Join(err, e)
		if e == nil {
			list = append(list, c)
		}
	}
	return list, err
}

// all reads the lists, of each storage driver that was used.
func (p Podman) all() (all []stored, root string, err error) {
	root = cmp.Or(p.Root, graphRoot())
	for _, name := range []string{"containers.json", "volatile-containers.json"} {
		files, err := filepath.Glob(filepath.Join(root, "*-containers", name))
		if err != nil {
			return nil, root, fmt.Errorf("podman's containers in %s: %w", root, err)
		}
		for _, f := range files {
			var list []stored
			if err := decode(f, &list); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, root, fmt.Errorf("podman's containers: %w", err)
			}
			for _, s := range list {
				if container.ValidID(s.ID) {
					s.dir = filepath.Join(filepath.Dir(f), s.ID, "userdata")
					all = append(all, s)
				}
			}
		}
	}
	return all, root, nil
}

// container adds what its runtime knows of it, if that is about this very bundle.
func (s stored) container() (container.Container, error) {
	c := container.Container{ID: s.ID, Engine: podman, Dir: s.dir}
	if len(s.Names) > 0 {
		c.Name = s.Names[0]
	}
	for _, read := range []func(string) (container.Container, error){Runc{Root: RuncRoot}.read, crunOf(CrunRoot).read} {
		switch r, err := read(s.ID); {
		case err == nil && sameDir(r.Dir, s.dir):
			c.PID, c.Start = r.PID, r.Start
			return c, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return c, err
		}
	}
	return c, nil
}

// graphRoot is where podman's configuration says that its containers are: a line
// graphroot = "DIR" of its TOML.
func graphRoot() string {
	for _, file := range storageConfs {
		data, err := open.Read(file, maxFile)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(data) {
			key, value, ok := strings.Cut(string(line), "=")
			value, _, _ = strings.Cut(value, "#")
			if dir := strings.Trim(strings.TrimSpace(value), `"'`); ok && strings.TrimSpace(key) == "graphroot" && filepath.IsAbs(dir) {
				return filepath.Clean(dir)
			}
		}
		break
	}
	return defaultPodman
}

func sameDir(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
