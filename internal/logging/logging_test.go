package logging

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALogFileIsAppendedToAndPrivate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	var warn bytes.Buffer
	for _, what := range []string{"first", "second"} {
		Hook("isulad-hooks", file, &warn).WithField("id", "abc").Error(what)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "first") || !strings.Contains(lines[1], "second") || !strings.Contains(lines[1], "id=abc") {
		t.Errorf("logged %q", got)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || warn.Len() != 0 {
		t.Errorf("the log is %v; warned %q", info.Mode(), &warn)
	}
}

func TestALogThatCannotBeOpenedIsOneWarning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "target"), link); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dir, filepath.Join(dir, "no/such/log"), link} {
		var warn bytes.Buffer
		log := Hook("isulad-hooks", file, &warn)
		log.Error("one")
		log.Error("two")
		if got := warn.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "warning: ") || !strings.Contains(got, file) {
			t.Errorf("%s: warned %q, want one line that names it", file, got)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "target")); !os.IsNotExist(err) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestALogThatIsNotWrittenToTouchesNothing(t *testing.T) {
	t.Parallel()
	var warn bytes.Buffer
	log := Hook("isulad-hooks", "", &warn)
	if _, ok := log.Out.(*lazySyslog); !ok || warn.Len() != 0 {
		t.Errorf("logs to %T, warned %q", log.Out, &warn)
	}
	if s := log.Out.(*lazySyslog); s.out != nil || s.tag != "hook " || s.name != "isulad-hooks" {
		t.Errorf("%+v", s)
	}
}

// failing is a log daemon that went away.
type failing struct{ writes int }

func (f *failing) Write([]byte) (int, error) { f.writes++; return 0, fs.ErrClosed }

func TestALogDaemonThatEndsIsNoError(t *testing.T) {
	t.Parallel()
	var warn bytes.Buffer
	var out failing
	s := &lazySyslog{name: "isulad-hooks", tag: "hook ", warn: &warn, out: &out}
	for range 3 {
		if n, err := s.Write([]byte("line")); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if out.writes != 1 {
		t.Errorf("tried %d times", out.writes)
	}
}

func TestASyslogLineHasItsTag(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &lazySyslog{name: "isulad-hooks", tag: "hook ", out: &out}
	if _, err := s.Write([]byte("level=error msg=x\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "hook level=error msg=x\n" {
		t.Errorf("sent %q", got)
	}
}
