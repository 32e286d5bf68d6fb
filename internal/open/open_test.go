package open

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inPlaces are what may stand where a file should: how it is made, and what an
// error calls it.
var inPlaces = []struct {
	name string
	make func(path string) error
	want string
}{
	{"FIFO", func(p string) error { return unix.Mkfifo(p, 0o600) }, "not a regular file"},
	{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "directory"},
	{"device", func(p string) error { return os.Symlink("/dev/null", p) }, "not a regular file: a device"},
	{"socket", listen, "not a regular file"},
	{"link to a FIFO", func(p string) error { return errors.Join(unix.Mkfifo(p+".fifo", 0o600), os.Symlink(p+".fifo", p)) }, "not a regular file"},
}

func listen(p string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: p})
}

// soon fails the test when do has not returned within a minute: it waits for ever.
func soon(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
		return nil
	}
}

func TestWhatIsNoFileIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name string
		open func(path string) error
	}{
		{"read", func(p string) error { _, err := Read(p, 100); return err }},
		{"open to read", func(p string) error { return closed(Regular(p, unix.O_RDONLY, 0)) }},
		{"open to write", func(p string) error { return closed(Regular(p, unix.O_WRONLY|unix.O_CREAT, 0o600)) }},
		{"open for both", func(p string) error { return closed(Regular(p, unix.O_RDWR|unix.O_CREAT, 0o600)) }},
	}
	for _, there := range inPlaces {
		for _, way := range ways {
			t.Run(way.name+" "+there.name, func(t *testing.T) {
				t.Parallel()
				p := filepath.Join(t.TempDir(), "file")
				if err := there.make(p); err != nil {
					t.Fatal(err)
				}
				err := soon(t, func() error { return way.open(p) })
				if err == nil || !strings.Contains(err.Error(), there.want) || !strings.Contains(err.Error(), p) {
					t.Errorf("%v, want an error with %q and %s", err, there.want, p)
				}
			})
		}
	}
}

func closed(f *os.File, err error) error {
	if err == nil {
		f.Close()
	}
	return err
}

func TestReadReturnsTheContentWithinALimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		size, limit int
		fails       bool
	}{
		{"nothing", 0, 10, false},
		{"less than the limit", 9, 10, false},
		{"the limit", 10, 10, false},
		{"more than the limit", 11, 10, true},
		{"more than one read", 100_000, 200_000, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := filepath.Join(t.TempDir(), "file")
			want := bytes.Repeat([]byte("x"), c.size)
			if err := os.WriteFile(p, want, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Read(p, c.limit)
			if (err != nil) != c.fails || !c.fails && !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d, an error %v", len(got), err, len(want), c.fails)
			}
		})
	}
}

func TestReadOfNothingSaysSo(t *testing.T) {
	t.Parallel()
	if _, err := Read(filepath.Join(t.TempDir(), "file"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}
}

// Files of /proc have a size of 0, and of /sys one of a page, whatever is in them.
func TestReadGoesByTheContentNotTheSize(t *testing.T) {
	t.Parallel()
	for path, limit := range map[string]int{"/proc/self/status": 1 << 20, "/sys/kernel/notes": 1 << 20, "/sys/kernel/uevent_seqnum": 30} {
		t.Run(path, func(t *testing.T) {
			got, err := Read(path, limit)
			if err != nil || len(got) == 0 {
				t.Errorf("%s: %.20q, %v; want its content", path, got, err)
			}
		})
	}
}

// Who gets a file from here reads it as any other: no poller is asked.
func TestARegularFileIsLeftBlocking(t *testing.T) {
	t.Parallel()
	f, err := Regular(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#x, %v; want none of O_NONBLOCK", flags, err)
	}
}

func TestAFileThatIsHeldStaysOpen(t *testing.T) {
	t.Parallel()
	a, errA := File("/dev/null", unix.O_RDONLY, 0)
	b, errB := File("/dev/zero", unix.O_RDONLY, 0)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	fds := []int{int(a.Fd()), int(b.Fd())}
	err := Hold(func() error {
		a.Close()
		b.Close()
		for _, fd := range fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
				t.Errorf("closed: %v", err)
			}
		}
		return unix.EPERM
	}, a, b)
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("%v, want what the function returns", err)
	}
	if err := Hold(func() error { t.Error("was run"); return nil }, a); err == nil {
		t.Errorf("%v, want that it is closed", err)
	}
}
