package mountpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMkdirGivesAnExactModeAndKeepsWhatIsThere(t *testing.T) { // not parallel: the umask is the process's
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	dir := filepath.Join(t.TempDir(), "d")
	mode := func() fs.FileMode {
		t.Helper()
		info, err := os.Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if err := Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := mode(); got != fs.ModeDir|0o755 {
		t.Errorf("made %v, want 0755", got)
	}
	if err := Mkdir(dir, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mode(); got != fs.ModeDir|0o755 {
		t.Errorf("a directory that was there became %v", got)
	}
	if err := Mkdir(filepath.Join(dir, "no/parent"), 0o700); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent: %v, want ErrNotExist", err)
	}
}

func TestADirectoryIsEmptiedWhileThereIsTime(t *testing.T) { // row by row
	path := t.TempDir()
	for _, name := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(path, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, c := range []struct {
		name  string
		until time.Time
		want  error
		left  int
	}{
		{"the time is over", time.Now().Add(-time.Second), errLate, 2},
		{"there is time", time.Now().Add(time.Hour), nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := empty(dir, c.until); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			left, err := os.ReadDir(path)
			if err != nil || len(left) != c.left {
				t.Errorf("got %v, %v, want %d entries", left, err, c.left)
			}
		})
	}
}
