package cli

import (
	"bytes"
	"errors"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/logging"
)

func TestALoginIsANumberThatIsNotUnset(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "1000": "1000", "1000\n": "1000", "4294967294": "4294967294",
		"4294967295": "", "-1": "", "": "", "\n": "", "root": "", "4294967296": "", "0x10": "",
	} {
		if got := loginUID(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestThePersonHasANameOrANumber(t *testing.T) {
	t.Parallel()
	p := person()
	uid := strconv.Itoa(unix.Getuid())
	if p["uid"] != uid {
		t.Errorf("uid %v, want %s", p["uid"], uid)
	}
	who := p["loginuid"]
	if who == "-1" {
		who = uid
	}
	if u, err := user.LookupId(who.(string)); err == nil {
		who = u.Username
	}
	if p["user"] != who {
		t.Errorf("user %v, want %v", p["user"], who)
	}
}

func TestAnAuditIsOneLineWhateverIsInIt(t *testing.T) {
	t.Parallel()
	hostile := "/a\n/b\x1b[2J\" result=ok :/c"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := logging.Tool("isulad-tools", logging.Options{File: ".", Level: "info", Format: format, Syslog: "unix:///no/such/socket"}, &out, &out)
		if err != nil {
			t.Fatal(err)
		}
		a := App{log: log}
		a.log.Audit.ReplaceHooks(logrus.LevelHooks{})
		a.audit("add-path", change{id: "c1", name: "web", what: "path " + hostile, err: errors.New("no " + hostile + strings.Repeat("x", 1<<20))})
		got := out.String()
		if strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") || len(got) > 8<<10 {
			t.Errorf("%s: %.400q (%d bytes)", format, got, len(got))
		}
		if !strings.Contains(got, "no /a; /b") || !strings.Contains(got, "web") || !strings.Contains(got, "add-path") {
			t.Errorf("%s: %.400q", format, got)
		}
	}
}
