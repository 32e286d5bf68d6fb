//go:build vmguest

package selinux

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
)

// hostConfig and the rest are the host's, and what is expected there.
const (
	hostConfig    = "/etc/selinux/config"
	localContexts = "/etc/selinux/minimal/contexts/files/file_contexts.local"
	initLabel     = "system_u:object_r:init_exec_t:s0"
	otherLabel    = "system_u:object_r:container_file_t:s0"
	enforcingText = "# kept\nSELINUX=enforcing\nSELINUXTYPE=minimal\n"
	permText      = "# kept\nSELINUX=permissive\nSELINUXTYPE=minimal\n"

	graph     = "/var/lib/isulad"
	hook      = graph + "/hooks/isulad-hooks"
	relabeler = "/usr/bin/autorelabel_container"
	unit      = "/etc/systemd/system/autorelabel.service"
	wanted    = "/etc/systemd/system/multi-user.target.wants/autorelabel.service"
)

// The tests run in this order: the kernel has no policy at first, and can never
// be without one again. Those of spec_test.go come after them, by the file's name.

func TestAHostWithoutSELinuxIsLeftAlone(t *testing.T) {
	for what, text := range map[string]string{"no configuration": "", "disabled": "SELINUX=disabled\nSELINUXTYPE=minimal\n", "no policy": enforcingText} {
		t.Run(what, func(t *testing.T) {
			must(t, os.RemoveAll("/etc/selinux"))
			want := "open /etc/selinux/config: no such file or directory\n"
			if text != "" {
				write(t, hostConfig, text, 0o644)
				want = "SELinux is disabled in the running kernel\n"
			}
			for _, args := range [][]string{nil, {"--dry-run"}} {
				if out, errs, code := relabel(t.TempDir(), args...); code != 1 || out != "" || errs != want {
					t.Errorf("%s: exit %d, %s%s", what, code, out, errs)
				}
			}
			c := newContainer(t, enforcingText)
			c.start()
			c.unlabelled(what)
			c.stop()
			if text != "" && read(t, hostConfig) != text {
				t.Errorf("%s: the configuration is now %q", what, read(t, hostConfig))
			}
		})
	}
	must(t, os.RemoveAll("/etc/selinux"))
	out, err := exec.Command("selinux-on", "enforcing").CombinedOutput() // for the tests below
	if err != nil || enforcing(t) != "1" {
		t.Fatalf("selinux-on: %v: %s, enforcing is %s", err, out, enforcing(t))
	}
}

// enforcingHost is as a host with SELinux is before anything is relabelled.
func enforcingHost(t *testing.T) {
	t.Helper()
	enforce(t, "1")
	must(t, os.RemoveAll(filepath.Dir(hostConfig)))
	write(t, hostConfig, enforcingText, 0o644)
	must(t, os.MkdirAll(filepath.Dir(localContexts), 0o755))
}

// isulad makes a program of that name, and says how it is labelled.
func isulad(t *testing.T) (dir string, labelled func() string) {
	t.Helper()
	dir = filepath.Join("/opt", t.Name())
	write(t, dir+"/isulad", "#!/bin/sh\n", 0o755)
	out, err := exec.Command("setfattr", "-n", "security.selinux", "-v", otherLabel, dir+"/isulad").CombinedOutput()
	if err != nil {
		t.Fatalf("setfattr: %v: %s", err, out)
	}
	return dir, func() string { return label(t, dir+"/isulad") }
}

// standIn is a folder with a systemctl that notes its arguments in calls.
func standIn(t *testing.T, script string) (bin, calls string) {
	t.Helper()
	bin = t.TempDir()
	calls = bin + "/calls"
	write(t, bin+"/systemctl", "#!/bin/sh\necho \"$@\" >>"+calls+"\n"+script+"\n", 0o755)
	return bin, calls
}

