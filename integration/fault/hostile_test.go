//go:build linux && amd64

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// trap is something that an image puts in the way of the hook.
type trap struct {
	path string // in the image
	make func(path string) error
	what string
}

// nested tells whether a line is about the mount point of one bind inside of
// another: with /mnt/rw leading to /etc, /goldhost/rw is the container's /etc,
// and /etc/bound lies in it, as the container, which may write there, could have
// arranged itself.
func (t trap) nested(line string) bool {
	return t.path == "/mnt/rw" && t.what == "a link to /etc" && strings.Contains(line, "/bound: f 0644 0:0 ")
}

// TestHostileImage starts containers whose image leads out of its root, or has
// something else where the hook wants to work. Whatever the hook makes of it, nothing
// outside of the container's root changes, and it ends with 0 or a clear 1.
func TestHostileImage(t *testing.T) {
	for _, name := range []string{"not pivoted", pivoted} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.options = []string{name} // the first says nothing to a holder
			w.learn()
			tries, violations, refused := 0, 0, 0
			for _, tr := range traps() {
				w.reset()
				path := filepath.Join(image, tr.path)
				must(t, os.MkdirAll(filepath.Dir(path), 0o755))
				must(t, os.RemoveAll(path))
				must(t, tr.make(path))
				lines, code := w.spring(tr.path)
				lines = slices.DeleteFunc(lines, tr.nested)
				tries++
				violations += len(lines)
				refused += code
				if len(lines) > 0 {
					t.Error(short(fmt.Sprintf("%s is %s:\n\t%s", tr.path, tr.what, strings.Join(lines, "\n\t"))))
				}
			}
			t.Logf("hostile image, %s: %d traps, %d starts refused, %d violations", name, tries, refused, violations)
		})
	}
}

// traps lists, for everything that the hook touches in an image, what may
// stand there instead.
func traps() []trap {
	var all []trap
	everything := []trap{
		{what: "a link to /", make: linkTo("/")},
		{what: "a link to the host's directory", make: linkTo(victim + "/dir")},
		{what: "a link up to the host's directory", make: linkTo("../../../../../../../.." + victim + "/dir")},
		{what: "a link up and up", make: linkTo("../../../../../../..")},
		{what: "a link to the host's empty directory", make: linkTo(victim + "/empty")},
		{what: "a link to the host's file", make: linkTo(victim + "/file")},
		{what: "a link up to the host's file", make: linkTo("../../../../../../../.." + victim + "/file")},
		{what: "a dangling link to the host", make: linkTo(victim + "/dir/new")},
		{what: "a dangling link up to the host", make: linkTo("../../../../../../../.." + victim + "/new")},
		{what: "a link to /etc", make: linkTo("/etc")},
		{what: "a link to the host's /dev", make: linkTo("../../../../../../../../dev")},
		{what: "a link to the root of the container's init", make: linkTo("/proc/1/root" + victim + "/dir")},
		{what: "a link to the root of its reader", make: linkTo("/proc/self/root" + victim + "/dir")},
		{what: "a link to a file below the root of the container's init", make: linkTo("/proc/1/root" + victim + "/file")},
		{what: "a dangling link below the root of the container's init", make: linkTo("/proc/1/root" + victim + "/new")},
		{what: "a link to the working directory of the container's init", make: linkTo("/proc/1/cwd/../../../../.." + victim)},
		{what: "a link to the host's shared path", make: linkTo("/proc/1/root/.sharedpath/master")},
		{what: "a link to itself", make: linkTo("self")},
		{what: "a FIFO", make: func(p string) error { return unix.Mkfifo(p, 0o600) }},
		{what: "a socket", make: func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) }},
		{what: "a file", make: func(p string) error { return os.WriteFile(p, []byte("image\n"), 0o600) }},
		{what: "an empty directory", make: func(p string) error { return os.Mkdir(p, 0o700) }},
		{what: "a full directory", make: fullDir},
		{what: "another device", make: func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 3, 0, 0) }},
		{what: "a block device", make: func(p string) error { return sandbox.Mknod(p, unix.S_IFBLK|0o600, 7, 0, 0, 0) }},
	}
	for _, path := range []string{
		"/dev", "/dev/one", "/dev/sub", "/dev/sub/two", // devices
		"/mnt", "/mnt/rw", "/mnt/deep", "/mnt/deep/ro", "/mnt/made", "/etc", "/etc/bound", // binds
		"/.sharedpath",
	} {
		for _, tr := range everything {
			tr.path = path
			all = append(all, tr)
		}
	}
	return all
}

