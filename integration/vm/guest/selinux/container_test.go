//go:build vmguest

package selinux

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// container is one under runc whose image has systemd and SELinux, as far as we
// look, and tools that say what they are asked for.
type container struct {
	t             *testing.T
	id, dir, root string
	runc          sandbox.Runc
}

var containers int

func newContainer(t *testing.T, config string) *container {
	t.Helper()
	containers++
	id := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", t.Name(), containers)))
	c := &container{t: t, id: id, dir: filepath.Join(graph, "engines/runc", id), root: filepath.Join("/opt/rootfs", id[:12])}
	must(t, sandbox.Rootfs(c.root))
	write(t, c.root+"/usr/lib/systemd/systemd", "", 0o755)
	if config != "" {
		write(t, c.root+"/etc/selinux/config", config, 0o644)
	}
	write(t, c.root+"/bin/restorecon", "#!/bin/sh\necho restorecon \"$@\" while $(cat /sys/fs/selinux/enforce) >>/said\n", 0o755)
	write(t, c.root+"/bin/setenforce", "#!/bin/sh\necho $1 >/sys/fs/selinux/enforce\n", 0o755)

	data, err := os.ReadFile("/etc/isulad-tools/hookspec.json")
	must(t, err)
	b := &sandbox.Bundle{
		Dir: c.dir, ID: id, Root: c.root, CgroupsPath: "/isulad/" + id,
		// busybox's reboot sends this signal to the container's init.
		Args: []string{"/bin/sh", "-c", "trap 'echo reboot >>/said' TERM; while :; do sleep 100000 & wait $!; done"},
	}
	must(t, json.Unmarshal(data, &b.Hooks))
	for _, list := range [][]sandbox.Hook{b.Hooks.Prestart, b.Hooks.Poststart, b.Hooks.Poststop} {
		for i := range list {
			list[i].Args = append(list[i].Args, "--with-relabel", "--log", c.dir+"/log")
		}
	}
	must(t, sandbox.WriteBundle(b))
	return c
}

func (c *container) start() {
	c.t.Helper()
	c.runc.DeleteAtEnd(c.t, c.id)
	if err := c.runc.Run(c.id, c.dir); err != nil {
		c.t.Fatalf("start: %v", err)
	}
}

func (c *container) stop() {
	c.t.Helper()
	must(c.t, c.runc.Delete(c.id))
}

// init runs what the container's init would run.
func (c *container) init() {
	c.t.Helper()
	if out, err := c.runc.Exec(c.id, "/bin/sh", "-c", "exec 2>&1; "+relabeler); err != nil || out != "" {
		c.t.Errorf("%s: %v: %s", relabeler, err, out)
	}
}

// says requires that the container's tools have been asked for this, in that order.
// The last of them may take a moment.
func (c *container) says(want string) {
	c.t.Helper()
	got := ""
	for range 100 {
		if there(c.root + "/said") {
			got = read(c.t, c.root+"/said")
		}
		if got != "" && got == want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got != want {
		c.t.Errorf("the container asked for %q, want %q", got, want)
	}
}

// unlabelled requires that a container has nothing of ours, for want of SELinux.
func (c *container) unlabelled(what string) {
	c.t.Helper()
	c.untouched(what)
	if log := read(c.t, c.dir+"/log"); !strings.Contains(log, "level=info") || !strings.Contains(log, "nothing to do: SELinux is disabled") {
		c.t.Errorf("%s: logged %s", what, log)
	}
}

func (c *container) untouched(what string) {
	c.t.Helper()
	for _, p := range []string{relabeler, unit, wanted, "/.autorelabel", "/.autorelabel_in_container", "/.container_autorelabel", "/selinux"} {
		if there(c.root + p) {
			c.t.Errorf("%s: %s is there", what, p)
		}
	}
	if out, err := c.runc.Exec(c.id, "cat", "/proc/mounts"); err != nil || strings.Contains(out, "selinuxfs") {
		c.t.Errorf("%s: selinuxfs is in the container: %v", what, err)
	}
}
