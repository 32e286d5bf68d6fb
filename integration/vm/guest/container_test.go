//go:build vmguest

package guest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

const (
	graph    = "/var/lib/isulad" // iSulad's default, and so the installer's
	hookSpec = "/etc/isulad-tools/hookspec.json"
	hook     = graph + "/hooks/isulad-hooks"
)

// container is a system container as iSulad would have runc run it, with the
// installed hook spec. Its command leaves /started behind, so that one can tell
// whether anything of it ran.
type container struct {
	t    *testing.T
	id   string
	dir  string // the bundle, which holds device_hook.json
	root string
	runc sandbox.Runc
}

// containers counts them, for their ids: one that follows another must not be
// taken for it, nor clean up after it.
var containers int

// newContainer writes the bundle; edit may be nil. The container is deleted
// with the test.
func newContainer(t *testing.T, modules string, edit func(*sandbox.Bundle)) *container {
	t.Helper()
	containers++
	id := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", t.Name(), containers)))
	c := &container{t: t, id: id, dir: filepath.Join(graph, "engines/runc", id), root: filepath.Join("/root/rootfs", id[:12])}
	if err := sandbox.Rootfs(c.root); err != nil {
		t.Fatal(err)
	}
	b := &sandbox.Bundle{
		Dir: c.dir, ID: id, Root: c.root, CgroupsPath: "/isulad/" + id,
		Args:  []string{"/bin/sh", "-c", "echo yes >/started; exec sleep 100000"},
		Hooks: installedHooks(t, hookSpec),
	}
	if modules != "" {
		b.Env = []string{"KERNEL_MODULES=" + modules}
	}
	if edit != nil {
		edit(b)
	}
	if err := sandbox.WriteBundle(b); err != nil {
		t.Fatal(err)
	}
	return c
}

// installedHooks reads a hook spec as `isula run --hook-spec` does.
func installedHooks(t *testing.T, spec string) sandbox.Hooks {
	t.Helper()
	h, err := readHooks(spec)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func readHooks(spec string) (h sandbox.Hooks, err error) {
	data, err := os.ReadFile(spec)
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	return h, err
}

// record writes the container's device_hook.json.
func (c *container) record(text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "device_hook.json"), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// start starts the container, which must work.
func (c *container) start() {
	c.t.Helper()
	c.runc.DeleteAtEnd(c.t, c.id)
	if err := c.runc.Run(c.id, c.dir); err != nil {
		c.t.Fatalf("start: %v", err)
	}
}

// refuse starts the container, which must fail before anything of it runs, and
// requires every one of the words in what runc says, which it returns.
func (c *container) refuse(words ...string) string {
	c.t.Helper()
	err := c.runc.Run(c.id, c.dir)
	if err == nil {
		c.runc.DeleteAtEnd(c.t, c.id)
		c.t.Fatal("the container started")
	}
	// runc quotes the hook's output once more than necessary.
	said := strings.ReplaceAll(err.Error(), `\"`, `"`)
	c.t.Logf("refused: %s", said)
	for _, w := range words {
		if !strings.Contains(said, w) {
			c.t.Errorf("the error does not mention %q", w)
		}
	}
	if _, err := os.Lstat(filepath.Join(c.root, "started")); !errors.Is(err, fs.ErrNotExist) {
		c.t.Errorf("the container's command ran (%v)", err)
	}
	if s, err := c.runc.State(c.id); err == nil {
		c.t.Errorf("runc still knows the container: %+v", s)
	}
	return said
}

// stop kills the container and has its poststop hook run.
func (c *container) stop() {
	c.t.Helper()
	if err := c.runc.Delete(c.id); err != nil {
		c.t.Fatalf("stop: %v", err)
	}
}

// sh runs a script in the container and returns its output, both streams.
func (c *container) sh(script string) (string, error) {
	c.t.Helper()
	out, err := c.runc.Exec(c.id, "/bin/sh", "-c", "exec 2>&1; "+script)
	return strings.TrimSpace(out), err
}

// works requires a script in the container to exit with 0.
func (c *container) works(script string) string {
	c.t.Helper()
	out, err := c.sh(script)
	if err != nil {
		c.t.Errorf("in the container, %s: %v: %s", script, err, out)
	}
	return out
}

// fails requires a script in the container to fail with a message.
func (c *container) fails(script, message string) {
	c.t.Helper()
	if out, err := c.sh(script); err == nil || !strings.Contains(out, message) {
		c.t.Errorf("in the container, %s: %v: %q, want failure with %q", script, err, out, message)
	}
}
