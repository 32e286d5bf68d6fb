package mountpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

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
