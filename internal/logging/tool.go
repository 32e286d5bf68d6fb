package logging

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/sirupsen/logrus"

	"isula.org/isulad-tools/internal/command"
)

// Options are what a person may want of the command line tool's log.
type Options struct {
	File   string // appended to; ".": Stdout, "": Stderr
	Level  string
	Format string // text or json
	Syslog string // where syslog listens; it gets the same entries
}

// The defaults of Options, which has nothing in a file and all in syslog.
const (
	DefaultFile   = os.DevNull
	DefaultLevel  = "info"
	DefaultFormat = "text"
)

// Log is the log of the command line tool.
type Log struct {
	*logrus.Logger
	// Audit is for what is changed: in syslog, its lines do not depend on the level.
	Audit *logrus.Logger
}

// Tool returns the log of the tool called name. With an error, which is about
// the options, there is a log as well: of those options that are good.
func Tool(name string, o Options, stdout, stderr io.Writer) (*Log, error) {
	level, badLevel := parseLevel(o.Level)
	format, badFormat := parseFormat(o.Format)
	where, badService := parseService(o.Syslog)
	out, badFile := openLog(o.File, stdout, stderr)

	file := logger(format(true), level, &failOnceWriter{out: out, warn: stderr})
	l := &Log{Logger: logger(format(true), level, file.Out), Audit: logger(format(true), logrus.InfoLevel, file.Out)}
	if level < logrus.InfoLevel {
		l.Audit.SetOutput(io.Discard)
	}
	if badService == nil {
		sender := &serviceHook{log: file, format: format(false), out: where.sender(name)}
		l.AddHook(sender)
		l.Audit.AddHook(sender)
	}
	return l, errors.Join(badFile, badLevel, badFormat, badService)
}

func logger(format logrus.Formatter, level logrus.Level, out io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetFormatter(format)
	log.SetLevel(level)
	log.SetOutput(out)
	return log
}

// sender writes to the service.
func (s service) sender(name string) io.Writer {
	const prefix = "tools "
	if s.network == "unix" {
		return &localSyslog{tag: name, prefix: prefix, socket: s.address}
	}
	return &remoteSyslog{tag: name, prefix: prefix, service: s}
}

// serviceHook hands entries on to syslog. A syslog that cannot be reached is told in the
// log, and left alone from then on: no command fails or waits twice for it.
type serviceHook struct {
	log    *logrus.Logger // without syslog
	format logrus.Formatter
	mu     sync.Mutex
	out    io.Writer // nil: given up
}

// Levels implements logrus.Hook.
func (t *serviceHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (t *serviceHook) Fire(e *logrus.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == nil {
		return nil
	}
	text, err := t.format.Format(e)
	if err == nil {
		_, err = t.out.Write(text)
	}
	if err != nil {
		t.out = nil
		t.log.Error(err)
	}
	return nil
}

// parseLevel knows v0.9's levels, in any case.
func parseLevel(word string) (logrus.Level, error) {
	level, err := logrus.ParseLevel(word)
	if err != nil || level > logrus.DebugLevel {
		return logrus.InfoLevel, fmt.Errorf("unknown log-level %q: want debug, info, warn, error, fatal or panic", word)
	}
	return level, nil
}

// parseFormat returns what makes formatters, with the time or without: syslog has
// its own.
func parseFormat(word string) (func(timed bool) logrus.Formatter, error) {
	text := func(timed bool) logrus.Formatter {
		return &logrus.TextFormatter{DisableColors: true, DisableTimestamp: !timed}
	}
	switch word {
	case "text":
		return text, nil
	case "json":
		return func(timed bool) logrus.Formatter {
			return printable{&logrus.JSONFormatter{DisableTimestamp: !timed}}
		}, nil
	}
	return text, fmt.Errorf("unknown log-format %s", word)
}

// printable is a formatter whose text is safe for a terminal: a log is looked at,
// and JSON does not escape all that acts on one. Text quotes what needs it.
type printable struct{ logrus.Formatter }

// Format implements logrus.Formatter.
func (p printable) Format(e *logrus.Entry) ([]byte, error) {
	text, err := p.Formatter.Format(e)
	return []byte(command.Text(string(text))), err
}

// openLog opens the file that a person names, which may be a link or a pipe, as
// /dev/stderr is; a FIFO that nobody has open to read is an error, not a wait.
func openLog(file string, stdout, stderr io.Writer) (io.Writer, error) {
	switch file {
	case ".":
		return stdout, nil
	case "":
		return stderr, nil
	case os.DevNull:
		return io.Discard, nil
	}
	f, err := openFile(file, 0)
	if err != nil {
		return io.Discard, err
	}
	return f, nil
}
