package units

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/ledger"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// holderName is argv[0] of a process that holds a container's namespaces.
const holderName = "isulad-tools-units-holder"

// fakeContainer is a container as a hook finds it: namespaces and mounts are there.
type fakeContainer struct {
	pid    int
	image  string // its root file system, a path of the host
	root   string // the same as the container sees it, with its mounts
	cgroup string // a path in the device hierarchy
	id     string
	leash  io.Writer // what its process is told
	ready  *bufio.Reader
}

// options of a holder.
type option string

const (
	pivoted  option = "pivoted"   // the root has been changed: lcr, and any container that runs
	userns   option = "userns"    // root is mappedRoot on the host
	imageDev option = "image-dev" // the image's own /dev, not a tmpfs
	ipcns    option = "ipcns"     // it has an IPC namespace of its own
)

const mappedRoot = 100000

func has(list []option, o option) bool {
	for _, x := range list {
		if x == o {
			return true
		}
	}
	return false
}

// hold starts a container. prepare may change its image first.
func hold(t testing.TB, prepare func(image string), options ...option) *fakeContainer {
	t.Helper()
	h := &fakeContainer{image: filepath.Join(t.TempDir(), "image"), id: strings.ToLower(fmt.Sprintf("c%d", time.Now().UnixNano()))}
	for _, d := range []string{"proc", "dev", "etc", "mnt"} {
		must(t, os.MkdirAll(filepath.Join(h.image, d), 0o755))
	}
	for d := h.image; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755)) // for a root that is not the host's
	}
	if prepare != nil {
		prepare(h.image)
	}
	args := []string{h.image}
	for _, o := range options {
		args = append(args, string(o))
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = holderName
	cmd.Env = []string{"GORACE=atexit_sleep_ms=0"} // else each takes a second to end, with -race
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID}
	if has(options, userns) {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: mappedRoot, Size: 1000}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	if has(options, ipcns) {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWIPC
	}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	ready, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		must(t, cmd.Wait())
	})
	h.leash, h.ready = stdin, bufio.NewReader(ready)
	h.await(t)
	h.pid = cmd.Process.Pid
	h.root = fmt.Sprintf("/proc/%d/root%s", h.pid, h.image)
	if has(options, pivoted) {
		h.root = fmt.Sprintf("/proc/%d/root", h.pid)
	}
	h.cgroup = filepath.Join(sandbox.CgroupParent(), h.id)
	dir := h.cgroupDir()
	must(t, os.MkdirAll(dir, 0o755))
	for _, w := range [][2]string{{"devices.deny", "a"}, {"devices.allow", "c *:* m"}, {"devices.allow", "c 1:3 rwm"}, {"cgroup.procs", strconv.Itoa(h.pid)}} {
		must(t, os.WriteFile(filepath.Join(dir, w[0]), []byte(w[1]), 0))
	}
	return h
}

func (h *fakeContainer) await(t testing.TB) {
	t.Helper()
	if _, err := h.ready.ReadString('\n'); err != nil {
		t.Fatalf("the holder did not get ready: %v", err)
	}
}

// chroot has the holder's process change its root directory.
func (h *fakeContainer) chroot(t testing.TB, dir string) {
	t.Helper()
	_, err := fmt.Fprintln(h.leash, dir)
	must(t, err)
	h.await(t)
}

func (h *fakeContainer) cgroupDir() string { return "/sys/fs/cgroup/devices" + h.cgroup }

// allowed is the container's device list.
func (h *fakeContainer) allowed(t testing.TB) string {
	t.Helper()
	return read(t, h.cgroupDir()+"/devices.list")
}

// target is what the engine is given for the container. It is closed when the
// test ends.
func (h *fakeContainer) target(t testing.TB, own resource.MappedRoot) *resource.Target {
	t.Helper()
	root, err := rootfs.OfProcess(h.pid, "container "+h.id, nil)
	must(t, err)
	if !strings.HasSuffix(h.root, "/root") {
		top := root
		root, err = top.Sub(h.image)
		must(t, errors.Join(err, top.Close()))
	}
	t.Cleanup(func() { root.Close() })
	ns, err := nsenter.EnterMount(h.pid, "container "+h.id, nil)
	must(t, err)
	t.Cleanup(ns.Close)
	must(t, ns.Do(func() error { return nil })) // from now on there is a thread instead of two files
	init, err := process.ByPID(h.pid)
	must(t, err)
	target := &resource.Target{ID: h.id, Init: init, Root: root, Owner: own, NS: ns, MountsPID: h.pid, Net: rtnl.OfProcess(h.pid), Cgroups: cgroup.Container{Path: h.cgroup, PID: h.pid}}
	t.Cleanup(target.Net.Close)
	t.Cleanup(func() { target.Cgroups.Close() }) // whichever a test puts there
	return target
}

// keepLedger gives target a ledger, as a command or a hook has it.
func (h *fakeContainer) keepLedger(t testing.TB, target *resource.Target, trees ...ledger.Tree) {
	t.Helper()
	var err error
	target.Ledger, err = ledger.Open(place.Isulad, h.id, ledger.Start{Init: target.Init, Trees: trees})
	must(t, err)
	t.Cleanup(func() { must(t, target.Ledger.Remove()) })
}

// hostOwner is the owner of a container without a user namespace.
var hostOwner = resource.MappedRoot{UID: -1, GID: -1}

// mountAt is the mount that the container has at a path of its own, as a line.
func (h *fakeContainer) mountAt(t testing.TB, path string) string {
	t.Helper()
	list, err := sandbox.Mounts(h.pid)
	must(t, err)
	dir := h.image
	if strings.HasSuffix(h.root, "/root") {
		dir = "/"
	}
	last := ""
	for _, m := range sandbox.MountsBelow(list, dir) {
		if m.Mountpoint == path {
			last = sandbox.MountLine(m)
		}
	}
	return last
}

// mountsOf is the container's mount table.
func (h *fakeContainer) mountsOf(t testing.TB) string {
	t.Helper()
	return mountsOf(t, h.pid)
}

// holderMain is the holder's own side.
func holderMain(args []string) error {
	image := args[0]
	var options []option
	for _, a := range args[1:] {
		options = append(options, option(a))
	}
	type step struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}
	steps := []step{
		{"", "/", "", unix.MS_SLAVE | unix.MS_REC, ""},
		{image, image, "", unix.MS_BIND | unix.MS_REC, ""},
		{"", image, "", unix.MS_PRIVATE, ""},
		{"proc", image + "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	}
	if !has(options, imageDev) {
		steps = append(steps, step{"tmpfs", image + "/dev", "tmpfs", unix.MS_NOSUID, "mode=755,size=1m"})
	}
	for _, s := range steps {
		if err := unix.Mount(s.source, s.target, s.fstype, s.flags, s.data); err != nil {
			return fmt.Errorf("holder: mount %s on %s: %w", s.source, s.target, err)
		}
	}
	if err := os.Chdir(image); err != nil {
		return err
	}
	if has(options, pivoted) {
		if err := unix.PivotRoot(".", "."); err != nil {
			return os.NewSyscallError("pivot_root", err)
		}
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return os.NewSyscallError("umount2", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
	}
	fmt.Println("ready")
	told := bufio.NewScanner(os.Stdin)
	for told.Scan() {
		if err := unix.Chroot(told.Text()); err != nil {
			return os.NewSyscallError("chroot", err)
		}
		fmt.Println("done")
	}
	return told.Err()
}
