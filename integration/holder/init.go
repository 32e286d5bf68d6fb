package holder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// setup is what init is told.
type setup struct {
	Rootfs   string
	Pivoted  bool
	UserNS   bool
	ReadOnly bool
	ImageDev bool
	Hostname string
}

// initMain is the first process of the container, in its new namespaces. It
// makes the mounts, says so, waits for the end of prestart, and then runs what it
// is told.
func initMain(args []string) error {
	runtime.LockOSThread() // which forks: capabilities are a thread's
	var s setup
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		return err
	}
	if err := s.mount(); err != nil {
		return err
	}
	if s.Pivoted {
		if err := pivot(s.Rootfs); err != nil {
			return err
		}
	}
	if err := say("ready"); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	if line, err := in.ReadString('\n'); err != nil || line != "go\n" {
		return fmt.Errorf("not released: %q, %w", line, err)
	}
	if !s.Pivoted {
		if err := pivot(s.Rootfs); err != nil {
			return err
		}
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	return serve(in)
}

func say(word string) error {
	_, err := fmt.Println(word)
	return err
}

// step is one mount.
type step struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

func (s step) do() error {
	if err := unix.Mount(s.source, s.target, s.fstype, s.flags, s.data); err != nil {
		return fmt.Errorf("mount %q on %s: %w", s.source, s.target, err)
	}
	return nil
}

func (s setup) mount() error {
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	r := s.Rootfs
	top := uintptr(unix.MS_SLAVE) // runc: what the host mounts later arrives
	if s.Pivoted {
		top = unix.MS_PRIVATE
	}
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	steps := []step{
		{"", "/", "", top | unix.MS_REC, ""},
		{r, r, "", unix.MS_BIND | unix.MS_REC, ""},
		{"", r, "", unix.MS_PRIVATE, ""},
		{"proc", r + "/proc", "proc", plain, ""},
		{r + "/proc/sys", r + "/proc/sys", "", unix.MS_BIND, ""},
		{"", r + "/proc/sys", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | plain, ""},
		{"sysfs", r + "/sys", "sysfs", plain | unix.MS_RDONLY, ""},
	}
	if !s.ImageDev {
		steps = append(steps, step{"tmpfs", r + "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_STRICTATIME, "mode=755,size=65536k"})
	}
	for _, m := range steps {
		if err := m.do(); err != nil {
			return err
		}
	}
	if !s.ImageDev {
		if err := s.fillDev(); err != nil {
			return err
		}
	}
	// runc makes the root read-only after the hooks, with the root changed.
	if s.ReadOnly && s.Pivoted {
		return step{"", r, "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""}.do()
	}
	return nil
}

// nodes are what every runtime puts into /dev.
var nodes = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// fillDev makes the usual nodes; in a user namespace, where they could not be
// opened, the host's are bound instead.
func (s setup) fillDev() error {
	dev := filepath.Join(s.Rootfs, "dev")
	for _, n := range nodes {
		path := filepath.Join(dev, n.name)
		if !s.UserNS {
			if err := sandbox.Mknod(path, unix.S_IFCHR|0o666, n.major, n.minor, 0, 0); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return err
		}
		if err := (step{"/dev/" + n.name, path, "", unix.MS_BIND, ""}).do(); err != nil {
			return err
		}
	}
	for _, d := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dev, d), 0o755); err != nil {
			return err
		}
	}
	for _, m := range []step{
		{"devpts", dev + "/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"shm", dev + "/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV, "mode=1777,size=65536k"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	return os.Symlink("pts/ptmx", filepath.Join(dev, "ptmx"))
}

// pivot makes rootfs the root of the mount namespace; the host's is gone.
func pivot(rootfs string) error {
	if err := os.Chdir(rootfs); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	// What is below the old root must not be unmounted on the host, too.
	if err := (step{"", ".", "", unix.MS_SLAVE | unix.MS_REC, ""}).do(); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	return os.Chdir("/")
}

// dropped are the capabilities that iSulad takes from a system container; it
// leaves CAP_SYS_ADMIN.
var dropped = []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_TIME, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE, unix.CAP_BPF, unix.CAP_PERFMON}

// dropCapabilities takes them out of the bounding set, which is what an
// executed program of root gets.
func dropCapabilities() error {
	for _, c := range dropped {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return os.NewSyscallError("prctl", err)
		}
	}
	return nil
}

// order and answer are what a command inside and its end are told by.
type order struct{ Args []string }

type answer struct {
	Output string // both streams
	Exit   int
	Error  string // why it could not run
}

// serve runs commands, one after the other. They are children of this thread.
func serve(orders io.Reader) error {
	in, out := json.NewDecoder(orders), json.NewEncoder(os.Stdout)
	if err := say("running"); err != nil {
		return err
	}
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := out.Encode(run(o)); err != nil {
			return err
		}
	}
}

func run(o order) answer {
	cmd := exec.Command(o.Args[0], o.Args[1:]...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=lxc"}
	text, err := cmd.CombinedOutput()
	a := answer{Output: string(text)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		a.Exit = exit.ExitCode()
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			a.Exit = 128 + int(s.Signal())
		}
	case err != nil:
		a.Error = err.Error()
	}
	return a
}
