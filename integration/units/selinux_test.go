package units

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/hooks"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/undo"
	"isula.org/isulad-tools/resource"
	"isula.org/isulad-tools/selinux"
)

const (
	initLabel = "system_u:object_r:init_exec_t:s0"
	relabeler = "/usr/bin/autorelabel_container"
	unit      = "/etc/systemd/system/autorelabel.service"
	wanted    = "/etc/systemd/system/multi-user.target.wants/autorelabel.service"
	upstart   = "/etc/init/autorelabel.conf"
)

// systemdImage has what an image with systemd and SELinux has, as far as we look.
func systemdImage(t testing.TB) func(image string) {
	return func(image string) {
		write(t, image+"/usr/lib/systemd/systemd", "")
		write(t, image+"/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=minimal\n")
		must(t, os.MkdirAll(image+"/usr/bin", 0o755))
	}
}

// labelAt is the label of a file, not of what it links to.
func labelAt(t testing.TB, path string) string {
	t.Helper()
	b := make([]byte, 200)
	n, err := unix.Lgetxattr(path, "security.selinux", b)
	must(t, err)
	return strings.TrimRight(string(b[:n]), "\x00")
}

func TestAContainerLabelsItsOwnFiles(t *testing.T) {
	bothRoots(t, func(t *testing.T, options ...option) {
		h := hold(t, systemdImage(t), options...)
		target := h.target(t, resource.MappedRoot{UID: 7, GID: 8})
		defer unix.Umask(unix.Umask(0o777))
		for _, start := range []string{"first", "second"} {
			must(t, selinux.Install(target, initLabel, new(undo.Stack)))
			node(t, h.root+relabeler, "f 0700 7:8")
			node(t, h.root+unit, "f 0644 7:8")
			node(t, h.root+filepath.Dir(wanted), "d 0755 7:8")
			if to, err := os.Readlink(h.root + wanted); err != nil || to != "../autorelabel.service" {
				t.Errorf("%s leads to %q, %v", wanted, to, err)
			}
			for _, p := range []string{relabeler, unit} {
				if got := labelAt(t, h.root+p); got != initLabel {
					t.Errorf("%s is labelled %q", p, got)
				}
			}
			node(t, h.root+"/.container_autorelabel", "f 0644 7:8")
			if start == "first" {
				for _, mark := range []string{"/.autorelabel", "/.autorelabel_in_container"} {
					node(t, h.root+mark, "f 0644 7:8")
					must(t, os.Remove(h.root+mark)) // as what runs inside does
				}
			}
			must(t, selinux.Remove(rootAt(t, h.image)))
			gone(t, h.image+unit)
			gone(t, h.image+wanted)
		}
		gone(t, h.root+"/.autorelabel")
		gone(t, h.root+"/.autorelabel_in_container")
		gone(t, h.root+upstart)
		must(t, selinux.Remove(rootAt(t, h.image))) // what is gone is gone
	})
}

func TestUpstartGetsAJob(t *testing.T) {
	h := hold(t, func(image string) { must(t, os.MkdirAll(image+"/etc/init", 0o755)) })
	must(t, selinux.Install(h.target(t, hostOwner), initLabel, new(undo.Stack)))
	node(t, h.root+upstart, "f 0644 0:0")
	node(t, h.root+relabeler, "f 0700 0:0")
	gone(t, h.root+unit)
	must(t, selinux.Remove(rootAt(t, h.image)))
	gone(t, h.image+upstart)
}

func TestAnUnknownInitIsLeftAlone(t *testing.T) {
	h := hold(t, nil)
	before := tree(t, h.image)
	if err := selinux.Install(h.target(t, hostOwner), initLabel, new(undo.Stack)); err == nil || !strings.Contains(err.Error(), "init") {
		t.Errorf("%v", err)
	}
	if after := tree(t, h.image); after != before {
		t.Errorf("was\n%s\nand is\n%s", before, after)
	}
}

