// Package logging makes the loggers of the programs. Logging never makes
// anything else fail, and costs nothing until the first entry.
package logging

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

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
	f, err := openFile(file, unix.O_NOFOLLOW)
	if err != nil {
		fmt.Fprintf(warn, "warning: no log: %v\n", err)
		log.SetOutput(io.Discard)
		return log
	}
	log.SetOutput(&failOnceWriter{out: f, warn: warn})
	return log
}

// logFile is a log that is appended to. A write to a FIFO that nobody reads is given up
// after ioTimeout.
type logFile struct{ *os.File }

func openFile(name string, flags int) (logFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|flags, 0o600)
	return logFile{f}, err
}

func (f logFile) Write(p []byte) (int, error) {
	// os.ErrNoDeadline: what is always ready, such as a regular file, has none.
	if err := f.SetWriteDeadline(time.Now().Add(ioTimeout)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return 0, err
	}
	return f.File.Write(p)
}

func toSyslog(name, prefix string, warn io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	log.SetOutput(&failOnceWriter{out: &localSyslog{tag: name, prefix: prefix, socket: devLog}, warn: warn})
	return log
}

// failOnceWriter is a log whose first failure is told, and which is left alone from
// then on: a full disk is no reason for a line on standard error per entry.
type failOnceWriter struct {
	mu        sync.Mutex // of all loggers that share it
	out, warn io.Writer
}

func (o *failOnceWriter) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.out.Write(p); err != nil {
		fmt.Fprintf(o.warn, "warning: no log: %v\n", err)
		o.out = io.Discard
	}
	return len(p), nil
}
