// Package scenario starts real containers through the hook, as an operator's
// would, and looks from inside.
package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// hooks is hookspec.json with the hook where an installation has it.
func hooks(t *testing.T) sandbox.Hooks {
	t.Helper()
	path := filepath.Join(t.TempDir(), "isulad-hooks")
	if err := os.Symlink(sandbox.Binary(t), path); err != nil {
		t.Fatal(err)
	}
	at := func(stage string) []sandbox.Hook {
		return []sandbox.Hook{{Path: path, Args: []string{"isulad-hooks", "--state", stage}, Env: []string{}}}
	}
	return sandbox.Hooks{Prestart: at("prestart"), Poststart: at("poststart"), Poststop: at("poststop")}
}

func TestContainerHasItsResources(t *testing.T) {
	graph := t.TempDir()
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "f"), []byte("hi\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &sandbox.Bundle{Dir: filepath.Join(graph, "engines/runc", id), ID: id, Hooks: hooks(t)}
	if err := sandbox.Rootfs(filepath.Join(b.Dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	if err := sandbox.WriteBundle(b); err != nil {
		t.Fatal(err)
	}
	recorded := `{"bindToAdd":["` + data + `:/data:rw,rslave","` + data + `:/ro/data2:rw,rslave","` + data + `/f:/f:ro"],` +
		`"deviceToAdd":[{"Type":"c","Minor":229,"Major":10,"PathOnHost":"/dev/fuse","PathInContainer":"/dev/sub/fuse","CgroupPermissions":"rw","Parent":""}]}`
	if err := os.WriteFile(filepath.Join(b.Dir, "device_hook.json"), []byte(recorded), 0o600); err != nil {
		t.Fatal(err)
	}
	runc := sandbox.Runc{Root: t.TempDir()}
	var before sandbox.Fingerprint
	for round := range 3 {
		if err := runc.Run(id, b.Dir); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			script, want string
			fails        bool
		}{
			{"cat /data/f /ro/data2/f /f", "hi\nhi\nhi\n", false},
			{"echo x > /f", "Read-only file system", true},
			{"echo x > /data/new && rm /data/new", "", false},
			{"exec 3<>/dev/sub/fuse", "", false},
			{"mknod /dev/mem c 1 1 && exec 3</dev/mem", "Operation not permitted", true},
			{"touch /.sharedpath/x", "Read-only file system", true},
		} {
			out, err := runc.Exec(id, "sh", "-c", c.script)
			if (err != nil) != c.fails || !strings.Contains(out, c.want) && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %q, %v", c.script, out, err)
			}
		}
		if err := errors.Join(runc.Stop(id), runc.Delete(id)); err != nil {
			t.Fatal(err)
		}
		after, err := sandbox.TakeFingerprint()
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 { // the directories that stay are there now
			before = after
		}
		for _, d := range before.Diff(after) {
			t.Errorf("left on the host: %s", d)
		}
	}
}
