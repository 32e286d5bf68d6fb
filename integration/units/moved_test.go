package units

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// hiding is what a container can do to keep a path that it was given at /a/x. Most
// of it takes CAP_SYS_ADMIN.
var hiding = []struct {
	name string
	do   func(h *fakeContainer) error
}{
	{"the folder above is renamed", func(h *fakeContainer) error {
		return firstOf(os.Rename(h.at("/a"), h.at("/z")), os.Symlink(strings.Repeat("n", 300), h.at("/a")))
	}},
	{"it is moved", func(h *fakeContainer) error {
		return firstOf(os.Mkdir(h.at("/z"), 0o755), unix.Mount(h.at("/a/x"), h.at("/z"), "", unix.MS_MOVE, ""))
	}},
	{"it is moved, and cut off", func(h *fakeContainer) error {
		return firstOf(unix.Mount("", h.at("/a/x"), "", unix.MS_PRIVATE|unix.MS_REC, ""), os.Mkdir(h.at("/z"), 0o755),
			unix.Mount(h.at("/a/x"), h.at("/z"), "", unix.MS_MOVE, ""))
	}},
	{"it has copies, shared among themselves", func(h *fakeContainer) error {
		return firstOf(unix.Mount("", h.at("/a/x"), "", unix.MS_SHARED|unix.MS_REC, ""), os.Mkdir(h.at("/z"), 0o755), os.Mkdir(h.at("/y"), 0o755),
			unix.Mount(h.at("/a/x"), h.at("/z"), "", unix.MS_BIND, ""), unix.Mount(h.at("/a/x/sub"), h.at("/y"), "", unix.MS_BIND, ""))
	}},
	{"it is copied to where no path leads, and unmounted", func(h *fakeContainer) error {
		at := h.at("/a")
		dir, err := unix.Open(at, unix.O_PATH, 0)
		for range 30 {
			if err != nil {
				return err
			}
			name, up := strings.Repeat("n", 240), dir
			err = unix.Mkdirat(up, name, 0o755)
			if err == nil {
				dir, err = unix.Openat(up, name, unix.O_PATH, 0)
			}
			unix.Close(up)
		}
		defer unix.Close(dir)
		return firstOf(err, unix.Mount(h.at("/a/x"), fmt.Sprint(dir), "", unix.MS_BIND|unix.MS_REC, ""), unix.Unmount(h.at("/a/x"), unix.MNT_DETACH))
	}},
	{"a part of it is bound, cut off, and it unmounted", func(h *fakeContainer) error {
		return firstOf(os.Mkdir(h.at("/z"), 0o755), unix.Mount(h.at("/a/x/sub"), h.at("/z"), "", unix.MS_BIND, ""),
			unix.Mount("", h.at("/z"), "", unix.MS_PRIVATE, ""), unix.Unmount(h.at("/a/x"), unix.MNT_DETACH))
	}},
}

// changePaths does one change to what is recorded of paths, as a command does.
func changePaths(t *testing.T, dir string, target *resource.Target, plan func(*resource.Edit[mounts.Bind])) *resource.Task {
	t.Helper()
	doc, err := config.Load(dir)
	must(t, err)
	change := resource.NewChange(doc, resource.Stop)
	edit, err := mounts.Kind.Edit(change)
	must(t, err)
	plan(edit)
	must(t, change.Do(t.Context(), target))
	return change.Tasks[0]
}

func TestNothingThatAContainerDoesKeepsAPath(t *testing.T) {
	for _, c := range hiding {
		for _, options := range []string{"rw,rslave", "ro", "rw,private"} {
			t.Run(c.name+" "+options, func(t *testing.T) {
				ways(t, func(image string) { must(t, os.MkdirAll(image+"/a/x", 0o755)) }, func(t *testing.T, h *fakeContainer, target *resource.Target) {
					dir, host, own := t.TempDir(), hostDir(t), hostDir(t)
					h.keepLedger(t, target, ledger.Tree{Path: own})
					write(t, host+"/sub/file", "secret")
					// The specification has a path of the same file system, too.
					must(t, os.Mkdir(h.root+"/spec", 0o755))
					bindFrom(t, target, own, h.at("/spec"))
					before := h.mountsOf(t)
					b, other := mounts.Bind{Host: host, Container: "/a/x", Options: options}, bindOf(hostDir(t), "/mnt/other")
					changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) })
					if got := read(t, h.root+"/a/x/sub/file"); got != "secret" {
						t.Fatalf("the path has %q", got)
					}
					changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(other) })
					within(t, target, func() error { return c.do(h) })
					task := changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) })
					if task.Err != nil || task.Warning != nil {
						t.Errorf("%v, warning %v", task.Err, task.Warning)
					}
					must(t, mounts.Kind.Verify(t.Context(), target, other))
					changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(other) })
					if after := h.mountsOf(t); after != before {
						t.Errorf("the container had the mounts\n%s\nand has\n%s", before, after)
					}
				})
			})
		}
	}
}