func TestRelabelMakesAnEnforcingHostPermissive(t *testing.T) {
	enforcingHost(t)
	path, labelled := isulad(t)
	bin, calls := standIn(t, "")
	unchanged := func(what string) {
		t.Helper()
		if read(t, hostConfig) != enforcingText || enforcing(t) != "1" || there(localContexts) || labelled() != otherLabel {
			t.Errorf("%s: config %q, enforcing %s, %s is there: %v, label %s", what, read(t, hostConfig), enforcing(t), localContexts, there(localContexts), labelled())
		}
	}

	out, errs, code := relabel(bin, "--dry-run", "--isulad-path", path)
	want := `would set SELINUX=permissive in /etc/selinux/config, where it is "enforcing"
would make /etc/selinux/minimal/contexts/files/file_contexts.local, empty
would switch the running kernel to permissive mode
would label ` + path + `/isulad system_u:object_r:init_exec_t:s0, where it is "system_u:object_r:container_file_t:s0"
would restart isulad
`
	if code != 0 || errs != "" || out != want {
		t.Errorf("exit %d: %s, printed\n%swant\n%s", code, errs, out, want)
	}
	unchanged("--dry-run")
	if there(calls) {
		t.Errorf("--dry-run called systemctl %s", read(t, calls))
	}

	// What cannot be is found out before anything is done, or taken back.
	if out, errs, code := relabel(bin, "--isulad-path", "/no/such"); code != 1 || out != "" || errs != "open /no/such/isulad: no such file or directory\n" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	unchanged("without isulad")
	failing, _ := standIn(t, "echo no isulad.service >&2; exit 5")
	if out, errs, code := relabel(failing, "--isulad-path", path); code != 1 || out != "" || errs != "restart isulad: execute systemctl: exit status 5: no isulad.service\n" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	unchanged("when isulad cannot be restarted")

	for try := range 2 {
		out, errs, code = relabel(bin, "--isulad-path", path)
		if code != 0 || errs != "" || out != "SELinux relabel success\n" {
			t.Fatalf("exit %d: %s%s", code, out, errs)
		}
		if read(t, hostConfig) != permText || enforcing(t) != "0" || labelled() != initLabel {
			t.Errorf("config %q, enforcing %s, label %s", read(t, hostConfig), enforcing(t), labelled())
		}
		requireMode(t, localContexts, 0o600)
		if got := read(t, calls); got != strings.Repeat("restart isulad\n", try+1) {
			t.Errorf("systemctl was called %q", got)
		}
	}
	if out, errs, code = relabel(bin, "--dry-run", "--isulad-path", path); code != 0 || errs != "" || out != "would restart isulad\n" {
		t.Errorf("when all is done: exit %d: %s%s", code, out, errs)
	}
}

