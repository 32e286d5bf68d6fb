package network

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"isula.org/isulad-tools/internal/place"
)

func TestANamespaceOfNoProcessIsNotPinned(t *testing.T) {
	t.Parallel()
	g := place.Generation{RunDir: filepath.Join(t.TempDir(), "run")}
	if err := Pin(g, "abc", 1<<30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
	if pins, err := os.ReadDir(g.NetNS()); err != nil || len(pins) != 0 {
		t.Errorf("left %v, %v", pins, err)
	}
}
