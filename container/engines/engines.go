// Package engines finds containers in the files that iSulad, podman and the runtimes
// keep of them. It takes no lock and executes nothing, but for iSulad's client where
// iSulad's files do not answer: what an engine does meanwhile, or that it hangs, keeps
// nobody waiting. It changes nothing, and does not know what a container is given.
package engines

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"isula.org/isulad-tools/container"
)

// Words of --engine: iSulad's, which messages have too, and that of whoever knows the
// container, iSulad first.
const (
	Isulad = "isula"
	Any    = "any"
)

// Those for the others.
const (
	podman = "podman"
	runc   = "runc"
	crun   = "crun"
)

// maxFile bounds what is read of an engine's file.
const maxFile = 16 << 20

// errUnknown says that an engine does not have the container.
var errUnknown = errors.New("no container")

// New returns the engine that a word stands for: "any", "isula", "podman",
// "podman:GRAPHROOT", "runc", "runc:ROOT" or "crun", ROOT being runc's --root. graph is iSulad's root directory, "" its configured one.
func New(word, graph string) (container.Engine, error) {
	if graph != "" && !filepath.IsAbs(graph) {
		return nil, fmt.Errorf("--graph %q: not an absolute path", graph)
	}
	name, root, hasRoot := strings.Cut(word, ":")
	if hasRoot && !filepath.IsAbs(root) || hasRoot && name != runc && name != podman {
		name = ""
	}
	switch {
	case name == Any:
		return first{iSulad{graph: graph}, graph == "", []container.Engine{Podman{}, Runc{Root: RuncRoot}, crunOf(CrunRoot)}}, nil
	case name == Isulad:
		return first{iSulad{graph: graph}, graph == "", nil}, nil
	case name == podman:
		return Podman{Root: root}, nil
	case name == runc && hasRoot:
		return Runc{Root: root}, nil
	case name == runc:
		return Runc{Root: RuncRoot}, nil
	case name == crun:
		return crunOf(CrunRoot), nil
	}
	return nil, fmt.Errorf("unknown engine %q: want any, isula, podman, podman:GRAPHROOT, runc, runc:ROOT or crun", word)
}

// List returns the containers of all engines, each once: a runtime has those of the
// engines above it, too. graph is as in New. With an error it has those that could be
// read.
func List(ctx context.Context, graph string) ([]container.Container, error) {
	var all []container.Container
	var failed error
	seen := map[string]bool{}
	for _, l := range []container.Lister{iSulad{graph: graph}, Podman{}, Runc{Root: RuncRoot}, crunOf(CrunRoot)} {
		list, err := l.List(ctx)
		failed = errors.Join(failed, err)
		for _, c := range list {
			if !seen[c.Dir] {
				seen[c.Dir] = true
				all = append(all, c)
			}
		}
	}
	return all, failed
}

// shortWait is what the client gets where an answer of iSulad's is not expected: its
// files have told that it has no such container, or another engine has one.
const shortWait = 5 * time.Second

// first is the first engine that knows the container. iSulad is asked by its files, and
// by its client where these leave a doubt, or nobody has the container: the daemon may
// have another root directory than its configuration says.
type first struct {
	isulad iSulad
	client bool // iSulad may be asked: it is its own root directory that is meant
	others []container.Engine
}

// Find implements container.Engine.
func (f first) Find(ctx context.Context, name string) (container.Container, error) {
	c, err := f.isulad.Find(ctx, name)
	if err == nil {
		c.Also = f.also(ctx, c, strings.TrimPrefix(name, "/"))
	}
	if err == nil || errors.As(err, new(ambiguous)) {
		return c, err
	}
	looked := []error{err}
	other, found, errs := f.elsewhere(ctx, name)
	if unknown := errors.Is(err, errUnknown); f.client && !(unknown && found) {
		client := Client{}
		if unknown || found {
			client.Wait = shortWait
		}
		c, err := client.Find(ctx, name)
		if err == nil || ctx.Err() != nil || !found && !errors.Is(err, errNoClient) {
			return c, err
		}
		errs = append(errs, err)
	}
	if found {
		return other, errs[0]
	}
	return container.Container{}, notFound(append(looked, errs...))
}

// elsewhere finds the container with the other engines. The first error is nil if one has
// it, or says that the name stands for several containers.
func (f first) elsewhere(ctx context.Context, name string) (c container.Container, found bool, errs []error) {
	for _, e := range f.others {
		c, err := e.Find(ctx, name)
		if err == nil || errors.As(err, new(ambiguous)) {
			return c, true, []error{err}
		}
		errs = append(errs, err)
	}
	return c, false, errs
}

// also is another engine that has a container of this very name or id, in another
// bundle.
func (f first) also(ctx context.Context, c container.Container, word string) string {
	for _, e := range f.others {
		other, err := e.Find(ctx, word)
		if err == nil && other.Dir != c.Dir && (other.Name == word || other.ID == word) {
			return other.Engine
		}
	}
	return ""
}

// notFound says where a container was looked for.
type notFound []error

func (n notFound) Error() string {
	var where []string
	for _, err := range n {
		where = append(where, err.Error())
	}
	return strings.Join(where, "; ")
}

// ambiguous says that a word is the beginning of several ids, or the name of several
// containers.
type ambiguous struct{ error }

func several(engine, word, a, b string) error {
	return ambiguous{fmt.Errorf("%s: %s stands for more than one container: %s and %s: give more of its id", engine, word, a, b)}
}
