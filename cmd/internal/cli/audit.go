package cli

import (
	"os/user"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/open"
)

// change is one thing that a command did to a container, or failed to do.
type change struct {
	id, name string // of the container; the name as typed
	what     string // the kind and the record
	err      error  // nil: done
	more     logrus.Fields
}

// audit writes one line about a change into the log and, whatever the level, to
// syslog: who, what, and what came of it. Call it when all locks are gone, for a
// syslog elsewhere may take its time.
func (a App) audit(commandName string, ch change) {
	fields := person()
	fields["command"], fields["id"], fields["container"], fields["what"] = commandName, ch.id, ch.name, ch.what
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

// person is who runs the command: who logged in, whom sudo and su do not change,
// else, as of a service, whom the process runs as.
func person() logrus.Fields {
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
	name := id
	if u, err := user.LookupId(id); err == nil {
		name = u.Username
	}
	return logrus.Fields{"user": name, "loginuid": loginuid, "uid": uid}
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
