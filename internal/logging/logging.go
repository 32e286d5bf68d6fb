// Package logging makes the loggers of the programs. Logging never makes
// anything else fail, and costs nothing until the first entry.
package logging

import (
	"fmt"
	"io"
	"log/syslog"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Hook returns the logger of a hook: to file when one is given, else to
// syslog. What stands in its way is said once on warn.
func Hook(name, file string, warn io.Writer) *logrus.Logger {
	if file == "" {
		return toSyslog(name, "hook ", warn)
	}
	log := logrus.New()
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true})
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		fmt.Fprintf(warn, "warning: no log: %v\n", err)
		log.SetOutput(io.Discard)
		return log
	}
	log.SetOutput(&once{out: f, warn: warn})
	return log
}

// Tool returns the logger of the command line tool's changes: to syslog.
func Tool(name string, warn io.Writer) *logrus.Logger { return toSyslog(name, "tools ", warn) }

func toSyslog(name, tag string, warn io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	log.SetOutput(&lazySyslog{name: name, tag: tag, warn: warn})
	return log
}

// once is a log file whose first failure is told, and which is left alone from
// then on: a full disk is no reason for a line on standard error per entry.
type once struct{ out, warn io.Writer }

func (o *once) Write(p []byte) (int, error) {
	if _, err := o.out.Write(p); err != nil {
		fmt.Fprintf(o.warn, "warning: no log: %v\n", err)
		o.out = io.Discard
	}
	return len(p), nil
}

// lazySyslog connects to the local syslog with the first write.
type lazySyslog struct {
	name, tag string
	warn      io.Writer
	out       io.Writer
}

func (s *lazySyslog) Write(p []byte) (int, error) {
	if s.out == nil {
		w, err := syslog.New(syslog.LOG_USER|syslog.LOG_INFO, s.name)
		if err != nil {
			fmt.Fprintf(s.warn, "warning: no log: %v\n", err)
			s.out = io.Discard
		} else {
			s.out = w
		}
	}
	if _, err := s.out.Write(append([]byte(s.tag), p...)); err != nil {
		s.out = io.Discard // it said so, or it ended with the daemon
	}
	return len(p), nil
}
