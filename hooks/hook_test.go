package hooks

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/place"
)

// run is one run of the hook program, with a log of its own. Only what cannot
// get far is run here: these tests share the machine.
func run(t *testing.T, stdin io.Reader, args ...string) (code int, stderr, log string) {
	t.Helper()
	t.Cleanup(func() { signal.Reset(unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM) })
	file := filepath.Join(t.TempDir(), "log")
	var out, msg bytes.Buffer
	h := Hook{
		Generation: place.Generation{Hook: "isulad-hooks", RunDir: filepath.Join(t.TempDir(), "run")},
		Stdin:      stdin, Stdout: &out, Stderr: &msg,
	}
	code = h.Run("isulad-hooks", append([]string{"--log", file}, args...))
	if out.Len() != 0 {
		t.Errorf("%q: wrote %q on standard output", args, &out)
	}
	logged, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return code, msg.String(), string(logged)
}

// refused checks that a run failed with one line that says want, also in the log.
func refused(t *testing.T, what string, code int, stderr, log, want string) {
	t.Helper()
	line, ok := strings.CutSuffix(stderr, "\n")
	if code != 1 || !ok || strings.Contains(line, "\n") || !strings.Contains(line, want) {
		t.Errorf("%s: exit code %d, %q, want 1 and one line with %q", what, code, stderr, want)
	}
	if strings.Count(log, "\n") != 1 || !strings.Contains(log, "level=error") {
		t.Errorf("%s: logged %q, want the error", what, log)
	}
}

func TestAStageThatDoesNotExistIsRefused(t *testing.T) {
	for _, args := range [][]string{{}, {"--state", ""}, {"surplus", "--state", "prestart"}, {"--with-relabel"}} {
		code, stderr, log := run(t, strings.NewReader("{}"), args...)
		refused(t, fmt.Sprint(args), code, stderr, log, "no --state: want one of prestart, poststart, poststop")
	}
	for _, stage := range []string{"prestop", "Prestart", " prestart", "createRuntime", "pre\nstart"} {
		code, stderr, log := run(t, strings.NewReader("{}"), "--state", stage)
		refused(t, stage, code, stderr, log, "unknown --state")
	}
}

func TestFlagsAreAsTheOldHookHasThem(t *testing.T) {
	for _, args := range [][]string{
		{"--state", "prestart"},
		{"-state", "prestart"},
		{"--state=prestart"},
		{"-state=prestart", "--with-relabel"},
		{"--with-relabel=true", "--state", "prestart"},
		{"--state", "prestart", "surplus", "--unknown"},
		{"--state", "poststop", "--state", "prestart"},
	} {
		code, stderr, log := run(t, strings.NewReader("{}"), args...)
		refused(t, fmt.Sprint(args), code, stderr, log, "standard input")
	}
	for _, args := range [][]string{{"--bogus"}, {"--state"}, {"--with-relabel=maybe"}} {
		if code, stderr, _ := run(t, strings.NewReader("{}"), args...); code != 2 || stderr == "" {
			t.Errorf("%q: exit code %d, %q, want 2 and the usage", args, code, stderr)
		}
	}
	if code, stderr, _ := run(t, strings.NewReader("{}"), "--help"); code != 0 || !strings.Contains(stderr, "-with-relabel") {
		t.Errorf("--help: exit code %d, %q", code, stderr)
	}
}

func TestPoststartSucceedsWhateverItIsGiven(t *testing.T) {
	for name, stdin := range map[string]io.Reader{
		"nothing":   strings.NewReader(""),
		"garbage":   strings.NewReader("\x00\xff garbage"),
		"a state":   bytes.NewReader(sample(t, "state-runc-poststart.json")),
		"an error":  iotest.ErrReader(os.ErrClosed),
		"nil":       nil,
		"a failure": strings.NewReader(`{"id":"../..","pid":-7}`),
	} {
		t.Run(name, func(t *testing.T) {
			code, stderr, log := run(t, stdin, "--state", "poststart", "surplus")
			if code != 0 || stderr != "" || log != "" {
				t.Errorf("%s: exit code %d, stderr %q, log %q", name, code, stderr, log)
			}
		})
	}
}

func TestGarbageOnStandardInputIsOneLineAndAnExitCode(t *testing.T) {
	for _, stage := range []string{"prestart", "poststop"} {
		for _, in := range []string{"", "garbage", "null", "[]", `{"id":"../../etc"}`, `{"id":"a\nb"}`, "{\n\n", strings.Repeat("x", maxStateInput+1)} {
			code, stderr, log := run(t, strings.NewReader(in), "--state", stage)
			refused(t, fmt.Sprintf("%s of %.20q", stage, in), code, stderr, log, "standard input")
			if len(stderr) > 4096 {
				t.Errorf("%s of %.20q: %d bytes on stderr", stage, in, len(stderr))
			}
		}
	}
}

