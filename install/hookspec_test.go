package install

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/internal/place"
)

const ourHook = "/var/lib/isulad/hooks/isulad-hooks"

func spelled(t *testing.T, hook string) string {
	t.Helper()
	content, err := hookSpec(hook)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestAnEditedHookSpecSurvivesInstallAndUninstall(t *testing.T) {
	t.Parallel()
	ours := spelled(t, ourHook)
	for name, edited := range map[string]string{
		"a time-out":    strings.ReplaceAll(ours, `"env":[]`, `"env":["A=b"],"timeout":60`),
		"another hook":  strings.Replace(ours, `"prestart":[`, `"prestart":[{"path":"/bin/true"},`, 1),
		"white space":   strings.ReplaceAll(ours, ",", ",\n\t"),
		"unknown stage": strings.Replace(ours, "{", `{"createRuntime":3,`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if !json.Valid([]byte(edited)) {
				t.Fatalf("%s: the test's own JSON is broken: %s", name, edited)
			}
			put(t, root, two[0], edited, 0o600)
			out := mustInstall(t, root, "", build(t, "v1"))
			if !strings.Contains(out, "kept") || read(t, root, two[0]) != edited {
				t.Errorf("%s: install did not keep it:\n%s", name, out)
			}
			out = mustUninstall(t, root)
			if !strings.Contains(out, "left") || read(t, root, two[0]) != edited {
				t.Errorf("%s: uninstall did not leave it:\n%s", name, out)
			}
			if got := files(t, root, false); len(got) != 1 {
				t.Errorf("%s: left %v", name, got)
			}
		})
	}
}

func TestAHookSpecThatDoesNotRunOurHookIsReplacedAndKept(t *testing.T) {
	t.Parallel()
	ours := spelled(t, ourHook)
	for name, foreign := range map[string]string{
		"empty":               "",
		"broken":              ours[:len(ours)-3],
		"trailing text":       ours + "x",
		"null":                "null",
		"another type":        `{"prestart":{"path":"` + ourHook + `"},"poststop":3}`,
		"another hook":        strings.ReplaceAll(ours, ourHook, "/opt/other"),
		"no clean-up":         `{"prestart":[{"path":"` + ourHook + `"}]}`,
		"too large":           strings.Repeat(" ", limit) + ours,
		"edited, other graph": strings.ReplaceAll(spelled(t, "/data/hooks/isulad-hooks"), `"env":[]`, `"timeout":9`),
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, two[0], foreign, 0o600)
			mustInstall(t, root, "", build(t, "v1"))
			if read(t, root, two[0]) != ours {
				t.Errorf("%s: not replaced", name)
			}
			if read(t, root, two[0]+".isulad-tools-backup") != foreign {
				t.Errorf("%s: not kept", name)
			}
			mustUninstall(t, root)
			if read(t, root, two[0]) != foreign {
				t.Errorf("%s: not brought back", name)
			}
		})
	}
}

func TestAHookSpecOfOursForAnotherGraphRootIsReplacedWithoutABackup(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "/data/isulad", build(t, "v1"))
	if got := read(t, root, two[0]); got != spelled(t, "/data/isulad/hooks/isulad-hooks") {
		t.Errorf("for /data/isulad: %s", got)
	}
	mustInstall(t, root, "", build(t, "v1"))
	if got := read(t, root, two[0]); got != spelled(t, ourHook) {
		t.Errorf("for the default: %s", got)
	}
	kept, err := filepath.Glob(filepath.Join(root, "etc/*/*backup*"))
	if err != nil || len(kept) != 0 {
		t.Errorf("backups of our own: %v, %v", kept, err)
	}
}

func TestUninstallFindsTheGraphRootItWasInstalledFor(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "/data/isulad", build(t, "v1"))
	put(t, root, place.DaemonJSON, "{ broken", 0o600) // since then
	mustUninstall(t, root)
	if got := files(t, root, false); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}

func TestAFifoInPlaceOfAFileDoesNotHang(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, path := range []string{two[0], six[0]} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := mkfifo(full); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, root, false)
	mustInstall(t, root, "", build(t, "v1"))
	mustUninstall(t, root)
	if after := files(t, root, false); len(after) != 2 || after[two[0]] != before[two[0]] {
		t.Errorf("left %v", after)
	}
}

func FuzzHookSpec(f *testing.F) {
	ours, err := hookSpec(ourHook)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ours)
	f.Add([]byte(`{"prestart":[{"path":3}],"poststop":[null]}`))
	f.Add([]byte(`{"prestart":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		// Ours always serves; nothing that does not serve is taken for ours.
		if hook := forISula.writtenFor(content); hook != "" && !forISula.serves(content, hook) {
			t.Errorf("%q is ours but does not serve %q", content, hook)
		}
	})
}
