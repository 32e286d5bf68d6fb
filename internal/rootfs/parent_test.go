package rootfs

import (
	"os"
	"path/filepath"
	"testing"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/undo"
)

// The directory of files that are made one after another is opened once, and no longer
// kept than the files are in it.
func TestTheParentStaysOpenForTheNextFile(t *testing.T) {
	top := t.TempDir()
	dir, err := open.File(top, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &Root{dir: dir, pid: os.Getpid()}
	own := Owner{UID: os.Getuid(), GID: os.Getgid()}
	parent := func(p string) *Parent {
		t.Helper()
		var u undo.Stack
		d, base, err := r.Parent(p, own, &u)
		if err != nil || base != filepath.Base(p) {
			t.Fatalf("Parent(%s) = %q, %v", p, base, err)
		}
		return d
	}
	first := parent("/dev/a")
	if again := parent("dev/b"); again != first {
		t.Error("the directory of /dev/a was opened again for /dev/b")
	}
	if _, err := first.Stat(); err != nil {
		t.Errorf("the directory in use: %v", err)
	}
	other := parent("/dev/sub/a")
	if _, err := first.Stat(); other == first || err == nil {
		t.Errorf("for /dev/sub/a: the same directory %v, the one before: %v, want it closed", other == first, err)
	}
	r.Leave()
	if err := os.Remove(top + "/dev/sub"); err != nil {
		t.Fatal(err)
	}
	if back := parent("/dev/sub/b"); back == other {
		t.Error("after Leave the directory that is gone is used")
	}
	if err := r.Close(); err != nil || r.parent != nil {
		t.Errorf("Close: %v, the parent is kept: %v", err, r.parent != nil)
	}
}
