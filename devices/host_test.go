package devices

import (
	"os"
	"testing"
)

// What one start, or one command, records, allows and makes is one device, whatever comes
// under its name meanwhile.
func TestAHostIsLookedAtOnce(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/node"
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	record := Device{Type: "c", Major: 9, Minor: 9, PathOnHost: path, PathInContainer: "/dev/x", CgroupPermissions: "rw"}
	var once Host
	numbers := func(h *Host) string {
		t.Helper()
		now, renewed, err := h.resolve(record)
		if err != nil || !renewed {
			t.Fatalf("renewed %v, %v", renewed, err)
		}
		return now.numbers()
	}
	if got := numbers(&once); got != "1:3" {
		t.Fatalf("/dev/null has %s", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", path); err != nil {
		t.Fatal(err)
	}
	if got := numbers(&once); got != "1:3" {
		t.Errorf("looked at again: %s", got)
	}
	if got := once.Look([]Device{record})[0]; got.numbers() != "1:3" || !got.link || got.err != nil {
		t.Errorf("Look: %+v, want 1:3 by a link", got)
	}
	if got := numbers(nil); got != "1:5" {
		t.Errorf("a nil Host says %s, want that of now", got)
	}
}
