package logging

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
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
	o, ok := log.Out.(*failOnceWriter)
	if !ok || warn.Len() != 0 {
		t.Fatalf("logs to %T, warned %q", log.Out, &warn)
	}
	if s := o.out.(*localSyslog); *s != (localSyslog{tag: "isulad-hooks", prefix: "hook ", socket: "/dev/log"}) {
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
	s := &failOnceWriter{out: &out, warn: &warn}
	for range 3 {
		if n, err := s.Write([]byte("line")); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if out.writes != 1 || strings.Count(warn.String(), "\n") != 1 {
		t.Errorf("tried %d times, warned %q", out.writes, &warn)
	}
}

func TestASyslogLineHasItsTag(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	s := &localSyslog{tag: "isulad-hooks", prefix: "hook ", socket: path}
	for _, text := range []string{"level=error msg=x\n", "level=info msg=y\n"} {
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 512)
		n, err := daemon.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`^<14>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d isulad-hooks\[%d\]: hook %s$`, os.Getpid(), text)
		if got := string(b[:n]); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("sent %q, want %s", got, want)
		}
	}
}

func TestASyslogThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	s := &localSyslog{socket: filepath.Join(t.TempDir(), "none")}
	if _, err := s.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), s.socket) {
		t.Errorf("%v, want an error that names it", err)
	}
}
