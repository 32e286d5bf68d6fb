// Package install puts isulad-tools into place and takes it away again.
//
// It keeps no list of what it did. A file is ours when it is a build of
// isulad-tools (Go stamps the main package's path into every binary) or the hook
// spec that we would write; anything else belongs to somebody and is kept.
package install

import (
	"fmt"
	"io"
	"path/filepath"
)

// Options say where.
type Options struct {
	Root  string // instead of /
	Graph string // iSulad's root directory; "": what its daemon.json below Root says
}

func (o Options) tree(create bool) (*tree, error) {
	if o.Root == "" {
		return openTree("/", create)
	}
	dir, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	return openTree(dir, create)
}

// Add puts this program there, under all its names. One line a file goes to out.
func Add(o Options, out io.Writer) error {
	t, err := o.tree(true)
	if err != nil {
		return err
	}
	defer t.close()
	if err := install(t, o.Graph, "/proc/self/exe", out); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return nil
}

// Remove removes the files of Add, and restores the files that they replaced.
func Remove(o Options, out io.Writer) error {
	t, err := o.tree(false)
	if err != nil {
		return err
	}
	defer t.close()
	if err := uninstall(t, o.Graph, out); err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	return nil
}