// linkTo makes a link; "self" one that leads to itself.
func linkTo(target string) func(string) error {
	return func(p string) error {
		if target == "self" {
			return os.Symlink(filepath.Base(p), p)
		}
		return os.Symlink(target, p)
	}
}

func fullDir(p string) error {
	if err := os.Mkdir(p, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p, "image-file"), []byte("image\n"), 0o600)
}

// elsewhere is what the host's file systems have of this test, but for where a
// start has to do with them: the image, the host's data, which is checked by
// itself, and what the fingerprint covers.
func (w *world) elsewhere() facts {
	w.t.Helper()
	changed, err := sandbox.Changed()
	must(w.t, err)
	all := facts{}
	for path, n := range changed {
		at := func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
		if !slices.ContainsFunc([]string{image, hostDir, "/.sharedpath", "/var/lib/isulad"}, at) {
			all["file "+path] = fmt.Sprintf("%s %d bytes", n, n.Size)
		}
	}
	return all
}

// spring runs the hooks over the image as it is, with a trap at path.
func (w *world) spring(path string) (lines []string, code int) {
	w.t.Helper()
	before, elsewhere := w.fingerprint(), w.elsewhere()
	w.start(imageDev)
	mountsBefore := w.mountsOutside()

	res := w.run("prestart", supervisor.Fault{})
	lines = w.badEnd("prestart", res, 0, 1)
	if res.ExitCode == 1 {
		lines = append(lines, notOneLine(res)...)
	} else if strings.HasPrefix(path, "/dev") { // what a misled bind covers is the container's own loss
		lines = append(lines, w.devicesReachable()...)
	}
	lines = append(lines, w.dataTouched()...)
	lines = append(lines, w.recordsDamaged()...)
	lines = append(lines, prefix("host", elsewhere.diff(w.elsewhere()))...)
	for _, line := range before.Diff(w.fingerprint(), "cgroup "+w.cgroup) {
		if !w.expected(line) {
			lines = append(lines, "host: "+line)
		}
	}
	for _, line := range mountsBefore.diff(w.mountsOutside()) {
		if !w.expected(line) {
			lines = append(lines, "in the container's namespace, outside of its root: "+line)
		}
	}
	w.stop()
	return append(lines, w.cleanStop()...), res.ExitCode
}

// expected tells whether an undisturbed start changes the host so too.
func (w *world) expected(line string) bool {
	key, _, _ := strings.Cut(strings.TrimLeft(line, "+~ "), ": ")
	key, _, _ = strings.Cut(key, " root=")
	for fact := range w.reference.started {
		fact, _, _ = strings.Cut(fact, " root=")
		if strings.TrimLeft(strings.TrimPrefix(fact, "host "), "+~ ") == key {
			return true
		}
	}
	return false
}

// mountsOutside are the mounts of the container's namespace that are not below
// its root. Pivoted, it has none.
func (w *world) mountsOutside() facts {
	w.t.Helper()
	mounts, err := sandbox.Mounts(w.holder.Pid)
	must(w.t, err)
	all := facts{}
	for _, m := range mounts {
		if w.holder.rootfs != "/" && m.Mountpoint != image && !strings.HasPrefix(m.Mountpoint, image+"/") {
			all["mount "+sandbox.MountLine(m)] += "+"
		}
	}
	return all
}

// devicesReachable checks that a start that succeeded has its devices, where
// the container finds them.
func (w *world) devicesReachable() []string {
	w.t.Helper()
	var lines []string
	root, err := unix.Open(w.holder.root(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(w.t, err)
	defer unix.Close(root)
	for path, want := range map[string]uint64{"dev/one": unix.Mkdev(10, 229), "dev/sub/two": unix.Mkdev(10, 200)} {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
		fd, err := unix.Openat2(root, path, &how)
		for errors.Is(err, unix.EAGAIN) { // somebody on this machine renamed or mounted meanwhile (openat2(2))
			fd, err = unix.Openat2(root, path, &how)
		}
		if err != nil {
			lines = append(lines, fmt.Sprintf("exit 0, but /%s in the container: %v", path, err))
			continue
		}
		var st unix.Stat_t
		must(w.t, unix.Fstat(fd, &st))
		unix.Close(fd)
		if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != want {
			lines = append(lines, fmt.Sprintf("exit 0, but /%s in the container is mode %#o, device %d:%d", path, st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev)))
		}
	}
	return lines
}
