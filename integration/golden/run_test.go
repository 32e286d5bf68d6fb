package golden

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// runners are the ways a kind of case is run.
var runners = map[string]func(*testing.T, *world, *testCase) *observed{
	"hook-runc":   runHeld,
	"hook-direct": runDirect,
	"cli":         runCLI,
}

// patience is far beyond any time-out of the program under test.
const patience = 2 * time.Minute

// defaultPath is what the recorder's commands had.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runHeld runs a prestart hook where runc runs it.
func runHeld(t *testing.T, w *world, c *testCase) *observed {
	t.Helper()
	check(t, c.writeSpec())
	shell(t, c.Setup.Shell, 0)
	held, err := w.runc.CreateHeld(c.bundle())
	check(t, err)
	defer func() { check(t, held.Release(0)) }()

	before := take(t, c, held.Pid, held.Root)
	o := c.execute(t, filepath.Join("/var/lib/isulad/hooks", c.names.hook), c.dir(), held.Pid)
	observe(t, c, before, take(t, c, held.Pid, held.Root), o)
	check(t, checkPin(c, held.Pid))
	return o
}

// runDirect runs a hook on a container that is stopped, or that was started
// with the prestart hook under test.
func runDirect(t *testing.T, w *world, c *testCase) *observed {
	t.Helper()
	check(t, c.writeSpec())
	pid := 0
	if c.Setup.Container == "running" {
		before, after := c.shellAroundStart()
		shell(t, before, 0)
		pid = w.start(t, c)
		shell(t, after, pid)
		if !strings.Contains(c.Stdin, "<PID>") {
			// The recorder kept it alive; to us a living init of the start
			// record, under no pid at all, is a reason to do nothing.
			check(t, w.runc.Stop(containerID))
			pid = 0
		}
	} else {
		shell(t, c.Setup.Shell, 0)
	}
	before := take(t, c, pid, "/")
	o := c.execute(t, filepath.Join("/var/lib/isulad/hooks", c.names.hook), "/", pid)
	observe(t, c, before, take(t, c, pid, "/"), o)
	return o
}

// runCLI runs a command on a container that is running, stopped or absent.
func runCLI(t *testing.T, w *world, c *testCase) *observed {
	t.Helper()
	pid := 0
	if c.Setup.Container != "absent" {
		check(t, c.writeSpec())
	}
	before, after := c.shellAroundStart()
	shell(t, before, pid)
	switch {
	case c.Setup.Container == "running":
		pid = w.start(t, c)
		check(t, c.describe(pid))
	case c.Name == "add-device-stale-pid":
		check(t, c.describe(deadPid))
	case c.Setup.Container == "stopped":
		check(t, c.describe(pid))
	default:
		check(t, os.RemoveAll(isulaFile))
	}
	c.runPreCommands(t)
	shell(t, after, pid)
	was := take(t, c, pid, "/")
	o := c.execute(t, c.tool(), "/", pid)
	observe(t, c, was, take(t, c, pid, "/"), o)
	o.effects.afterwards = c.tryAfterwards(t, pid)
	return o
}

// deadPid is beyond the kernel's limit of this sandbox.
const deadPid = 1 << 22

// runPreCommands runs the commands that made what the case starts from, and
// that is the resource file that the recorder had then.
func (c *testCase) runPreCommands(t *testing.T) {
	t.Helper()
	if len(c.Setup.PreCommands) == 0 {
		return
	}
	for _, args := range c.Setup.PreCommands {
		args = slices.Clone(args)
		for i, a := range args {
			args[i] = strings.ReplaceAll(a, "{C}", containerName)
		}
		if o := c.command(t, args...); o.exit != 0 {
			t.Fatalf("prepare: %q: exit status %d: %s", args, o.exit, o.stderr)
		}
	}
	data, err := os.ReadFile(filepath.Join(c.dir(), "device_hook.json"))
	check(t, err)
	if diff := cmp.Diff(parsed(string(c.Setup.DeviceHook)), parsed(string(data))); diff != "" {
		t.Errorf("prepare: %q: device_hook.json (-want +got):\n%s", c.Setup.PreCommands, diff)
	}
	forgetCalls(t)
}