// stateOf is the state of a container whose init is process pid.
func stateOf(pid int, bundle string) io.Reader {
	return strings.NewReader(fmt.Sprintf(`{"id":"no-such-container","pid":%d,"bundle":%q,"root":"/nonexistent/root"}`, pid, bundle))
}

// contents are the files in a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

func TestPrestartOfAContainerThatCannotBeServedChangesNothing(t *testing.T) {
	const device = `{"Type":"c","Minor":3,"Major":1,"PathOnHost":"/dev/null","PathInContainer":"/dev/n","CgroupPermissions":"rwm","Parent":""}`
	for _, c := range []struct{ name, config, recorded, want string }{
		{"no config.json", "", `{}`, "config.json"},
		{"a broken config.json", `{"process":7}`, `{}`, "config.json: process: "},
		{"a bad module name", `{"process":{"env":["KERNEL_MODULES=-r,ip_vs"]}}`, `{}`, "incorrect:-r"},
		{"a sysctl that is the host's", `{"linux":{"sysctl":{"vm.swappiness":"1"},"uidMappings":[{"hostID":1,"size":1}]}}`, `{}`, "config.json: linux.sysctl"},
		{"an empty device_hook.json", `{}`, ``, "device_hook.json: empty file"},
		{"null", `{}`, `null`, "device_hook.json: not a JSON object"},
		{"a broken device_hook.json", `{}`, `{"bindToAdd":["/a:/b:rw"`, "device_hook.json: "},
		{"a null record", `{}`, `{"deviceToAdd":[` + device + `,null]}`, "deviceToAdd[1]: null"},
		{"a record with a wrong field", `{}`, `{"deviceToAdd":[{"Major":"8"}]}`, "device_hook.json: deviceToAdd[0].Major"},
		{"a bind of two fields", `{}`, `{"bindToAdd":["/a:/b"]}`, "device_hook.json: bindToAdd[0]: Wrong bind format: /a:/b"},
		{"one container path for two binds", `{}`, `{"bindToAdd":["/a:/x:rw","/b:/x:rw"]}`, "bindToAdd: Mount more than one host paths"},
		{"a limit with a wrong field", `{}`, `{"readIops":[{"major":8,"minor":0,"path":"/dev/sda","value":1}]}`, "device_hook.json: readIops[0].value"},
		{"a null limit", `{}`, `{"writeBps":[null]}`, "writeBps[0]: null"},
		{"a weight that is no record", `{}`, `{"blkioWeight":[[]]}`, "blkioWeight[0]: want object"},
		{"an interface with a wrong field", `{}`, `{"networkInterfaces":[{"Mtu":"1500"}]}`, "networkInterfaces[0].Mtu: want whole number, found string"},
		{"a null route", `{}`, `{"deviceToAdd":[` + device + `],"networkRoute":[null]}`, "networkRoute[0]: null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.config != "" {
				if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "device_hook.json"), []byte(c.recorded), 0o600); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			code, stderr, log := run(t, stateOf(os.Getpid(), dir), "--state", "prestart")
			refused(t, c.name, code, stderr, log, c.want)
			after := contents(t, dir)
			delete(after, ".device_hook.lock")
			if fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("%s: the bundle was %q and is %q", c.name, before, after)
			}
		})
	}
}

func TestPrestartOfAProcessThatIsGoneIsRefused(t *testing.T) {
	code, stderr, log := run(t, stateOf(1<<30, bundle(t, `{}`)), "--state", "prestart")
	refused(t, "a pid that nobody has", code, stderr, log, fmt.Sprint(1<<30))
	if code, stderr, _ := run(t, stateOf(0, bundle(t, `{}`)), "--state", "prestart"); code != 1 || !strings.Contains(stderr, "pid") {
		t.Errorf("pid 0: exit code %d, %q", code, stderr)
	}
}

func TestALogThatCannotBeWrittenIsOneWarningBehindTheRefusal(t *testing.T) {
	t.Cleanup(func() { signal.Reset(unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM) })
	var stderr bytes.Buffer
	h := Hook{Generation: place.Isulad, Stdin: strings.NewReader("garbage"), Stdout: io.Discard, Stderr: &stderr}
	code := h.Run("isulad-hooks", []string{"--state", "prestart", "--log", "/no/such/dir/log"})
	lines := strings.SplitAfter(stderr.String(), "\n")
	if code != 1 || len(lines) != 3 || !strings.Contains(lines[0], "standard input") || !strings.HasPrefix(lines[1], "warning: ") || !strings.Contains(lines[1], "/no/such/dir/log") || strings.Contains(stderr.String(), unix.ENOENT.Error()) {
		t.Errorf("exit code %d, %q, want 1, the error and a warning", code, lines)
	}
}

// bundle makes a bundle with this config.json.
func bundle(t testing.TB, config string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
