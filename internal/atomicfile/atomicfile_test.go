package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestAFileIsReplacedNotChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := Write(dir, "f", []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := Write(dir, "f", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := make([]byte, 8)
	if n, _ := before.Read(old); string(old[:n]) != "old" {
		t.Errorf("who has the old file open reads %q", old[:n])
	}
	if got := read(t, path); got != "new" {
		t.Errorf("now it is %q", got)
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("besides the file: %q", list)
	}
}

func TestTheModeIsAsGivenWhateverTheUmask(t *testing.T) { // not parallel: the umask is the process's
	old := unix.Umask(0o777)
	defer unix.Umask(old)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o640, 0o644, 0o755} {
		if err := Write(dir, "f", nil, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%v, want %v", info.Mode(), mode)
		}
	}
}

func TestWhatAKilledWriteLeftIsOverwritten(t *testing.T) {
	t.Parallel()
	for what, leave := range map[string]func(path string) error{
		"half a file":    func(p string) error { return os.WriteFile(p, []byte("half of something long"), 0o400) },
		"a link":         func(p string) error { return os.Symlink(filepath.Join(filepath.Dir(p), "victim"), p) },
		"a dangling one": func(p string) error { return os.Symlink("nowhere", p) },
		"a FIFO":         func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			victim := filepath.Join(dir, "victim")
			if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := leave(filepath.Join(dir, temporary("f"))); err != nil {
				t.Fatal(err)
			}
			if err := Write(dir, "f", []byte("new"), 0o600); err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			if got := read(t, filepath.Join(dir, "f")); got != "new" {
				t.Errorf("%s: written %q", what, got)
			}
			if got := read(t, victim); got != "mine" {
				t.Errorf("%s: the link's target became %q", what, got)
			}
			if list := names(t, dir); len(list) != 2 {
				t.Errorf("%s: left %q", what, list)
			}
		})
	}
}

func TestALinkIsReplacedNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, "f", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, victim); got != "mine" {
		t.Errorf("the link's target became %q", got)
	}
	if info, err := os.Lstat(filepath.Join(dir, "f")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestAWriteThatFailsLeavesTheOldFileAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A directory cannot be replaced by a file: rename(2) is the last step.
	if err := os.MkdirAll(filepath.Join(dir, "f", "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := Write(dir, "f", []byte("new"), 0o600)
	var link *os.LinkError
	if !errors.As(err, &link) || link.New != filepath.Join(dir, "f") {
		t.Errorf("%v, want an *os.LinkError that names the file", err)
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("left %q", list)
	}
	if _, err := os.Lstat(filepath.Join(dir, "f", "in")); err != nil {
		t.Error(err)
	}

	err = Write(filepath.Join(dir, "gone"), "f", nil, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v, want ErrNotExist", err)
	}
	// Something that cannot be removed is where the temporary file goes.
	if err := os.MkdirAll(filepath.Join(dir, temporary("g"), "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	var path *fs.PathError
	if err := Write(dir, "g", nil, 0o600); !errors.As(err, &path) || path.Path != filepath.Join(dir, temporary("g")) {
		t.Errorf("with a directory in its way: %v, want an error that names it", err)
	}
}

func TestReadersSeeAWholeFileAtAnyMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 150_000)}
	if err := Write(dir, "f", content[0], 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				got, err := os.ReadFile(filepath.Join(dir, "f"))
				if err != nil || !bytes.Equal(got, content[0]) && !bytes.Equal(got, content[1]) {
					t.Errorf("read %d bytes, %v", len(got), err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 20 {
		if err := Write(dir, "f", content[i%2], 0o600); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

func TestSweepRemovesTheTemporaryFileAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"f", temporary("f"), temporary("g")} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // also when it is gone
		if err := Sweep(dir, "f"); err != nil {
			t.Fatal(err)
		}
	}
	if list := names(t, dir); len(list) != 2 || list[0] != temporary("g") || list[1] != "f" {
		t.Errorf("left %q", list)
	}
	if err := Sweep(filepath.Join(dir, "gone"), "f"); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}