// forgetCalls is for calls that are not the case's.
func forgetCalls(t *testing.T) {
	t.Helper()
	check(t, os.RemoveAll(callsDir))
	check(t, os.Mkdir(callsDir, 0o755))
}

// tool is this generation's command.
func (c *testCase) tool() string { return filepath.Join("/usr/local/bin", c.names.tool) }

// command runs another command than the case's in its surroundings.
func (c *testCase) command(t *testing.T, args ...string) *observed {
	t.Helper()
	other := *c
	other.Argv = append([]string{c.names.tool}, args...)
	return other.execute(t, c.tool(), "/", 0)
}

// startedWithoutHook are containers that ran, but not through our prestart.
var startedWithoutHook = map[string]bool{"hook-poststop-modules-not-loaded": true}

// start runs the container with the prestart hook under test, and tells its pid.
func (w *world) start(t *testing.T, c *testCase) int {
	t.Helper()
	b := c.bundle()
	b.Dir = c.dir()
	if !startedWithoutHook[c.Name] {
		b.Hooks.Prestart = []sandbox.Hook{{
			Path: filepath.Join("/var/lib/isulad/hooks", c.names.hook),
			Args: []string{c.names.hook, "--state", "prestart"}, Env: []string{},
		}}
	}
	check(t, sandbox.WriteBundle(b))
	check(t, w.runc.Run(containerID, b.Dir))
	pid, err := w.runc.Pid(containerID)
	check(t, err)
	forgetCalls(t) // this prestart's
	return pid
}

// shellAroundStart splits the commands into those that make what the start
// needs and those that break something afterwards.
func (c *testCase) shellAroundStart() (before, after []string) {
	for _, line := range c.Setup.Shell {
		if slices.ContainsFunc(afterStart, func(p string) bool { return strings.HasPrefix(line, p) }) {
			after = append(after, line)
		} else {
			before = append(before, line)
		}
	}
	return before, after
}

var afterStart = []string{"rm ", "echo ", "nsenter ", "ip link del ", "ip link add h_phy type bridge"}

// shell runs the recorder's commands.
func shell(t *testing.T, lines []string, pid int) {
	t.Helper()
	for _, line := range lines {
		line = strings.ReplaceAll(line, "{PID}", fmt.Sprint(pid))
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("setup %q: %v: %s", line, err, out)
		}
	}
}

// execute runs the program under test with the case's input.
func (c *testCase) execute(t *testing.T, path, dir string, pid int) *observed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Dir, cmd.Env = c.Argv, dir, []string{"PATH=" + defaultPath}
	if c.Kind == "cli" {
		cmd.Args = append([]string{"/goldhost/tool/" + c.names.tool}, c.Argv[1:]...) // as the recorder called it
	} else if c.Env != nil {
		cmd.Env = []string{}
	}
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(c.Stdin, "<PID>", fmt.Sprint(pid)))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("run %q: %v", c.Argv, err)
	}
	return &observed{stdout: stdout.String(), stderr: stderr.String(), exit: cmd.ProcessState.ExitCode()}
}

// checkPin is an error when the pinned network namespace is not the
// container's; mount lines do not tell one from another.
func checkPin(c *testCase, pid int) error {
	var pin, ns unix.Stat_t
	path := filepath.Join(c.names.runDir(), "netns", containerID)
	if err := unix.Stat(path, &pin); err != nil {
		return nil // there is none, which the mount lines do tell
	}
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &ns); err != nil {
		return err
	}
	if pin.Dev != ns.Dev || pin.Ino != ns.Ino {
		return fmt.Errorf("%s is not the container's network namespace", path)
	}
	return nil
}