// bindFrom binds a path of the host in the container's mount namespace, where the
// kernel can.
func bindFrom(t *testing.T, target *resource.Target, host, point string) {
	t.Helper()
	fd, err := unix.OpenTree(unix.AT_FDCWD, host, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if lacks(unix.SYS_OPEN_TREE) {
		if !target.Pivoted { // it has the host's tree in its namespace
			within(t, target, func() error { return unix.Mount(host, point, "", unix.MS_BIND, "") })
		}
		return
	}
	must(t, err)
	defer unix.Close(fd)
	within(t, target, func() error { return unix.MoveMount(fd, "", unix.AT_FDCWD, point, unix.MOVE_MOUNT_F_EMPTY_PATH) })
}

// Of two paths with one host path only the one that is meant goes, wherever the
// container has it.
func TestAPathGoesWithoutItsTwin(t *testing.T) {
	h, target := shared(t, func(image string) { must(t, os.MkdirAll(image+"/a/x", 0o755)) })
	h.keepLedger(t, target)
	dir, host := t.TempDir(), hostDir(t)
	x, y := bindOf(host, "/a/x"), bindOf(host, "/mnt/y")
	for _, b := range []mounts.Bind{x, y} {
		changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) })
	}
	must(t, os.Rename(h.root+"/a", h.root+"/z"))
	task := changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(x) })
	must(t, task.Err)
	must(t, mounts.Kind.Verify(t.Context(), target, y))
	if at := h.mountAt(t, "/z/x"); at != "" {
		t.Errorf("still mounted: %s", at)
	}
}

// inNamespace starts a command, which ends as cat, in the container's cgroup, and returns
// its number when it is there.
func inNamespace(t *testing.T, h *fakeContainer, command ...string) int {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	leash, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { leash.Close(); must(t, cmd.Wait()) })
	must(t, os.WriteFile(filepath.Join(h.cgroupDir(), "cgroup.procs"), []byte(fmt.Sprint(cmd.Process.Pid)), 0))
	for { // until it has its namespace, and is the program in it
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)); err == nil && string(name) == "cat\n" {
			return cmd.Process.Pid
		}
		time.Sleep(time.Millisecond)
	}
}

// A process of the container may have a mount namespace of its own.
func TestAPathGoesFromNamespacesOfTheContainersProcesses(t *testing.T) {
	h, target := shared(t, nil)
	h.keepLedger(t, target)
	dir, b := t.TempDir(), bindOf(hostDir(t), "/mnt/x")
	changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) })
	service := inNamespace(t, h, "nsenter", "-t", fmt.Sprint(h.pid), "-m", "--", "unshare", "-m", "--propagation", "private", "cat")
	if !strings.Contains(mountsOf(t, service), h.at("/mnt/x")+" ") {
		t.Fatal("it does not have it")
	}
	must(t, changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) }).Err)
	for _, pid := range []int{h.pid, service} {
		if left := mountsOf(t, pid); strings.Contains(left, h.at("/mnt/x")+" ") {
			t.Errorf("process %d still has it", pid)
		}
	}
}

// What cannot be reached is said, with who has it; the record stays unless the
// operator knows better.
func TestAPathThatIsHeldStaysRecorded(t *testing.T) {
	for _, forget := range []bool{false, true} {
		h, target := shared(t, nil)
		h.keepLedger(t, target)
		dir, b := t.TempDir(), bindOf(hostDir(t), "/mnt/x")
		changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b) })
		within(t, target, func() error { return unix.Mount("tmpfs", h.at("/mnt"), "tmpfs", 0, "") })
		task := changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b).Forget = forget })
		said, file := task.Err, read(t, filepath.Join(dir, config.Name))
		if forget {
			said = task.Warning
		}
		if said == nil || !strings.Contains(said.Error(), "mounted over /mnt/x") {
			t.Errorf("forget %v: %v, %v", forget, task.Err, task.Warning)
		}
		if stays := strings.Contains(file, "/mnt/x"); stays == forget {
			t.Errorf("forget %v: the file holds %s", forget, file)
		}
		within(t, target, func() error { return unix.Unmount(h.at("/mnt"), unix.MNT_DETACH) })
	}
}
