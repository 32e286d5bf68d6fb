package cli

import (
	"bytes"
	"errors"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/logging"
	"isula.org/isulad-tools/resource"
)

func TestALoginIsANumberThatIsNotUnset(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "1000": "1000", "1000\n": "1000", "4294967294": "4294967294",
		"4294967295": "", "-1": "", "": "", "\n": "", "root": "", "4294967296": "", "0x10": "",
	} {
		t.Run(text, func(t *testing.T) {
			if got := loginUID(text); got != want {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		})
	}
}

// addPath is the context of a command.
func addPath() *cli.Context { return &cli.Context{Command: cli.Command{Name: "add-path"}} }

// record is a record as text.
type record string

func (r record) String() string { return string(r) }

func TestEachTaskThatWasTriedIsAudited(t *testing.T) {
	t.Parallel()
	done, failed, left := &resource.Task{Record: record("one")}, &resource.Task{Record: record("two"), Err: errors.New("no two")}, &resource.Task{Record: record("three"), Err: resource.ErrNotTried}
	for _, task := range []*resource.Task{done, failed, left} {
		task.Verb, task.Kind = "add", "path"
	}
	for _, c := range []struct {
		name   string
		change *resource.Change
		err    error
		want   []string
	}{
		{"nothing was planned", nil, errors.New("no lock"), nil},
		{"nothing was done, as with --dry-run", &resource.Change{Tasks: []*resource.Task{done}}, nil, nil},
		{"one of them failed", &resource.Change{Done: true, Tasks: []*resource.Task{done, failed, left}}, nil, []string{
			`level=info msg=audit command=add-path container=web id=c1 result=ok what="add path one"`,
			`level=error msg=audit command=add-path container=web id=c1 result="no two" what="add path two"`,
		}},
		{"all depend on what failed", &resource.Change{Done: true, Tasks: []*resource.Task{failed, left}}, errors.New("disk full"), []string{
			`level=error msg=audit command=add-path container=web id=c1 result="no two" what="add path two"`,
			`level=error msg=audit command=add-path container=web id=c1 result="disk full" what="add path three"`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := logging.Tool("isulad-tools", logging.Options{File: ".", Level: "info", Format: "text"}, &out, &out)
			if err != nil {
				t.Fatal(err)
			}
			log.Audit.ReplaceHooks(logrus.LevelHooks{})
			s := &session{app: App{log: log}, name: "web", id: "c1", change: c.change}
			s.audit(addPath(), c.err)
			var got []string
			for line := range strings.Lines(out.String()) {
				got = append(got, notTold.ReplaceAllString(strings.TrimSpace(line), ""))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		})
	}
}

// notTold is what differs from one run to the next.
var notTold = regexp.MustCompile(`(time="[^"]*"|loginuid=\S+|uid=\S+|user=\S+) `)

func TestThePersonHasANameOrANumber(t *testing.T) {
	t.Parallel()
	p := currentUser()
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
		a.audit(addPath(), change{id: "c1", name: "web", what: "path " + hostile, err: errors.New("no " + hostile + strings.Repeat("x", 1<<20))})
		got := out.String()
		if strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") || len(got) > 8<<10 {
			t.Errorf("%s: %.400q (%d bytes)", format, got, len(got))
		}
		if !strings.Contains(got, "no /a; /b") || !strings.Contains(got, "web") || !strings.Contains(got, "add-path") {
			t.Errorf("%s: %.400q", format, got)
		}
	}
}
