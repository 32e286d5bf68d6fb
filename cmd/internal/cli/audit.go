package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// change is one thing that a command did to a container, or failed to do.
type change struct {
	id, name string // of the container; the name as typed
	what     string // what is done, the kind, and the record
	err      error  // nil: done
	more     logrus.Fields
}

// audit writes one line about a change into the log and, whatever the level, to
// syslog: who, what, and what came of it. Call it when all locks are gone, for a
// syslog elsewhere may take its time.
func (a App) audit(c *cli.Context, ch change) {
	fields := currentUser()
	fields["command"], fields["id"], fields["container"], fields["what"] = c.Command.Name, ch.id, ch.name, ch.what
	for k, v := range ch.more {
		fields[k] = v
	}
	entry := a.log.Audit.WithFields(fields)
	if ch.err != nil {
		entry.WithField("result", command.OneLine(ch.err.Error())).Error("audit")
		return
	}
	entry.WithField("result", "ok").Info("audit")
}

// audit writes a line about each task that was tried; err is what failed for all.
func (s *session) audit(c *cli.Context, err error) {
	if s.change == nil || !s.change.Done {
		return
	}
	for _, t := range s.change.Tasks {
		if t.Kind == "" { // a mark
			continue
		}
		ch := change{id: s.id, name: s.name, what: fmt.Sprintf("%s %s %s", t.Verb, t.Kind, t.Record), err: t.Err}
		if errors.Is(t.Err, resource.ErrNotTried) {
			if err == nil {
				continue // for the failure of another one
			}
			ch.err = err
		}
		s.app.audit(c, ch)
	}
}

const maxPasswd = 16 << 20

// currentUser is who runs the command: who logged in, whom sudo and su do not change,
// else, as of a service, whom the process runs as.
func currentUser() logrus.Fields {
	uid := strconv.Itoa(unix.Getuid())
	login, err := open.Read("/proc/self/loginuid", 32)
	loginuid := loginUID(string(login))
	if err != nil || loginuid == "" {
		loginuid = "-1"
	}
	id := loginuid
	if id == "-1" {
		id = uid
	}
	return logrus.Fields{"user": userName(id), "loginuid": loginuid, "uid": uid}
}

// userName is the name that the host has for a user's id, or the id. os/user would
// start the runtime's poller for one read.
func userName(id string) string {
	users, err := open.Read("/etc/passwd", maxPasswd)
	if err != nil {
		return id
	}
	for line := range strings.Lines(string(users)) {
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == id && fields[0] != "" {
			return fields[0]
		}
	}
	return id
}

// loginUID is the number in /proc/self/loginuid, "" when there is none or it says
// that nobody logged in.
func loginUID(text string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	const unset = 1<<32 - 1 // -1 of the kernel's uid_t
	if err != nil || n == unset {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
