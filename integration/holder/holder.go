package holder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
)

// Options describe a container. The zero value of all but ID and Rootfs is
// useful.
type Options struct {
	ID      string
	Rootfs  string // see sandbox.Rootfs
	Pivoted bool   // as lcr of iSulad 2.1
	// Maps are those of a user namespace; none without. Rootfs belongs to its
	// root: see Chown.
	Maps     []sandbox.IDMapping
	ReadOnly bool   // the root
	ImageDev bool   // the image's own /dev is used, without a tmpfs on it
	Cgroup   string // path in the hierarchies, sandbox.CgroupParent()/ID when empty
	// Rules are its device rules; nil: those of a system container, see Rules.
	Rules []cgroup.DeviceRule
}

// Container is one that is held.
type Container struct {
	Options
	Pid int // of its init

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start makes a container and returns when its mounts and limits are made.
// Kill, or End, must follow.
func Start(o Options) (*Container, error) {
	if o.Cgroup == "" {
		o.Cgroup = sandbox.CgroupParent() + "/" + o.ID
	}
	if err := o.makeCgroups(); err != nil {
		return nil, err
	}
	arg, err := json.Marshal(setup{
		Rootfs: o.Rootfs, Pivoted: o.Pivoted, UserNS: len(o.Maps) > 0,
		ReadOnly: o.ReadOnly, ImageDev: o.ImageDev, Hostname: o.ID[:min(12, len(o.ID))],
	})
	if err != nil {
		return nil, err
	}
	c := &Container{Options: o, cmd: exec.Command("/proc/self/exe", string(arg))}
	c.cmd.Args[0] = initName
	c.cmd.Env = []string{}
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if len(o.Maps) > 0 {
		c.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		for _, m := range o.Maps {
			one := syscall.SysProcIDMap{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size}
			c.cmd.SysProcAttr.UidMappings = append(c.cmd.SysProcAttr.UidMappings, one)
			c.cmd.SysProcAttr.GidMappings = append(c.cmd.SysProcAttr.GidMappings, one)
		}
		c.cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		c.cmd.SysProcAttr.Credential = &syscall.Credential{} // its root
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start container: %w", err)
	}
	c.Pid = c.cmd.Process.Pid
	if err := c.hear("ready"); err != nil {
		return nil, errors.Join(err, c.End())
	}
	if err := enterCgroups(o.Cgroup, c.Pid); err != nil {
		return nil, errors.Join(err, c.End())
	}
	return c, nil
}

// hear waits for a word from init.
func (c *Container) hear(word string) error {
	line, err := c.out.ReadString('\n')
	if err == nil && line == word+"\n" {
		return nil
	}
	return fmt.Errorf("container's init is not %s: %q, %w", word, line, err)
}

// Release ends the time of prestart: the container's init runs now.
func (c *Container) Release() error {
	if _, err := io.WriteString(c.in, "go\n"); err != nil {
		return err
	}
	return c.hear("running")
}

// Exec runs a command inside, as its root, and returns both output streams.
func (c *Container) Exec(args ...string) (string, error) {
	if err := json.NewEncoder(c.in).Encode(order{args}); err != nil {
		return "", err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return "", fmt.Errorf("container's init ended: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return "", err
	}
	switch {
	case a.Error != "":
		return a.Output, errors.New(a.Error)
	case a.Exit != 0:
		return a.Output, fmt.Errorf("exit status %d: %s", a.Exit, strings.TrimSpace(a.Output))
	}
	return a.Output, nil
}

// Kill ends the container at once, as `kill -9` of its init: its processes and
// namespaces are gone afterwards, its cgroups are not.
func (c *Container) Kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	c.in.Close()
	_ = c.cmd.Wait() // tells that it was killed
	return nil
}

// End is Kill and the removal of the cgroups, after poststop.
func (c *Container) End() error {
	return errors.Join(c.Kill(), removeCgroups(c.Cgroup))
}

// Root is the container's root as seen through its mount namespace.
func (c *Container) Root() string {
	if c.Pivoted {
		return fmt.Sprintf("/proc/%d/root", c.Pid)
	}
	return fmt.Sprintf("/proc/%d/root%s", c.Pid, c.Rootfs)
}
