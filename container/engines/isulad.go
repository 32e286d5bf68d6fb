package engines

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/jsonerror"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// iSulad reads what iSulad keeps of its containers, in GRAPH/engines/RUNTIME/ID. Each
// file is replaced as a whole, at any time. Id, name, directory and cgroup parent are
// right from the container's creation on; its process only once the container runs.
type iSulad struct {
	graph string // "": its configured one
	state string // where its runtimes keep their states; "": the configured one
}

// The files.
const (
	configFile = "config.v2.json"
	hostFile   = "hostconfig.json"
	stateFile  = "container_state.json"
)

// shortID is how many digits of an id people are shown. What has as many, all of them
// an id's beginning, is taken for that, without a look at all names.
const shortID = 12

// fullID is an id's length.
const fullID = 64

// store is a graph as it was found.
type store struct {
	root     string
	state    string
	parent   string   // of cgroups, by default
	runtimes []string // directories of containers
}

func (i iSulad) open() (s store, err error) {
	d, err := readDaemon()
	s.root, s.state, s.parent = d.graph, cmp.Or(i.state, d.state), d.parent
	if i.graph != "" {
		s.root = filepath.Clean(i.graph)
	} else if err != nil {
		return s, fmt.Errorf("iSulad's configuration: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(s.root, "engines"))
	if err != nil {
		return s, fmt.Errorf("iSulad's containers: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			s.runtimes = append(s.runtimes, filepath.Join(s.root, "engines", e.Name()))
		}
	}
	return s, nil
}

// Find implements container.Engine, in iSulad's order: an id, a name, the beginning of
// an id. errUnknown: all files are there, and none is of such a container.
func (i iSulad) Find(_ context.Context, name string) (container.Container, error) {
	s, err := i.open()
	if err != nil {
		return container.Container{}, err
	}
	c, err := s.find(strings.TrimPrefix(name, "/"))
	if err != nil && !errors.Is(err, errUnknown) && !errors.As(err, new(ambiguous)) {
		err = fmt.Errorf("iSulad's containers: %w", err)
	}
	return c, err
}

// OfISulad finds a container in the files of the configured iSulad alone.
func OfISulad(ctx context.Context, name string) (container.Container, error) {
	return iSulad{}.Find(ctx, name)
}

func (s store) find(word string) (container.Container, error) {
	if container.ValidID(word) {
		for _, r := range s.runtimes {
			if c, err := s.read(filepath.Join(r, word)); !errors.Is(err, fs.ErrNotExist) {
				return c, err
			}
		}
	}
	dir, err := s.search(word)
	if err == nil && dir == "" {
		err = fmt.Errorf("%w %s of iSulad in %s", errUnknown, word, s.root)
	}
	if err != nil {
		return container.Container{}, err
	}
	return s.read(dir)
}

// search looks through all containers, whose names are nowhere but in them. "": there
// is none.
func (s store) search(word string) (dir string, err error) {
	all, err := s.ids()
	if err != nil {
		return "", err
	}
	var begins []string
	for _, d := range all {
		if strings.HasPrefix(filepath.Base(d), word) {
			begins = append(begins, d)
		}
	}
	var doubt error
	if len(begins) == 0 || len(word) < shortID || !hexadecimal(word) {
		if dir, doubt = named(all, word); dir != "" {
			return dir, nil
		}
	}
	switch len(begins) {
	case 0:
		return "", doubt
	case 1:
		return begins[0], doubt
	}
	return "", several("iSulad", word, filepath.Base(begins[0]), filepath.Base(begins[1]))
}

// ids are the directories of all containers.
func (s store) ids() ([]string, error) {
	var all []string
	for _, r := range s.runtimes {
		dir, err := open.File(r, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, err
		}
		names, err := dir.Readdirnames(-1)
		dir.Close()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if len(name) == fullID && hexadecimal(name) {
				all = append(all, filepath.Join(r, name))
			}
		}
	}
	return all, nil
}

// named returns the directory of the container of this name, "" for none. doubt: some
// other could not be read, whose name that may be.
func named(dirs []string, name string) (dir string, doubt error) {
	quoted, err := json.Marshal(name)
	if err != nil {
		return "", err
	}
	var buffer []byte
	for _, d := range dirs {
		path := filepath.Join(d, configFile)
		if buffer, err = open.Into(buffer, path, maxFile); err != nil {
			doubt = cmp.Or(doubt, err)
			continue
		}
		// Most files need not be understood: a whole one ends as iSulad writes them.
		if !bytes.Contains(buffer, quoted) && bytes.HasSuffix(bytes.TrimSpace(buffer), []byte("\n}")) {
			continue
		}
		switch c, err := readConfig(d); {
		case err != nil:
			doubt = cmp.Or(doubt, err)
		case c.CommonConfig.Name == name:
			return d, nil
		}
	}
	return "", doubt
}

// config is what we read of a container's config.v2.json.
type config struct {
	CommonConfig struct {
		ID   string `json:"id"`
		Name string
	}
}

func readConfig(dir string) (c config, err error) {
	if err = decode(filepath.Join(dir, configFile), &c); err == nil && c.CommonConfig.ID != filepath.Base(dir) {
		err = fmt.Errorf("%s: it describes container %q", filepath.Join(dir, configFile), c.CommonConfig.ID)
	}
	return c, err
}

// read returns the container in a directory. fs.ErrNotExist: there is none.
func (s store) read(dir string) (c container.Container, err error) {
	known, err := readConfig(dir)
	if err != nil {
		return c, err
	}
	c = container.Container{ID: filepath.Base(dir), Name: known.CommonConfig.Name, Engine: Isulad, Dir: dir, CgroupParent: s.parent}
	var host struct{ CgroupParent string }
	switch err := decode(filepath.Join(dir, hostFile), &host); {
	case err == nil && host.CgroupParent != "":
		c.CgroupParent = host.CgroupParent
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return c, err
	}
	init, err := readState(dir)
	if err != nil {
		// Whatever is in it: our hook's record of what runs beats it.
		if start, e := container.ReadStart(c.ID); e != nil || !start.Init.Lives() {
			return c, err
		}
	}
	if !init.Lives() {
		init = s.starting(dir)
	}
	if init.Lives() {
		c.PID, c.Start = init.PID, init.Start
	}
	return c, nil
}

// starting returns the init that runc has made. iSulad writes its pid only when the start
// is over. runc's --root is one for all containers, or one for each.
func (s store) starting(dir string) process.ID {
	id := filepath.Base(dir)
	for _, root := range []string{filepath.Join(s.state, runc), filepath.Join(s.state, runc, id, runc)} {
		if c, err := (Runc{Root: root}).read(id); err == nil && c.Dir == dir {
			return process.ID{PID: c.PID, Start: c.Start}
		}
	}
	return process.ID{}
}

// readState returns the process that iSulad has written down when the container was
// started; of one that was never, or was stopped, none.
func readState(dir string) (process.ID, error) {
	path := filepath.Join(dir, stateFile)
	var state struct {
		Pid       int
		StartTime uint64
	}
	if err := decode(path, &state); err != nil {
		return process.ID{}, strip(err)
	}
	if state.Pid > 0 && state.StartTime == 0 {
		return process.ID{}, fmt.Errorf("%s: process %d has no StartTime", path, state.Pid)
	}
	return process.ID{PID: state.Pid, Start: state.StartTime}, nil
}

// strip takes from an error that it is of a file that is not there, which of a
// container means that there is none.
func strip(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}

// List implements container.Lister.
func (i iSulad) List(context.Context) ([]container.Container, error) {
	s, err := i.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // not installed
	}
	if err != nil {
		return nil, err
	}
	dirs, err := s.ids()
	slices.Sort(dirs)
	var all []container.Container
	for _, d := range dirs {
		c, e := s.read(d)
		if errors.Is(e, fs.ErrNotExist) { // it is just made, or removed
			continue
		}
		err = errors.Join(err, e)
		if c.ID != "" {
			all = append(all, c)
		}
	}
	return all, err
}

// decode reads a file of JSON; an error names the file.
func decode(path string, to any) error {
	data, err := open.Read(path, maxFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%s: %w", path, jsonerror.Line(err))
	}
	return nil
}

func hexadecimal(word string) bool { return strings.Trim(word, "0123456789abcdef") == "" }
