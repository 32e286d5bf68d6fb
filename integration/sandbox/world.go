package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// pseudo are the file systems that the sandbox mounts afresh or does not need;
// every other mount of the host gets a throw-away layer of its own.
var pseudo = map[string]bool{
	"proc": true, "sysfs": true, "devtmpfs": true, "devpts": true, "mqueue": true, "cgroup": true, "cgroup2": true,
	"debugfs": true, "tracefs": true, "securityfs": true, "selinuxfs": true, "bpf": true, "pstore": true, "configfs": true,
	"fusectl": true, "hugetlbfs": true, "autofs": true, "binfmt_misc": true, "efivarfs": true, "rpc_pipefs": true, "nsfs": true,
}

// fresh are the trees that start empty in the sandbox.
var fresh = []string{"/proc", "/sys", "/dev", "/run", "/tmp"}

// world is the sandbox while it is built.
type world struct {
	root string // what becomes the root
	wd   string // where the tests run
	host []*mountinfo.Info
	layers
}

// buildWorld turns the new namespaces into the sandbox and enters it. It returns
// the folder of the layers, which has no path any more.
func buildWorld(stage string) (*os.File, error) {
	w, err := newWorld(stage)
	if err != nil {
		return nil, err
	}
	changed, err := os.Open(w.dir)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		w.layerHost, w.mountProc, w.mountTmp, w.mountDev, w.mountSys, w.remake,
		w.exposeNeeded, w.exposeOutputs, w.exposeSelf, w.exposeBinary, w.enter,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := unix.Sethostname([]byte("sandbox")); err != nil {
		return nil, os.NewSyscallError("sethostname", err)
	}
	return changed, linkUp("lo")
}

func newWorld(stage string) (*world, error) {
	wd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	host, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(stage, "world")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := mount("sandbox", dir, "tmpfs", 0, "mode=755"); err != nil {
		return nil, err
	}
	return &world{root: filepath.Join(dir, "root"), wd: wd, host: host, layers: layers{dir: dir, hidden: hidden()}}, nil
}

// layerHost repeats the host's mounts.
func (w *world) layerHost() error {
	if err := w.layer("/", w.root); err != nil {
		return err
	}
	for _, m := range w.host {
		if err := w.layerSubmount(m); err != nil {
			return err
		}
	}
	return nil
}

// layerSubmount repeats one mount of the host below the root, read-only where an
// overlay cannot do it (single files, file systems that cannot be a lower
// layer).
func (w *world) layerSubmount(m *mountinfo.Info) error {
	p := m.Mountpoint
	if p == "/" || pseudo[m.FSType] || within(p, w.dir) || withinAny(p, fresh) || withinAny(p, w.hidden) {
		return nil
	}
	info, err := os.Stat(p)
	if err != nil {
		return nil // hidden below another mount
	}
	target := filepath.Join(w.root, p)
	if _, err := os.Lstat(target); err != nil {
		return nil
	}
	if info.IsDir() && w.layer(p, target) == nil {
		return nil
	}
	if err := mount(p, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func (w *world) mountProc() error {
	return mount("proc", filepath.Join(w.root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

func (w *world) mountTmp() error {
	if err := mount("tmpfs", filepath.Join(w.root, "run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"run/lock", "run/udev", "run/runc"} {
		if err := os.Mkdir(filepath.Join(w.root, d), 0o755); err != nil {
			return err
		}
	}
	return mount("tmpfs", filepath.Join(w.root, "tmp"), "tmpfs", unix.MS_NOSUID, "mode=1777")
}

func (w *world) mountDev() error { return mountDev(w.root) }

// mountSys mounts a sysfs of the sandbox's network namespace and binds below
// it what the host has there, above all the cgroup hierarchies.
func (w *world) mountSys() error {
	if err := mount("sysfs", filepath.Join(w.root, "sys"), "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, m := range w.host {
		if m.Mountpoint == "/sys" || !within(m.Mountpoint, "/sys") {
			continue
		}
		target := filepath.Join(w.root, m.Mountpoint)
		if _, err := os.Lstat(target); err != nil {
			continue // of another network namespace, or hidden
		}
		if err := mount(m.Mountpoint, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// remake makes the folders that every host has again, empty.
func (w *world) remake() error {
	for _, dir := range emptied {
		if err := os.MkdirAll(filepath.Join(w.root, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// enter makes root the root, forgets the host's, and makes mounts propagate
// as systemd does on a real host.
func (w *world) enter() error {
	if err := os.Chdir(w.root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	if err := os.Chdir(w.wd); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Chdir("/")
	}
	return nil
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return &os.PathError{Op: fmt.Sprintf("mount %s %q on", fstype, source), Path: target, Err: err}
	}
	return nil
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func withinAny(path string, dirs []string) bool {
	for _, d := range dirs {
		if within(path, d) {
			return true
		}
	}
	return false
}

func linkUp(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		return os.NewSyscallError("SIOCSIFFLAGS", err)
	}
	return nil
}
