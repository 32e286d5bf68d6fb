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

// buildWorld turns the new namespaces into the sandbox and enters it.
func buildWorld(stage string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	host, err := mountinfo.GetMounts(nil)
	if err != nil {
		return err
	}
	world := filepath.Join(stage, "world")
	if err := os.Mkdir(world, 0o700); err != nil {
		return err
	}
	if err := mount("sandbox", world, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	root := filepath.Join(world, "root")
	if err := layer(world, "/", root); err != nil {
		return err
	}
	for _, m := range host {
		if err := layerSubmount(world, root, m); err != nil {
			return err
		}
	}
	for _, step := range []func(string) error{mountProc, mountTmp, mountDev} {
		if err := step(root); err != nil {
			return err
		}
	}
	if err := mountSys(root, host); err != nil {
		return err
	}
	if err := exposeOutputs(root); err != nil {
		return err
	}
	if err := exposeFile(root, exe); err != nil {
		return err
	}
	if err := exposeBinary(root); err != nil {
		return err
	}
	if err := enter(root, wd); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("sandbox")); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	return linkUp("lo")
}

// layer mounts at target a writable view of the file system at lower.
func layer(world, lower, target string) error {
	dir, err := os.MkdirTemp(world, "layer-")
	if err != nil {
		return err
	}
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{upper, work, target} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return mount("overlay", target, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
}

// layerSubmount repeats one mount of the host below root, read-only where an
// overlay cannot do it (single files, file systems that cannot be a lower
// layer).
func layerSubmount(world, root string, m *mountinfo.Info) error {
	p := m.Mountpoint
	if p == "/" || pseudo[m.FSType] || within(p, world) {
		return nil
	}
	for _, f := range fresh {
		if within(p, f) {
			return nil
		}
	}
	info, err := os.Stat(p)
	if err != nil {
		return nil // hidden below another mount
	}
	target := filepath.Join(root, p)
	if _, err := os.Lstat(target); err != nil {
		return nil
	}
	// Colons and commas are separators in overlay's options.
	if info.IsDir() && !strings.ContainsAny(p, ":,\\") && layer(world, p, target) == nil {
		return nil
	}
	if err := mount(p, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func mountProc(root string) error {
	return mount("proc", filepath.Join(root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

func mountTmp(root string) error {
	if err := mount("tmpfs", filepath.Join(root, "run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"run/lock", "run/udev", "run/runc"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	return mount("tmpfs", filepath.Join(root, "tmp"), "tmpfs", unix.MS_NOSUID, "mode=1777")
}

// mountSys mounts a sysfs of the sandbox's network namespace and binds below
// it what the host has there, above all the cgroup hierarchies.
func mountSys(root string, host []*mountinfo.Info) error {
	if err := mount("sysfs", filepath.Join(root, "sys"), "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, m := range host {
		if m.Mountpoint == "/sys" || !within(m.Mountpoint, "/sys") {
			continue
		}
		target := filepath.Join(root, m.Mountpoint)
		if _, err := os.Lstat(target); err != nil {
			continue // of another network namespace, or hidden
		}
		if err := mount(m.Mountpoint, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// exposeOutputs binds the directories that go test wants results written to
// (profiles, coverage) into the sandbox, where they would be lost otherwise.
func exposeOutputs(root string) error {
	paths := []string{os.Getenv("GOCOVERDIR")}
	for _, a := range os.Args[1:] {
		if name, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(name, "-test.") && name != "-test.testlogfile" {
			paths = append(paths, value)
		}
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			continue
		}
		info, err := os.Stat(p)
		if err != nil || !info.IsDir() {
			p = filepath.Dir(p)
			if info, err = os.Stat(p); err != nil || !info.IsDir() {
				continue
			}
		}
		if p != "/" {
			if err := bindDir(root, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// exposeFile makes the host's file visible in the sandbox unless it is.
func exposeFile(root, file string) error {
	target := filepath.Join(root, file)
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(target, nil, 0o755); err != nil {
		return err
	}
	return mount(file, target, "", unix.MS_BIND, "")
}

func bindDir(root, dir string) error {
	target := filepath.Join(root, dir)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return mount(dir, target, "", unix.MS_BIND, "")
}

// enter makes root the root, forgets the host's, and makes mounts propagate
// as systemd does on a real host.
func enter(root, wd string) error {
	if err := os.Chdir(root); err != nil {
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
	if err := os.Chdir(wd); err != nil {
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