func TestRelabelOfAnotherRoot(t *testing.T) {
	enforcingHost(t)
	root := "/opt/" + t.Name()
	write(t, root+hostConfig, "SELINUX=disabled\nSELINUXTYPE=minimal", 0o600)
	must(t, os.MkdirAll(root+filepath.Dir(localContexts), 0o755))
	write(t, root+"/real/isulad", "", 0o755)
	must(t, os.MkdirAll(root+"/usr", 0o755))
	must(t, os.Symlink("/real", root+"/usr/bin")) // of that root, not of ours
	write(t, root+"/lib/systemd/systemd", "", 0o755)
	bin, _ := standIn(t, "")
	if out, errs, code := relabel(bin, "--rootfs", root); code != 0 || out != "SELinux relabel success\n" {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if got := read(t, root+hostConfig); got != "SELINUX=permissive\nSELINUXTYPE=minimal" || label(t, root+"/real/isulad") != initLabel || enforcing(t) != "0" {
		t.Errorf("config %q, label %s, enforcing %s", got, label(t, root+"/real/isulad"), enforcing(t))
	}
	requireMode(t, root+localContexts, 0o600)
	if read(t, hostConfig) != enforcingText || there(localContexts) {
		t.Error("the host's own configuration was changed")
	}
	for _, name := range []string{"../minimal", ".", "", "no/such"} {
		write(t, root+hostConfig, "SELINUXTYPE="+name+"\n", 0o600)
		if _, errs, code := relabel(bin, "--rootfs", root); code != 1 || !strings.Contains(errs, fmt.Sprintf("SELINUXTYPE: %q", name)) {
			t.Errorf("%q: exit %d: %s", name, code, errs)
		}
	}
}

func TestAContainerLabelsItselfOnce(t *testing.T) {
	enforcingHost(t)
	c := newContainer(t, "# the container's\nSELINUX=enforcing\nSELINUXTYPE=minimal\n")
	for start := range 3 {
		c.start()
		if read(t, hostConfig) != permText {
			t.Errorf("the host's configuration is %q", read(t, hostConfig))
		}
		requireMode(t, c.root+relabeler, 0o700)
		requireMode(t, c.root+unit, 0o644)
		if to, err := os.Readlink(c.root + wanted); err != nil || to != "../autorelabel.service" {
			t.Errorf("%s leads to %s, %v", wanted, to, err)
		}
		for _, p := range []string{relabeler, unit} {
			if got := label(t, c.root+p); got != initLabel {
				t.Errorf("%s is labelled %s", p, got)
			}
		}
		if first := start == 0; there(c.root+"/.autorelabel") != first || there(c.root+"/.autorelabel_in_container") != first || !there(c.root+"/.container_autorelabel") {
			t.Errorf("start %d is not marked as it should be", start)
		}
		if out, err := c.runc.Exec(c.id, "grep", "-c", " /sys/fs/selinux selinuxfs rw,", "/proc/mounts"); err != nil || out != "1\n" {
			t.Errorf("selinuxfs in the container: %s%v", out, err)
		}
		enforce(t, "1")
		if start > 0 {
			enforce(t, "0") // the script makes it what the container's configuration says
		}
		c.init()
		c.says("restorecon -R / while 0\nreboot\n") // and never again
		mode := "1"
		if start == 0 {
			mode = "0"
			must(t, os.Remove(c.root+"/.autorelabel")) // as the system inside does
		}
		if enforcing(t) != mode {
			t.Errorf("start %d: enforcing is %s after the script, want %s", start, enforcing(t), mode)
		}
		if there(c.root + "/.autorelabel_in_container") {
			t.Errorf("start %d: the script has left its mark", start)
		}
		c.stop()
		if there(c.root+unit) || there(c.root+wanted) || !there(c.root+relabeler) {
			t.Errorf("after the stop the unit is there, or the script is not")
		}
	}
	if log := read(t, c.dir+"/log"); strings.Contains(log, "level=w") || strings.Contains(log, "level=e") {
		t.Errorf("logged %s", log)
	}
	if out, err := exec.Command("grep", "-c", "selinuxfs", "/proc/mounts").Output(); err != nil || string(out) != "1\n" {
		t.Errorf("selinuxfs on the host: %s%v", out, err)
	}
}

func TestAContainerWithoutSELinuxIsLeftAlone(t *testing.T) {
	enforcingHost(t)
	for _, config := range []string{"", "SELINUX=disabled\nSELINUXTYPE=minimal\n"} {
		c := newContainer(t, config)
		c.start()
		c.unlabelled(fmt.Sprintf("%q", config))
		c.stop()
	}
	if read(t, hostConfig) != enforcingText || enforcing(t) != "1" {
		t.Errorf("the host: %q, enforcing %s", read(t, hostConfig), enforcing(t))
	}
}

// The last thing that can fail is the host's configuration: all of the container is
// taken back, and it starts.
func TestARelabelThatFailsIsTakenBack(t *testing.T) {
	enforcingHost(t)
	must(t, os.Rename(hostConfig, hostConfig+".real"))
	must(t, os.Symlink("config.real", hostConfig))
	c := newContainer(t, enforcingText)
	c.start()
	c.untouched("after a failure")
	if log := read(t, c.dir+"/log"); !strings.Contains(log, "level=warning") || !strings.Contains(log, "save /etc/selinux/config: not a regular file") || strings.Contains(log, "undo") {
		t.Errorf("logged %s", log)
	}
	if read(t, hostConfig) != enforcingText {
		t.Errorf("the host's configuration is %q", read(t, hostConfig))
	}
	c.stop()
}

// A container that has changed its root already, as lcr's have.
func TestAPivotedContainerIsPrepared(t *testing.T) {
	enforcingHost(t)
	for what, maps := range map[string][]sandbox.IDMapping{"plain": nil, "userns": {{ContainerID: 0, HostID: 100000, Size: 65536}}} {
		t.Run(what, func(t *testing.T) {
			id := fmt.Sprintf("%x", sha256.Sum256([]byte(t.Name()+what)))
			b := &sandbox.Bundle{Dir: filepath.Join(graph, "engines/lcr", id), ID: id, Root: filepath.Join("/opt/rootfs", id[:12]), CgroupsPath: "/isulad/" + id, UID: maps, GID: maps}
			must(t, sandbox.Rootfs(b.Root))
			write(t, b.Root+"/usr/lib/systemd/systemd", "", 0o755)
			write(t, b.Root+"/etc/selinux/config", enforcingText, 0o644)
			owner := 0
			if maps != nil {
				owner = 100000
				must(t, holder.Chown(b.Root, maps))
			}
			must(t, sandbox.WriteBundle(b))
			c, err := holder.Start(holder.Options{ID: id, Rootfs: b.Root, Pivoted: true, Maps: maps, Cgroup: b.CgroupsPath})
			must(t, err)
			log := filepath.Join(b.Dir, "log")
			run := func(stage string, pid int) {
				t.Helper()
				h := holder.Hook{Path: hook, Args: []string{"", "--state", stage, "--with-relabel", "--log", log}}
				if out, err := h.Run(holder.State(id, pid, b.Root, b.Dir)); err != nil || out != "" {
					t.Errorf("%s, %s: %v, %s", what, stage, err, out)
				}
			}
			run("prestart", c.Pid)
			if there(log) {
				if text := read(t, log); strings.Contains(text, "relabel") {
					t.Errorf("%s: logged %s", what, text)
				}
			}
			for _, p := range []string{relabeler, unit} {
				if got := label(t, b.Root+p); got != initLabel {
					t.Errorf("%s: %s is labelled %s", what, p, got)
				}
				n, err := sandbox.Lstat(b.Root + p)
				if must(t, err); n.UID != owner || n.GID != owner {
					t.Errorf("%s: %s is %v", what, p, n)
				}
			}
			must(t, c.Release())
			if out, err := c.Exec("/bin/cat", "/proc/mounts"); err != nil || !strings.Contains(out, " selinuxfs rw,") {
				t.Errorf("%s: no selinuxfs: %v\n%s", what, err, out)
			}
			must(t, c.Kill())
			run("poststop", -1)
			if there(b.Root+unit) || there(b.Root+wanted) {
				t.Errorf("%s: the unit is there after the stop", what)
			}
			must(t, c.End())
		})
	}
	if read(t, hostConfig) != permText {
		t.Errorf("the host's configuration is %q", read(t, hostConfig))
	}
}
