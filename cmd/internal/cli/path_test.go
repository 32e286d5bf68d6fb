package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/mounts"
)

func TestAPathArgument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for link, target := range map[string]string{"dangling": "nowhere", "loop": "loop"} {
		t.Run(link, func(t *testing.T) {
			if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		dir + ":/x":                dir + ":/x:rw,rslave",
		dir + "/:/x/../y//":        dir + ":/y:rw,rslave",
		dir + ":/x:rslave,ro":      dir + ":/x:rslave,ro",
		dir + "/file:/f:rprivate":  dir + "/file:/f:rprivate",
		dir + "/new/deep:/../../x": dir + "/new/deep:/x:rw,rslave",
		dir + ":/.sharedpaths:rw":  dir + ":/.sharedpaths:rw",

		"":                         "invalid path specification: ",
		"/a":                       "invalid path specification: /a",
		"/a:/b:rw:x":               "invalid path specification: /a:/b:rw:x",
		"a:/b":                     "invalid path specification:a:/b, only absolute path is allowed",
		"/a:":                      "invalid path specification:/a:, only absolute path is allowed",
		":/b:rw":                   "invalid path specification::/b:rw, only absolute path is allowed",
		"/a:/b:":                   "invalid permissions: ",
		"/a:/b:rw,ro":              "invalid permissions: rw,ro",
		"/a:/b:private,rslave":     "invalid permissions: private,rslave",
		dir + ":/x\xff":            "not UTF-8, which device_hook.json cannot hold: rename the path",
		dir + ":/.sharedpath":      "/.sharedpath in the container is the shared path, by which host paths arrive: choose another path",
		dir + ":/x/../.sharedpath": "/.sharedpath in the container is the shared path, by which host paths arrive: choose another path",
		dir + ":/.sharedpath/x/y":  "/.sharedpath in the container is the shared path, by which host paths arrive: choose another path",
		dir + "/dangling:/x":       dir + "/dangling is a link to nowhere, which does not exist",
		dir + "/dangling/new:/x":   dir + "/dangling is a link to nowhere, which does not exist",
		dir + "/loop:/x":           "too many levels of symbolic links",
		dir + "/file/x:/x":         "not a directory",

		dir + ":/x/" + strings.Repeat("n", 256):      "file name too long",
		dir + ":/" + strings.Repeat("long/", 900):    "file name too long",
		dir + "/" + strings.Repeat("n", 256) + ":/x": "file name too long",
	} {
		t.Run(arg, func(t *testing.T) {
			binds, err := parseBinds([]string{arg}, func(b mounts.Bind) error { return addable(nil, b, false) })
			if err == nil {
				if got := binds[0].String(); got != want {
					t.Errorf("%q is %q, want %q", arg, got, want)
				}
				return
			}
			if !strings.HasPrefix(err.Error(), "Failed to parse bind: "+arg+", ") || !strings.HasSuffix(err.Error(), want) || !errors.As(err, new(bareError)) {
				t.Errorf("%q: %v, want %q", arg, err, want)
			}
		})
	}
	if err := addable(nil, mounts.Bind{Host: dir + "/new", Container: "/x", Options: "rw"}, true); err == nil || !strings.Contains(err.Error(), "is optional") {
		t.Errorf("optional and missing: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("parsing made something: %v, %v", entries, err)
	}
}

// pathGrammar is that of arguments, apart from the options.
var pathGrammar = regexp.MustCompile(`\A(/[^:]*):(/[^:]*)(?::([^:]*))?\z`)

func FuzzPathArgument(f *testing.F) {
	for _, arg := range []string{"/a:/b", "/a:/b:ro,rslave", "a:b", "", ":::", "/a:/b:", "/a/../..:/.sharedpath", "/\xff:/b", "//:/./:rw", "/a:/b:rw,rw", "/a\n:/b"} {
		f.Add(arg)
	}
	options := []string{"ro", "rw", "private", "rprivate", "rslave"}
	f.Fuzz(func(t *testing.T, arg string) {
		b, err := parseBind(arg)
		m := pathGrammar.FindStringSubmatch(arg)
		valid := m != nil
		if valid && strings.Count(arg, ":") == 2 {
			list := strings.Split(m[3], ",")
			access := slices.DeleteFunc(slices.Clone(list), func(o string) bool { return !strings.HasPrefix(o, "r") || len(o) != 2 })
			valid = len(list)-len(access) <= 1 && len(access) <= 1 && !slices.ContainsFunc(list, func(o string) bool { return !slices.Contains(options, o) })
		}
		if (err == nil) != valid {
			t.Fatalf("%q: %v, want accepted: %v", arg, err, valid)
		}
		if err != nil {
			return
		}
		if again, err := parseBind(b.String()); err != nil || again != b {
			t.Fatalf("%q is %q, and that is %q, %v", arg, b, again, err)
		}
		if filepath.Clean(b.Host) != b.Host || filepath.Clean(b.Container) != b.Container {
			t.Fatalf("%q is recorded as %q", arg, b)
		}
		if addable(nil, b, false) == nil {
			data, err := json.Marshal(b)
			var got mounts.Bind
			if err = errors.Join(err, json.Unmarshal(data, &got)); err != nil || got != b {
				t.Fatalf("%q is written as %s, which is %q, %v", arg, data, got, err)
			}
		}
	})
}

// stopped is a container that does not run, with these records.
func stopped(t *testing.T, records string) (root, file string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "gold")
	file = filepath.Join(dir, "device_hook.json")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		filepath.Join(dir, "state.json"): `{"id":"gold","config":{"labels":["bundle=` + dir + `"]}}`, file: records,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root, file
}

func TestAHundredAndTwentyEightPathsAreAllThatAContainerIsGiven(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range maxPaths - 1 {
		records = append(records, fmt.Sprintf(`"/:/m%d:rw"`, i))
	}
	root, file := stopped(t, `{"bindToAdd":[`+strings.Join(records, ",")+`]}`)
	code, stdout, stderr := run(t, root, "add-path", "gold", "/:/one:rw", "/:/two:rw", "/:/three:rw")
	if code != 1 || stdout != "Add path (/) to container(gold,/one) done.\n" || stderr != "Failed to add path: Path already reach max limit\n" {
		t.Errorf("exit code %d, printed %q and %q", code, stdout, stderr)
	}
	// One that goes makes room for one, also when more than that are recorded.
	if code, _, stderr := run(t, root, "remove-path", "gold", "/:/m0"); code != 0 {
		t.Errorf("remove: %s", stderr)
	}
	if code, _, stderr := run(t, root, "add-path", "gold", "/:/two:rw"); code != 0 {
		t.Errorf("add: %s", stderr)
	}
	if data, err := os.ReadFile(file); err != nil || strings.Count(string(data), "/:/") != maxPaths {
		t.Errorf("recorded: %s, %v", data, err)
	}
}

func TestRemovePathGoesOnAndJoinsErrors(t *testing.T) {
	t.Parallel()
	root, file := stopped(t, `{"bindToAdd":["/a:/x:ro,rw","/b:/y:rw"],"optionalPaths":["/a:/x:ro,rw"],"future":1}`)
	code, stdout, stderr := run(t, root, "remove-path", "gold", "/q:/q", "/a/:/x/.:rprivate", "/a:/x")
	no := func(pair string) string {
		return "Path pair(" + pair + ") is not added by isulad-tools, can not remove it, please check input parameter"
	}
	if diff := cmp.Diff([]string{"Remove path (/a) from container(gold,/x) done\n", "Failed to remove path: " + no("/q:/q") + " " + no("/a:/x") + "\n"}, []string{stdout, stderr}); diff != "" || code != 1 {
		t.Errorf("exit code %d (-want +got)\n%s", code, diff)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != `{"bindToAdd":["/b:/y:rw"],"future":1}`+"\n" {
		t.Errorf("recorded: %s, %v", data, err)
	}
}

func TestADryRunTellsAndChangesNothing(t *testing.T) {
	t.Parallel()
	const records = ` {"bindToAdd":["/:/x:rw"]}`
	root, file := stopped(t, records)
	missing := filepath.Join(root, "missing")
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"add-path", "--dry-run", "gold", missing + ":/y"}, 0, "would add path " + missing + ":/y:rw,rslave, at the next start\n", ""},
		{[]string{"add-path", "--dry-run", "--optional", "gold", "/:/y:rw"}, 0, "would add path /:/y:rw, at the next start\n", ""},
		{
			[]string{"add-path", "--dry-run", "gold", "/:/y:rw", "/:/x:rw", "/:/z:rw"},
			1, "would add path /:/y:rw, at the next start\n",
			"Failed to add path: AddPath: failed to UpdateBind, err: Mount more than one host paths to a single path in container\n",
		},
		{[]string{"remove-path", "--dry-run", "gold", "/:/x"}, 0, "would remove path /:/x:rw, at the next start\n", ""},
	} {
		code, stdout, stderr := run(t, root, c.args...)
		if code != c.code || stdout != c.stdout || stderr != c.stderr {
			t.Errorf("%q: exit code %d, printed %q and %q", c.args, code, stdout, stderr)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != records {
		t.Errorf("recorded: %s, %v", data, err)
	}
	if _, err := os.Lstat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the host path was made: %v", err)
	}
}

func TestAnOptionalPathIsMarkedBesideItsRecord(t *testing.T) {
	t.Parallel()
	root, file := stopped(t, `{"bindToAdd":["/:/x:rw"]}`)
	if code, _, stderr := run(t, root, "add-path", "--optional", "gold", "/:/y:rw", "/:/x:rw"); code != 1 {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != `{"bindToAdd":["/:/x:rw","/:/y:rw"],"optionalPaths":["/:/y:rw"]}`+"\n" {
		t.Errorf("recorded: %s, %v", data, err)
	}
	if code, _, stderr := run(t, root, "add-path", "--optional", "gold", root+"/missing:/z"); code != 1 || !strings.Contains(stderr, root+"/missing does not exist, and is optional") {
		t.Errorf("a missing one: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := run(t, root, "remove-path", "gold", "/:/y"); code != 0 {
		t.Error(stderr)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != `{"bindToAdd":["/:/x:rw"]}`+"\n" {
		t.Errorf("recorded: %s, %v", data, err)
	}
}
