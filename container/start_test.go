package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// generation has its run directory in a temporary one.
func generation(t *testing.T) place.Generation {
	t.Helper()
	return place.Generation{RunDir: filepath.Join(t.TempDir(), "run")}
}

var started = Start{
	Engine: "lcr", Init: process.ID{PID: 4711, Start: 18446744073709551615}, Bundle: "/g/engines/lcr/" + lcrID,
	Root: "/root/my<rootfs>", Cgroups: Cgroups{"devices": "/sys/fs/cgroup/devices/isulad/" + lcrID},
}

func TestAStartRecordIsReadAsWritten(t *testing.T) {
	t.Parallel()
	g := generation(t)
	for _, want := range []Start{{Init: process.ID{PID: 1, Start: 1}}, started} { // the second replaces the first
		if err := WriteStart(g, lcrID, want); err != nil {
			t.Fatal(err)
		}
		got, err := readStart(filepath.Join(g.Starts(), lcrID))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-written +read)\n%s", diff)
		}
	}
	for path, want := range map[string]fs.FileMode{
		g.RunDir: fs.ModeDir | 0o644, g.Starts(): fs.ModeDir | 0o700, filepath.Join(g.Starts(), lcrID): 0o600,
	} {
		t.Run(path, func(t *testing.T) {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != want {
				t.Errorf("%s is %v, want %v", path, info.Mode(), want)
			}
		})
	}
	if entries, err := os.ReadDir(g.Starts()); err != nil || len(entries) != 1 {
		t.Errorf("besides the record: %v, %v", entries, err)
	}
}

func TestABrokenStartRecordIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lcrID)
	if _, err := readStart(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v, want ErrNotExist", err)
	}
	for _, content := range []string{``, `{`, `[]`, `"x"`, `{"init":7}`, `{"init":{"pid":"7"}}`, `{"cgroups":["x"]}`, `{} {}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readStart(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, %v, want an error that names the file", content, got, err)
		}
	}
}

func FuzzStart(f *testing.F) {
	f.Add([]byte(`{"engine":"lcr","init":{"pid":4711,"start":18446744073709551615},"bundle":"/b","root":"/r","cgroups":{"devices":"/d"}}`))
	f.Add([]byte(`{"init":null,"cgroups":null}`))
	f.Add([]byte(`{"init":{"pid":1e400}}`))
	path := filepath.Join(f.TempDir(), lcrID)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readStart(path)
		if err != nil && (!strings.Contains(err.Error(), path) || strings.ContainsAny(err.Error(), "\n\r")) {
			t.Fatalf("%q: %q", content, err)
		}
	})
}
