package holder_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
)

func TestMain(m *testing.M) {
	holder.Main()
	if len(os.Args) > 0 && os.Args[0] == "report" {
		report()
	}
	sandbox.Main(m)
}

var maps = []sandbox.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

// each runs a test in every kind of container, held.
func each(t *testing.T, test func(*testing.T, *holder.Container)) {
	for _, o := range []holder.Options{
		{ID: "unpivoted"},
		{ID: "pivoted", Pivoted: true},
		{ID: "unpivoted-mapped", Maps: maps},
		{ID: "pivoted-mapped", Pivoted: true, Maps: maps},
	} {
		t.Run(o.ID, func(t *testing.T) {
			dir, err := os.MkdirTemp("/srv", "") // reachable for all
			if err != nil {
				t.Fatal(err)
			}
			o.Rootfs = filepath.Join(dir, "rootfs")
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := sandbox.Rootfs(o.Rootfs); err != nil {
				t.Fatal(err)
			}
			if len(o.Maps) > 0 {
				if err := holder.Chown(o.Rootfs, o.Maps); err != nil {
					t.Fatal(err)
				}
			}
			c, err := holder.Start(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.End(); err != nil {
					t.Error(err)
				}
			})
			test(t, c)
		})
	}
}

func TestHeldContainer(t *testing.T) {
	each(t, func(t *testing.T, c *holder.Container) {
		var root, host unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/root", c.Pid), &root); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat("/", &host); err != nil {
			t.Fatal(err)
		}
		if same := root.Dev == host.Dev && root.Ino == host.Ino; same == c.Pivoted {
			t.Errorf("the container's root is the host's: %v", same)
		}
		list, err := sandbox.Mounts(c.Pid)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if line := sandbox.MountLine(m); c.Pivoted && !strings.Contains(line, "prop=private") {
				t.Errorf("not private: %s", line)
			}
		}
		if n, err := sandbox.Lstat(c.Root() + "/dev/zero"); err != nil || n.Rdev != "1:5" {
			t.Errorf("/dev/zero: %v, %v", n, err)
		}
		if err := c.Release(); err != nil {
			t.Fatal(err)
		}
		for _, check := range []struct{ script, want string }{
			{"id -u", "0\n"},
			{"head -c 3 /dev/zero | wc -c", "3\n"},
			{"test -e /srv && echo the host; echo $$ | wc -l", "1\n"},
			{"mount -t tmpfs x /mnt && echo ok", "ok\n"}, // CAP_SYS_ADMIN
			{"echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward || echo read-only", "read-only\n"},
			{"cat /proc/sys/kernel/hostname", c.ID[:min(12, len(c.ID))] + "\n"},
		} {
			if out, err := c.Exec("/bin/sh", "-c", check.script); err != nil || out != check.want {
				t.Errorf("%s: %q, %v, want %q", check.script, out, err, check.want)
			}
		}
		if _, err := c.Exec("/bin/sh", "-c", "echo why; exit 3"); err == nil || err.Error() != "exit status 3: why" {
			t.Errorf("a failing command: %v", err)
		}
	})
}

// report is a hook that tells how it was started.
func report() {
	wd, _ := os.Getwd()
	environ, _ := os.ReadFile("/proc/self/environ")
	_, openat2 := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH})
	setattr := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{})
	stdin, _ := unix.FcntlInt(0, unix.F_GETFL, 0)
	stdout, _ := unix.FcntlInt(1, unix.F_GETFL, 0)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"argv": os.Args, "wd": wd, "env": strings.Split(string(environ), "\x00"), // os.Environ drops the second of a name
		"blocks":  stdin&unix.O_NONBLOCK == 0 || stdout&unix.O_NONBLOCK == 0,
		"openat2": openat2 == nil, "mount_setattr": setattr == nil,
	})
	os.Exit(0)
}

func TestHookIsCalledAsByLCR(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kernel           holder.Kernel
		openat2, setattr bool
	}{
		{holder.Running, true, true},
		{holder.V5_10, true, false},
		{holder.V4_19, false, false},
	} {
		h := holder.Hook{Path: self, Args: []string{"report", "--state", "x"}, Env: []string{"PATH=/second"}, Kernel: c.kernel}
		out, err := h.Run(holder.State("id", 7, "/r", "/b"))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Argv, Env []string
			Wd        string
			Blocks    bool
			Openat2   bool
			Setattr   bool `json:"mount_setattr"`
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got.Wd != "/" || got.Blocks || got.Openat2 != c.openat2 || got.Setattr != c.setattr || strings.Join(got.Argv, " ") != "report --state x" {
			t.Errorf("as on %s: %s", c.kernel.Name, out)
		}
		env := strings.Join(got.Env, " ")
		if !strings.HasPrefix(env, "PATH=") || !strings.Contains(env, " PATH=/second") || strings.Contains(env, " HOME") || !strings.Contains(env, "LXC_PID=7") {
			t.Errorf("environment: %s", env)
		}
	}
}