// However far it gets, nothing of a failed one stays.
func TestARelabelThatFailsLeavesNothing(t *testing.T) {
	spoil := map[string]func(t *testing.T, h *fakeContainer, target *resource.Target){
		"later": func(*testing.T, *fakeContainer, *resource.Target) {},
		"a directory is the script": func(t *testing.T, h *fakeContainer, _ *resource.Target) {
			must(t, os.MkdirAll(h.root+relabeler, 0o755))
		},
		"a directory is the unit": func(t *testing.T, h *fakeContainer, _ *resource.Target) {
			must(t, os.MkdirAll(h.root+unit, 0o755))
		},
		"the image has the unit": func(t *testing.T, h *fakeContainer, _ *resource.Target) {
			write(t, h.root+unit, "[Unit]\nDescription=of the image\n")
		},
		"a directory is what is wanted": func(t *testing.T, h *fakeContainer, _ *resource.Target) {
			must(t, os.MkdirAll(h.root+wanted, 0o755))
		},
		"a loop": func(t *testing.T, h *fakeContainer, _ *resource.Target) {
			must(t, os.Symlink("systemd", h.root+"/etc/systemd"))
		},
		"a directory of another file system": func(t *testing.T, h *fakeContainer, target *resource.Target) {
			to, err := target.Root.Open("/usr/bin", unix.O_PATH)
			must(t, err)
			defer to.Close()
			must(t, target.NS.Do(func() error { return unix.Mount("tmpfs", nsenter.FD(to), "tmpfs", 0, "size=1m") }))
		},
	}
	for what, do := range spoil {
		t.Run(what, func(t *testing.T) {
			bothRoots(t, func(t *testing.T, options ...option) {
				h := hold(t, systemdImage(t), options...)
				target := h.target(t, hostOwner)
				do(t, h, target)
				before, mounted := tree(t, h.image), h.mountsOf(t)
				var u undo.Stack
				err := selinux.Install(target, initLabel, &u)
				if (err == nil) != (what == "later") {
					t.Errorf("%v", err)
				}
				if err == nil { // in a kernel without SELinux this fails, too
					err = errors.Join(selinux.MountFS(target, &u), errTest)
				}
				was := err.Error()
				u.OnError(&err)
				if err.Error() != was {
					t.Errorf("not undone: %v", err)
				}
				if after := tree(t, h.image); after != before {
					t.Errorf("%v: was\n%s\nand is\n%s", err, before, after)
				}
				if now := h.mountsOf(t); now != mounted {
					t.Errorf("mounted was\n%s\nand is\n%s", mounted, now)
				}
			})
		})
	}
}

func TestAHostileImageLeadsRelabelNowhere(t *testing.T) {
	out, untouched := victim(t)
	h := hold(t, systemdImage(t))
	target := h.target(t, hostOwner)
	for _, p := range []string{
		"/usr/bin", relabeler, "/usr/bin/.autorelabel_container.new", "/etc/systemd", "/etc/systemd/system", filepath.Dir(wanted), unit, wanted,
		"/etc/init", "/.autorelabel", "/.autorelabel_in_container", "/.container_autorelabel", "/etc/selinux", "/etc/selinux/config", "/sys", "/sys/fs/selinux", "/selinux",
	} {
		for _, exit := range exits(out) {
			must(t, os.RemoveAll(h.image+p))
			must(t, os.MkdirAll(filepath.Dir(h.image+p), 0o755))
			must(t, os.Symlink(exit, h.image+p))
			var u undo.Stack
			err := selinux.Install(target, initLabel, &u)
			if err == nil {
				err = selinux.MountFS(target, &u)
			}
			if err == nil {
				err = errTest
			}
			if exit != "/" { // in half of the cases they stay
				u.OnError(&err)
			}
			if err := selinux.Remove(rootAt(t, h.image)); err != nil {
				t.Logf("%s -> %s: %v", p, exit, err)
			}
			_, _, _ = target.Root.Read("/etc/selinux/config", 1000)
		}
		must(t, os.RemoveAll(h.image+p))
	}
	untouched()
}

func TestOnlyARegularFileIsRead(t *testing.T) {
	dir := t.TempDir()
	root := rootAt(t, dir)
	must(t, unix.Mkfifo(dir+"/pipe", 0o600))
	must(t, sandbox.Mknod(dir+"/node", 0o020600, 1, 9, 0, 0))
	must(t, os.Mkdir(dir+"/dir", 0o755))
	write(t, dir+"/long", strings.Repeat("x", 101))
	write(t, dir+"/file", "hi")
	must(t, os.Symlink("/file", dir+"/link"))
	for _, p := range []string{"/pipe", "/node", "/dir", "/long", "/none"} {
		if data, _, err := root.Read(p, 100); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %q, %v", p, data, err)
		}
	}
	if data, perm, err := root.Read("/link", 100); err != nil || string(data) != "hi" || perm != 0o644 {
		t.Errorf("%q, %v, %v", data, perm, err)
	}
}

