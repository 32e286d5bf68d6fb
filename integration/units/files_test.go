package units

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// tinyDisk mounts a file system that is soon full.
func tinyDisk(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fill takes all the room that is left.
func fill(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskLeavesTheOldFileWhole(t *testing.T) {
	old := strings.Repeat("old", 1000)
	for what, c := range map[string]struct {
		options string
		prepare func(dir string)
		want    error
	}{
		"full":                     {"size=64k", func(dir string) { fill(t, dir) }, unix.ENOSPC},
		"full in the middle of it": {"size=64k", nil, unix.ENOSPC},
		"no file more":             {"size=1m,nr_inodes=2", nil, unix.ENOSPC},
		"read-only":                {"size=1m", func(dir string) { must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")) }, unix.EROFS},
	} {
		t.Run(what, func(t *testing.T) {
			dir := tinyDisk(t, c.options)
			must(t, atomicfile.Write(dir, "f", []byte(old), 0o600))
			if c.prepare != nil {
				c.prepare(dir)
			}
			before, err := os.Lstat(filepath.Join(dir, "f"))
			must(t, err)
			list := names(t, dir)
			err = atomicfile.Write(dir, "f", make([]byte, 200_000), 0o644)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v, want %v and where", what, err, c.want)
			}
			after, err := os.Lstat(filepath.Join(dir, "f"))
			must(t, err)
			if !os.SameFile(before, after) || after.Mode() != before.Mode() || read(t, filepath.Join(dir, "f")) != old {
				t.Errorf("%s: the old file is another: %v", what, after)
			}
			if now := names(t, dir); now != list {
				t.Errorf("%s: the folder had %s and has %s", what, list, now)
			}
		})
	}
}

func TestResourceFileSurvivesAFullDisk(t *testing.T) {
	dir := tinyDisk(t, "size=64k")
	const recorded = `{"bindToAdd":["/a:/b:rw"],"future":18446744073709551615}`
	write(t, filepath.Join(dir, config.Name), recorded)
	d, err := config.Load(dir)
	must(t, err)
	must(t, config.Replace(d, config.Binds, map[int]string{0: "/a:/" + strings.Repeat("x", 100_000) + ":rw"}))
	err = d.Save()
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), filepath.Join(dir, config.Name)) {
		t.Errorf("%v, want ENOSPC and the file", err)
	}
	if got := read(t, filepath.Join(dir, config.Name)); got != recorded {
		t.Errorf("the file is %.100q", got)
	}
	if got := names(t, dir); got != config.Name {
		t.Errorf("the folder has %s", got)
	}
}

func TestRemovingAMountPointTakesMountsOffAndNothingElse(t *testing.T) {
	data := hostDir(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("stacked"), 0o700))
	for range 3 {
		must(t, unix.Mount(data, at("stacked"), "", unix.MS_BIND, ""))
	}
	write(t, at("file"), "")
	must(t, unix.Mount(filepath.Join(data, "file"), at("file"), "", unix.MS_BIND, ""))
	must(t, os.Mkdir(at("busy"), 0o700))
	must(t, unix.Mount(data, at("busy"), "", unix.MS_BIND, ""))
	f, err := os.Open(filepath.Join(at("busy"), "file"))
	must(t, err)
	defer f.Close()
	must(t, os.Mkdir(at("none"), 0o700))
	for _, name := range []string{"stacked", "file", "busy", "none", "missing", "no/parent"} {
		if err := mountpoint.Remove(at(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		gone(t, at(name))
		if mounted(t, at(name)) {
			t.Errorf("%s is still mounted", name)
		}
	}
	if got := read(t, filepath.Join(data, "file")); got != "hi" {
		t.Errorf("the mounted file became %q", got)
	}
}

func TestRemovingAMountPointKeepsWhatHasContent(t *testing.T) {
	dir := t.TempDir()
	point := filepath.Join(dir, "point")
	write(t, filepath.Join(point, "below/the/mount"), "mine")
	must(t, unix.Mount("tmpfs", point, "tmpfs", 0, ""))
	if err := mountpoint.Remove(point); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("%v, want ENOTEMPTY", err)
	}
	if mounted(t, point) {
		t.Error("it is still mounted")
	}
	if got := read(t, filepath.Join(point, "below/the/mount")); got != "mine" {
		t.Errorf("below the mount there is %q", got)
	}

	// A link to a mount point is a link.
	must(t, unix.Mount("tmpfs", point, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(point, 0)) })
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(point, link))
	must(t, mountpoint.Detach(link))
	if !mounted(t, point) {
		t.Error("the link was followed")
	}
	must(t, mountpoint.Remove(link))
	gone(t, link)
	if !mounted(t, point) {
		t.Error("the link was followed")
	}
	must(t, mountpoint.Detach(filepath.Join(point, "gone")))
}

