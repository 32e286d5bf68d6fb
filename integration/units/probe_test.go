package units

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/resource"
)

// Whether nodes work is tried by a null device. What else has its name is the
// image's: opening it alone might mean something, and it stays what it is.
func TestTheProbeOpensNothingOfTheImages(t *testing.T) {
	const name = ".isulad-tools-probe"
	for what, c := range map[string]struct {
		make func(path string) error
		want string // what stands there afterwards; "": nothing
	}{
		"nothing":                 {func(string) error { return nil }, ""},
		"a null device of a kill": {func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 3, 0, 0) }, ""},
		"a device":                {func(p string) error { return sandbox.Mknod(p, unix.S_IFCHR|0o600, 1, 11, 0, 0) }, "c 0600 0:0 1:11"},
		"a disk of those numbers": {func(p string) error { return sandbox.Mknod(p, unix.S_IFBLK|0o600, 1, 3, 0, 0) }, "b 0600 0:0 1:3"},
		"a FIFO":                  {func(p string) error { return unix.Mkfifo(p, 0o600) }, "p 0600 0:0"},
		"a file":                  {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "f 0600 0:0"},
		"a link":                  {func(p string) error { return os.Symlink("/dev/kmsg", p) }, "l 0777 0:0 -> /dev/kmsg"},
		"a directory":             {func(p string) error { return os.Mkdir(p, 0o700) }, "d 0700 0:0"},
	} {
		t.Run(what, func(t *testing.T) {
			h := hold(t, nil, userns, imageDev)
			target := h.target(t, resource.MappedRoot{UID: mappedRoot, GID: mappedRoot})
			target.UserNS = true
			must(t, share(t, target))
			dir := h.image + "/mydev"
			must(t, os.Mkdir(dir, 0o755))
			must(t, c.make(filepath.Join(dir, name)))
			opens := opensIn(t, dir)
			d := fuse(t, "/mydev/node")
			must(t, addDevice(t, target, d))
			if got := opens(name); c.want != "" && got != 0 {
				t.Errorf("it was opened %d times", got)
			}
			node(t, dir+"/node", "c 0640 100000:100000 10:229")
			if c.want == "" {
				gone(t, filepath.Join(dir, name))
			} else {
				node(t, filepath.Join(dir, name), c.want)
			}
			if left, want := names(t, dir), strings.TrimSpace(name+" node"); c.want != "" && left != want || c.want == "" && left != "node" {
				t.Errorf("got %q in the directory", left)
			}
		})
	}
}

// opensIn counts the opens of each name in a directory from now on.
func opensIn(t testing.TB, dir string) (count func(name string) int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_OPEN)
	must(t, err)
	return func(name string) (n int) {
		b := make([]byte, 1<<16)
		got, err := unix.Read(fd, b)
		if errors.Is(err, unix.EAGAIN) {
			return 0
		}
		must(t, err)
		for b = b[:got]; len(b) > 0; {
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			if strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00") == name {
				n++
			}
			b = b[size:]
		}
		return n
	}
}
