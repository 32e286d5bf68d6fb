package logging

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

func TestServicesOfSyslog(t *testing.T) {
	t.Parallel()
	local := service{"unix", "/dev/log"}
	for text, want := range map[string]service{
		"":                 local,
		"unix://":          local,
		DefaultSyslog:      local,
		"unix:///run/x":    {"unix", "/run/x"},
		"udp://h:514":      {"udp", "h:514"},
		"tcp://[::1]:6514": {"tcp", "[::1]:6514"},
		"tcp://1.2.3.4:1":  {"tcp", "1.2.3.4:1"},
	} {
		t.Run(text, func(t *testing.T) {
			if got, err := parseService(text); got != want || err != nil {
				t.Errorf("%q: %v, %v, want %v", text, got, err, want)
			}
		})
	}
	for _, text := range []string{
		"bogus://x", "/dev/log", "unix:/dev/log", "unix", "unix://dev/log", "UDP://h:1", " ", "://", "udp", "udp://", "udp://h", "udp://:514",
		"tcp://h:", "tcp://h:0", "tcp://h:65536", "tcp://h:-1", "tcp://h:syslog", "tcp://h:1/", "tcp://::1:514", "unixgram:///dev/log",
	} {
		if got, err := parseService(text); err == nil || !strings.Contains(err.Error(), text) || got != (service{}) {
			t.Errorf("%q: %v, %v, want an error that names it", text, got, err)
		}
	}
}

func FuzzService(f *testing.F) {
	for _, text := range []string{"", "unix:///dev/log", "udp://[::1]:514", "tcp://h:1", "tcp://h:1:2", "unix://x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseService(text)
		if err != nil {
			return
		}
		if again, err := parseService(s.String()); again != s || err != nil {
			t.Errorf("%q: %v, which reads as %v, %v", text, s, again, err)
		}
		if s.network == "unix" {
			if !filepath.IsAbs(s.address) {
				t.Errorf("%q: the path %q", text, s.address)
			}
		} else if host, port, err := net.SplitHostPort(s.address); err != nil || host == "" || port == "" {
			t.Errorf("%q: host %q, port %q, %v", text, host, port, err)
		}
	})
}

func TestLevelsAreThoseOfOld(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]logrus.Level{
		"debug": logrus.DebugLevel, "info": logrus.InfoLevel, "INFO": logrus.InfoLevel, "warn": logrus.WarnLevel,
		"warning": logrus.WarnLevel, "error": logrus.ErrorLevel, "Fatal": logrus.FatalLevel, "panic": logrus.PanicLevel,
	} {
		t.Run(word, func(t *testing.T) {
			if got, err := parseLevel(word); got != want || err != nil {
				t.Errorf("%s: %v, %v", word, got, err)
			}
		})
	}
	for _, word := range []string{"", "trace", "loud", "info ", "4"} {
		if got, err := parseLevel(word); got != logrus.InfoLevel || err == nil {
			t.Errorf("%q: %v, %v, want an error", word, got, err)
		}
	}
}