func TestACgroupIsFoundFromTheProcess(t *testing.T) {
	h := hold(t, nil)
	for _, below := range []string{"", "/inner", "/init.scope", "/inner/init.scope"} {
		dir := h.cgroupDir() + below
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(dir+"/cgroup.procs", []byte(fmt.Sprint(h.pid)), 0))
		want := h.cgroupDir() + strings.TrimSuffix(below, "/init.scope")
		for _, path := range []string{"", "relative", "system.slice:isulad:" + h.id} {
			got, err := (&cgroup.Container{Path: path, PID: h.pid}).V1("devices")
			if err != nil || got != want {
				t.Errorf("%q of a process in %s: %s, %v, want %s", path, dir, got, err, want)
			}
		}
	}
	// An absolute path needs no process.
	got, err := (&cgroup.Container{Path: h.cgroup + "/../" + h.id, PID: -1}).V1("devices")
	if err != nil || got != h.cgroupDir() {
		t.Errorf("%s, %v, want %s", got, err, h.cgroupDir())
	}
}

// Lines may be as long as all that a cgroup's path can be, and more: what is not
// read to its end is an error, and not a controller that the process has none of.
func TestACgroupIsFoundWhateverStandsAroundIt(t *testing.T) {
	const line = "7:devices:/found\n"
	for name, c := range map[string]struct{ text, want, says string }{
		"alone":                    {line, "/found", ""},
		"behind a long line":       {"9:memory:/" + strings.Repeat("x", 100_000) + "\n" + line, "/found", ""},
		"behind many lines":        {strings.Repeat("9:memory:/x\n", 10_000) + line, "/found", ""},
		"not there":                {"9:memory:/x\n", "", `no hierarchy with the controller "devices"`},
		"behind more than is read": {"9:memory:/" + strings.Repeat("x", 2<<20) + "\n" + line, "", "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, nil)
			list := fmt.Sprintf("/proc/%d/cgroup", h.pid)
			file := filepath.Join(t.TempDir(), "cgroup")
			write(t, file, c.text)
			must(t, unix.Mount(file, list, "", unix.MS_BIND, ""))
			t.Cleanup(func() { must(t, unix.Unmount(list, unix.MNT_DETACH)) })
			got, err := (&cgroup.Container{PID: h.pid}).V1("devices")
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %q, %v, want an error that says %q", got, err, c.says)
				}
				return
			}
			if want := "/sys/fs/cgroup/devices" + c.want; err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestAStartRecordOfEitherGenerationIsFoundAndRemoved(t *testing.T) {
	for i, g := range place.Generations {
		id := fmt.Sprintf("start-record-%d", i)
		if _, err := container.ReadStart(id); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("before: %v, want ErrNotExist", err)
		}
		want := container.Start{Init: process.ID{PID: 7, Start: uint64(i)}, Bundle: "/b"}
		must(t, container.WriteStart(g, id, want))
		got, err := container.ReadStart(id)
		if err != nil || got.Init != want.Init {
			t.Errorf("%s: %v, %v", g.Tool, got, err)
		}
		write(t, filepath.Join(g.Starts(), "."+id+".new"), "what a kill left")
		for range 2 { // also when it is gone
			must(t, container.RemoveStart(id))
		}
		if got := names(t, g.Starts()); got != "" {
			t.Errorf("%s: left %s", g.Tool, got)
		}
	}
	write(t, filepath.Join(place.Syscontainer.Starts(), "broken"), "{")
	if _, err := container.ReadStart("broken"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a broken record: %v, want an error", err)
	}
	must(t, container.RemoveStart("broken"))
}
