package mounts

import (
	"encoding/json"
	"fmt"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/hostpath"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// Container is a container for which the host's paths are opened.
type Container struct {
	ID, Bundle string
	Trees      func() []ledger.Tree // of the host, by its specification
}

func containerOf(t *resource.Target) Container { return Container{t.ID, t.Bundle, t.Ledger.Trees} }

// follow refuses a link that a container may have made: with it the container would
// choose what is mounted. An operator's own links lie where no container can write.
func (c Container) follow(l hostpath.Link) error {
	on, at, err := mountOf(l.Dir, 0)
	if err != nil || on == nil {
		return err // a mount that nobody sees, no container was given either
	}
	in := on.at(at)
	whose := ""
	c.writable(func(id, path string) {
		// All of the host is a container's that may do anything, and no reason to
		// follow nothing any more.
		if whose != "" || path == "/" {
			return
		}
		f, err := lookUp(nil, path)
		if err != nil {
			return
		}
		defer f.Close()
		of, where, err := mountOf(f.File, 0)
		if err == nil && of != nil && (of.at(where).covers(in) || place.Within(at, where)) {
			whose = id
		}
	})
	if whose == "" {
		return nil
	}
	return fmt.Errorf("%s is a link to %s, and container %s may write the directory that it is in: it could lead anywhere, so it is not followed; give the path that it should lead to",
		command.Printable(l.Path), command.Printable(l.Target), whose)
}

// writable visits the host's paths that containers may write: this one by its
// specification and its records, every one by what it was granted.
func (c Container) writable(visit func(id, path string)) {
	trees := func(id string, list []ledger.Tree) {
		for _, t := range list {
			if t.Writable {
				visit(id, t.Path)
			}
		}
	}
	bind := func(id string, b Bind) {
		if o, err := parseOptions(b.Options); err == nil && !o.readOnly {
			visit(id, b.Host)
		}
	}
	if c.Trees != nil {
		trees(c.ID, c.Trees())
	}
	if doc, err := config.Load(c.Bundle); c.Bundle != "" && err == nil {
		recorded, _ := config.List[Bind](doc, config.Binds)
		for _, b := range recorded {
			bind(c.ID, b)
		}
	}
	ledger.All(func(id string, s ledger.Start, grants []ledger.Grant) {
		trees(id, s.Trees)
		for _, g := range grants {
			var b Bind
			if g.Kind == kindName && json.Unmarshal(g.Record, &b) == nil {
				bind(id, b)
			}
		}
	})
}
