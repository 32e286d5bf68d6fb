package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
)

// run runs the tool on containers that runc keeps in root. It does not log to this
// machine's syslog.
func run(t testing.TB, root string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, msg bytes.Buffer
	a := App{
		Name: "isulad-tools", Version: "test", Stdout: &out, Stderr: &msg,
		Hook:      func(stage string, _ []string) int { t.Errorf("hook %s was run", stage); return 0 },
		UdevEvent: func([]string) int { t.Error("the udev helper was run"); return 0 },
	}
	code = a.Run(append([]string{"isulad-tools", "--syslog-service", "unix:///no/such/socket", "--engine", "runc:" + root}, args...))
	return code, out.String(), msg.String()
}

func TestListedAreDisksAndPartitionsWithoutOne(t *testing.T) {
	t.Parallel()
	disk, char, part := devices.Device{PathOnHost: "/dev/sda"}, devices.Device{PathOnHost: "/dev/null"}, devices.Device{PathOnHost: "/dev/sda1", Parent: "/dev/sda"}
	if diff := cmp.Diff([]devices.Device{disk, char}, disks([]devices.Device{disk, part, char, part})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := disks([]devices.Device{char, part}); !slices.Equal(got, []devices.Device{char, part}) {
		t.Errorf("without its disk got %v, want the partition, too", got)
	}
}

func TestNothingIsPrintedForNothing(t *testing.T) {
	t.Parallel()
	for _, pretty := range []bool{false, true} {
		var out bytes.Buffer
		for _, v := range []any{nilIfEmpty([]mounts.Bind(nil)), nilIfEmpty([]mounts.Bind{}), nilIfEmpty(disks(nil))} {
			if err := printJSON(&out, v, pretty); err != nil || out.Len() != 0 {
				t.Errorf("%v: %q, %v", v, &out, err)
			}
		}
	}
}

func TestAListOfAContainerWithoutItsDirectoryIsAnError(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bundle := runcContainer(t, root, "c1", "A=b")
	if err := os.RemoveAll(bundle); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"list-device", "list-path", "list-nic", "list-route", "list-module"} {
		t.Run(list, func(t *testing.T) {
			code, stdout, stderr := run(t, root, list, "c1")
			if code != 1 || stdout != "" || !strings.Contains(stderr, bundle) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, %q, %q, want one line that names %s", code, stdout, stderr, bundle)
			}
		})
	}
}

// fullDisk is a standard output that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestAListThatCannotBePrintedIsAnError(t *testing.T) {
	t.Parallel()
	if err := printJSON(fullDisk{}, []string{"x"}, false); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestPersonalitiesAreGivenTheirArgumentsAsTheyAre(t *testing.T) {
	t.Parallel()
	var got []string
	a := App{
		Name: "isulad-tools", Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{},
		Hook:      func(stage string, args []string) int { got = append([]string{stage}, args...); return 7 },
		UdevEvent: func(args []string) int { got = append([]string{"udev"}, args...); return 0 },
	}
	for _, c := range []struct {
		args, want []string
		code       int
	}{
		{[]string{"prestart"}, []string{"prestart"}, 7},
		{[]string{"poststop", "--log", "x", "--with-relabel"}, []string{"poststop", "--log", "x", "--with-relabel"}, 7},
		{[]string{"poststart", "--help"}, []string{"poststart", "--help"}, 7},
		{[]string{"udev-event", "add", "-p", "--", "x"}, []string{"udev", "add", "-p", "--", "x"}, 0},
	} {
		got = nil
		code := a.Run(append([]string{"isulad-tools"}, c.args...))
		if diff := cmp.Diff(c.want, got); diff != "" || code != c.code {
			t.Errorf("%q: exit code %d, want %d (-want +got)\n%s", c.args, code, c.code, diff)
		}
	}
}

// grammar is that of container names, as deployments know it.
var grammar = regexp.MustCompile(`\A/?[a-zA-Z0-9][a-zA-Z0-9_.-]+\z`)

func FuzzContainerName(f *testing.F) {
	for _, name := range []string{"gold", "/gold", "a", "", "..", "a..", "a/b", "a b", "gold\n", "//gold", "é1", "g_.-", strings.Repeat("x", 300), "a\x00"} {
		f.Add(name)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		code, stdout, stderr := run(t, root, "list-path", "--", name)
		if code != 1 || stdout != "" {
			t.Fatalf("%q: exit code %d, printed %q", name, code, stdout)
		}
		refused := stderr == "Invalid container name ("+name+"), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed\n"
		if refused == grammar.MatchString(name) {
			t.Fatalf("%q: %q", name, stderr)
		}
	})
}

// FuzzResourceFile: whatever stands in the file, the commands print JSON or
// fail in words.
func FuzzResourceFile(f *testing.F) {
	for _, content := range []string{
		``, `null`, `{}`, `{"bindToAdd":["/a:/b:rw"]}`, `{"bindToAdd":["/a:/b"]}`, `{"deviceToAdd":[{"Major":"x"}]}`,
		`{"deviceToAdd":[{"Type":"c","Parent":"x"},{}]}`, `{"bindToAdd":["a:b:c","a:b:c"]}`, `{"bindToAdd":[1],"deviceToAdd":["x"]}`,
	} {
		f.Add([]byte(content))
	}
	root := f.TempDir()
	dir := filepath.Join(root, "gold")
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"id":"gold","config":{"labels":["bundle=`+dir+`"]}}`), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, "device_hook.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"list-path", "list-device"} {
			code, stdout, stderr := run(t, root, command, "--pretty", "gold")
			what := strings.TrimPrefix(command, "list-")
			switch {
			case code == 0 && stderr == "" && (stdout == "" || strings.HasPrefix(stdout, "[\n") && strings.HasSuffix(stdout, "]\n")):
			case code == 1 && stdout == "" && strings.HasPrefix(stderr, "Failed to list "+what+" in container: "):
			default:
				t.Fatalf("%q: exit code %d, stdout %q, stderr %q", content, code, stdout, stderr)
			}
		}
	})
}