// relabelStage runs a stage with --with-relabel, and returns what is logged.
func relabelStage(t testing.TB, stage string, state map[string]any) (log string) {
	t.Helper()
	in, err := json.Marshal(state)
	must(t, err)
	var out, msg bytes.Buffer
	file := filepath.Join(t.TempDir(), "log")
	h := hooks.Hook{Generation: place.Isulad, Stdin: bytes.NewReader(in), Stdout: &out, Stderr: &msg}
	if code := h.Run("isulad-hooks", []string{"--state", stage, "--with-relabel", "--log", file}); code != 0 || out.Len()+msg.Len() != 0 {
		t.Errorf("%s: %d, %s%s", stage, code, &out, &msg)
	}
	return read(t, file)
}

func TestWithoutSELinuxNothingIsRelabelled(t *testing.T) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Fatal("this host has SELinux: the VM's tests are for that")
	}
	for what, host := range map[string]string{"no configuration": "", "disabled": "SELINUX=disabled\n", "not in the kernel": "SELINUX=enforcing\nSELINUXTYPE=minimal\n"} {
		t.Run(what, func(t *testing.T) {
			if host != "" {
				write(t, "/etc/selinux/config", host)
			}
			h := hold(t, systemdImage(t))
			dir := filepath.Join(t.TempDir(), "engines/runc", h.id)
			write(t, dir+"/config.json", `{"linux":{"cgroupsPath":"`+h.cgroup+`"}}`)
			state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
			if log := relabelStage(t, "prestart", state); !strings.Contains(log, "level=info") || !strings.Contains(log, "disabled on the host") || strings.Contains(log, "level=w") {
				t.Errorf("%s: logged %s", what, log)
			}
			for _, p := range []string{relabeler, unit, wanted, "/.autorelabel"} {
				gone(t, h.image+p)
			}
			if host != "" && read(t, "/etc/selinux/config") != host {
				t.Errorf("%s: the host's configuration is now %q", what, read(t, "/etc/selinux/config"))
			}
			plan, err := selinux.Host{Root: "/", IsuladPath: "/usr/bin", Wait: time.Second}.Plan()
			switch {
			case err == nil:
				plan.Close()
				t.Errorf("%s: there is a plan", what)
			case host == "" && err.Error() != "open /etc/selinux/config: no such file or directory":
				t.Errorf("%s: %v", what, err)
			case host != "" && !errors.Is(err, selinux.ErrDisabled):
				t.Errorf("%s: %v", what, err)
			}

			// v0.9's unit, whose text we do not know.
			write(t, h.image+wanted, "[Service]\nExecStart="+relabeler+"\n")
			_ = relabelStage(t, "poststop", state)
			gone(t, h.image+wanted)
			must(t, os.RemoveAll("/etc/selinux"))
		})
	}
}

func TestPoststopRemovesOnlyWhatIsOurs(t *testing.T) {
	image := t.TempDir()
	systemdImage(t)(image)
	bundle := filepath.Join(t.TempDir(), "engines/runc/stopped")
	write(t, bundle+"/config.json", "{}")
	state := map[string]any{"id": "stopped", "pid": -1, "bundle": bundle, "root": image}
	target := &resource.Target{Root: rootAt(t, image), Owner: hostOwner}
	must(t, selinux.Install(target, initLabel, new(undo.Stack)))
	script := read(t, image+relabeler)

	if code, stderr := stage(t, "poststop", state); code != 0 || stderr != "" { // without --with-relabel
		t.Errorf("%d, %s", code, stderr)
	}
	node(t, image+unit, "f 0644 0:0")
	if log := relabelStage(t, "poststop", state); log != "" {
		t.Errorf("logged %s", log)
	}
	gone(t, image+unit)
	gone(t, image+wanted)
	if read(t, image+relabeler) != script {
		t.Error("the script is another")
	}

	write(t, image+unit, "[Unit]\nDescription=of the image\n")
	must(t, os.Symlink("../autorelabel.service", image+wanted))
	_ = relabelStage(t, "poststop", state)
	node(t, image+unit, "f 0644 0:0")
	if _, err := os.Readlink(image + wanted); err != nil {
		t.Error(err)
	}

	for what, c := range map[string]struct {
		root   any
		logged string
	}{
		"an empty one":          {t.TempDir(), ""},
		"one that is not there": {"/no/such/root", ""},
		"the host's":            {"/", "nothing is made or removed"},
		"a file":                {"/etc/passwd", "not a directory"},
		"none":                  {nil, "root.path"},
	} {
		t.Run(what, func(t *testing.T) {
			state["root"] = c.root
			log := relabelStage(t, "poststop", state)
			if (log == "") != (c.logged == "") || !strings.Contains(log, c.logged) {
				t.Errorf("%s: logged %q, want %q", what, log, c.logged)
			}
		})
	}
}
