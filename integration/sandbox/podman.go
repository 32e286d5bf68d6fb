package sandbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PodmanRunc is where runc has the state of podman's containers.
const PodmanRunc = "/run/runc"

// Podman runs containers with the podman of the host and its runc, as root, without
// images: in a graph of its own below Dir.
type Podman struct{ Dir string }

// Graph is its graphroot.
func (p Podman) Graph() string { return filepath.Join(p.Dir, "graph") }

// Bundle is the bundle of the container with this id.
func (p Podman) Bundle(id string) string {
	return filepath.Join(p.Graph(), "vfs-containers", id, "userdata")
}

// PodmanContainer is what `podman create` is told of one.
type PodmanContainer struct {
	Name, Rootfs string
	Network      string // "" for one of its own, without anything
	Env          []string
	Args         []string // other options
	Command      []string
}

// Create makes a container and returns its id.
func (p Podman) Create(c PodmanContainer) (id string, err error) {
	args := []string{
		"create", "--name", c.Name, "--network", cmp.Or(c.Network, "none"), "--cgroup-parent", CgroupParent(), "--security-opt", "seccomp=unconfined",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", // or podman asks for more than it may have
	}
	for _, e := range c.Env {
		args = append(args, "--env", e)
	}
	args = append(append(append(args, c.Args...), "--rootfs", c.Rootfs), c.Command...)
	return p.Do(args...)
}

// Remove removes a container, if it is there.
func (p Podman) Remove(name string) error {
	_, err := p.Do("rm", "--force", "--ignore", "--time", "0", name)
	return err
}

// Do runs a command of podman's and returns its standard output.
func (p Podman) Do(args ...string) (string, error) {
	global := []string{
		"--root", p.Graph(), "--runroot", filepath.Join(p.Dir, "run"), "--tmpdir", filepath.Join(p.Dir, "tmp"), "--storage-driver", "vfs",
		"--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "/usr/sbin/runc",
	}
	cmd := exec.Command("podman", append(global, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + p.Dir}
	// Through files: conmon inherits them, and would keep a pipe open.
	out, err := os.CreateTemp("", "podman-")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	message, err := os.CreateTemp("", "podman-")
	if err != nil {
		return "", err
	}
	defer os.Remove(message.Name())
	defer message.Close()
	cmd.Stdout, cmd.Stderr = out, message
	failed := cmd.Run()
	said, err := os.ReadFile(out.Name())
	if failed != nil {
		text, _ := os.ReadFile(message.Name())
		err = errors.Join(err, fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), failed, bytes.TrimSpace(text)))
	}
	return strings.TrimSpace(string(said)), err
}

// AwaitStopped waits until podman has cleaned up after a container that ended.
func (p Podman) AwaitStopped(id string) error {
	if Await(func() bool {
		_, err := os.Stat(filepath.Join(PodmanRunc, id))
		return errors.Is(err, fs.ErrNotExist)
	}) {
		return nil
	}
	return fmt.Errorf("podman does not clean up after container %s", id)
}