func TestBadOptionsAreAllToldAndStillLogged(t *testing.T) {
	t.Parallel()
	var out, stderr bytes.Buffer
	log, err := Tool("isulad-tools", Options{File: ".", Level: "loud", Format: "xml", Syslog: "x"}, &out, &stderr)
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, word := range []string{`"loud"`, "unknown log-format xml\n", `"x"`} {
		if !strings.Contains(err.Error()+"\n", word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
	log.Error("here")
	log.Debug("not here")
	if got := out.String(); !strings.Contains(got, " level=error msg=here\n") || strings.Contains(got, "not here") || stderr.Len() != 0 {
		t.Errorf("logged %q, on standard error %q", got, &stderr)
	}
}

// refusing is a syslog that takes nothing.
type refusing struct{ tried int }

func (r *refusing) Write([]byte) (int, error) { r.tried++; return 0, net.ErrClosed }

func TestAMissingSyslogIsToldOnceAndOnlyInTheLog(t *testing.T) {
	t.Parallel()
	var out, stderr bytes.Buffer
	log, err := Tool("isulad-tools", Options{File: ".", Level: "info", Format: "text"}, &out, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	var r refusing
	log.Hooks[logrus.InfoLevel][0].(*serviceHook).out = &r
	log.Info("one")
	log.Info("two")
	log.Audit.Info("three")
	if got := out.String(); r.tried != 1 || strings.Count(got, "\n") != 4 || strings.Count(got, net.ErrClosed.Error()) != 1 || stderr.Len() != 0 {
		t.Errorf("tried %d times, logged %q, on standard error %q", r.tried, got, &stderr)
	}
}

func TestAPipeThatNobodyReadsIsAnErrorNotAWait(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(fifo, nil, nil); !errors.Is(err, unix.ENXIO) {
		t.Errorf("%v, want ENXIO", err)
	}
}

func TestManyMayLogAtOnce(t *testing.T) {
	t.Parallel()
	var out, stderr bytes.Buffer
	log, err := Tool("isulad-tools", Options{File: ".", Level: "info", Format: "text"}, &out, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	var r refusing
	log.Hooks[logrus.InfoLevel][0].(*serviceHook).out = &r
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() { log.Info("one") })
		done.Go(func() { log.Audit.Info("two") })
	}
	done.Wait()
	if got := strings.Count(out.String(), "\n"); got != 41 || r.tried != 1 {
		t.Errorf("%d lines, want 41; tried %d times", got, r.tried)
	}
}

func TestASyslogThatReadsNothingDoesNotHoldUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &remoteSyslog{tag: "isulad-tools", service: service{"tcp", l.Addr().String()}}
	start := time.Now()
	entry := bytes.Repeat([]byte("x"), 16<<20) // more than any buffer in between
	if _, err := s.Write(entry); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("%v, want an error that names it", err)
	}
	if took := time.Since(start); took > 3*ioTimeout {
		t.Errorf("took %v", took)
	}
}

// A log is looked at in a terminal, whatever its form.
func TestNothingInALogActsOnATerminal(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			socket := filepath.Join(dir, "syslog")
			conn, err := net.ListenPacket("unixgram", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			file := filepath.Join(dir, "log")
			log, err := Tool("x", Options{File: file, Level: DefaultLevel, Format: format, Syslog: "unix://" + socket}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			log.WithField("id", "\x1b[2J\x7f").Info("evil \u009b31m\u202e\a")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sent := make([]byte, 4096)
			n, _, err := conn.ReadFrom(sent)
			if err != nil {
				t.Fatal(err)
			}
			for where, text := range map[string]string{"the file": string(data), "syslog": string(sent[:n])} {
				if !strings.Contains(text, "evil") || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
					t.Errorf("got %q in %s, want the entry and nothing that acts", text, where)
				}
			}
		})
	}
}

// A reader that reads nothing must not hold up a hook: what is logged is not worth a
// start.
func TestAPipeThatIsFullDoesNotHoldUp(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(fifo string, warn *bytes.Buffer) (*logrus.Logger, error){
		"a command's": func(fifo string, warn *bytes.Buffer) (*logrus.Logger, error) {
			log, err := Tool("isulad-tools", Options{File: fifo, Level: "info", Format: "text"}, nil, warn)
			return log.Logger, err
		},
		"a hook's": func(fifo string, warn *bytes.Buffer) (*logrus.Logger, error) {
			return Hook("isulad-hooks", fifo, warn), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			reader, err := unix.Open(fifo, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(reader)
			var warn bytes.Buffer
			log, err := open(fifo, &warn)
			if err != nil {
				t.Fatal(err)
			}
			log.ReplaceHooks(logrus.LevelHooks{}) // nothing of this is for syslog
			start := time.Now()
			for range 2 {
				log.Info(strings.Repeat("x", 1<<20)) // more than a pipe holds
			}
			if took := time.Since(start); took > 3*ioTimeout || strings.Count(warn.String(), "\n") != 1 || !strings.Contains(warn.String(), fifo) {
				t.Errorf("took %v, warned %q; want less than %v, and one line with %s", took, &warn, 3*ioTimeout, fifo)
			}
		})
	}
}
