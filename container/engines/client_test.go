package engines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	lcrID  = "3ff9041b5e1ca6d86b06fd5f95ccd23474728f5c4a9436b3101e2d572729649c"
	runcID = "592419e58e91081008ac610f9d508a690fa34e27269ed12d23b034706d66ead6"
)

func TestInspectOfARealISuladIsUnderstood(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]container.Container{
		"inspect-lcr-running.json":  {ID: lcrID, Name: "c-lcrsys", Engine: "isula", PID: 23455, Dir: "/var/lib/isulad/engines/lcr/" + lcrID, CgroupParent: "/isulad"},
		"inspect-lcr-stopped.json":  {ID: lcrID, Name: "c-lcrsys", Engine: "isula", PID: 0, Dir: "/var/lib/isulad/engines/lcr/" + lcrID, CgroupParent: "/isulad"},
		"inspect-runc-running.json": {ID: runcID, Name: "c-runc", Engine: "isula", PID: 23633, Dir: "/var/lib/isulad/engines/runc/" + runcID, CgroupParent: "/isulad"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseInspect(sample(t, name), "NAME")
			if err != nil || got != want {
				t.Errorf("%s: %v, %v, want %v", name, got, err, want)
			}
		})
	}
}

func TestTheStateDirectoryIsFoundByAnyPathInIt(t *testing.T) {
	t.Parallel()
	const dir = "/srv/graph/engines/kata/abc"
	for _, c := range []struct{ paths, want string }{
		{`"ResolvConfPath":"` + dir + `/resolv.conf"`, dir},
		{`"HostsPath":"` + dir + `/hosts"`, dir},
		{`"LogPath":"` + dir + `/console.log"`, dir},
		// A log can be put anywhere; system containers have no resolv.conf of their own.
		{`"ResolvConfPath":"","HostsPath":"` + dir + `/hosts","LogPath":"/var/log/abc.log"`, dir},
		{`"ResolvConfPath":"/etc/resolv.conf","HostsPath":"/etc/hosts","LogPath":"` + dir + `/console.log"`, dir},
		{`"LogPath":"/var/log/x/console.log"`, ""},
		{`"LogPath":"engines/lcr/abc/console.log"`, ""},
		{`"LogPath":"abc/console.log"`, ""},
		{`"LogPath":"none"`, ""},
		{`"Other":1`, ""},
	} {
		t.Run(c.paths, func(t *testing.T) {
			got, err := parseInspect([]byte(`[{"Id":"abc","State":{"Pid":7},`+c.paths+`}]`), "NAME")
			switch {
			case c.want == "":
				if err == nil || !strings.Contains(err.Error(), "isula inspect NAME") {
					t.Errorf("%s: %v, %v, want an error that names what was asked", c.paths, got, err)
				}
			case err != nil || got != container.Container{ID: "abc", Engine: "isula", PID: 7, Dir: c.want, CgroupParent: "/isulad"}:
				t.Errorf("%s: %v, %v, want %s", c.paths, got, err, c.want)
			}
		})
	}
}

func TestAnAnswerThatDescribesNoContainerIsAnError(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		``, ` `, `null`, `{}`, `[]`, `[null]`, `[{}]`, `[1]`, `[{"Id":""}]`, `[{"Id":7}]`, `["abc"]`,
		`[{"Id":"abc","State":{"Pid":"7"},"LogPath":"/x/abc/l"}]`,
		`[{"Id":"abc","State":7,"LogPath":"/x/abc/l"}]`,
		`[{"Id":"abc","LogPath":["/x/abc/l"]}]`,
		`[{"Id":"abc","LogPath":"/x/abc/l"},{"Id":"def","LogPath":"/x/def/l"}]`,
		`[{"Id":"abc","LogPath":"/x/abc/l"}`, `[{"Id":"abc","LogPath":"/x/abc/l"}] x`,
	} {
		got, err := parseInspect([]byte(answer), "NAME")
		if err == nil || !strings.Contains(err.Error(), "isula inspect NAME") {
			t.Errorf("%s: %v, %v, want an error that names what was asked", answer, got, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	for _, name := range []string{"inspect-lcr-running.json", "inspect-lcr-stopped.json", "inspect-runc-running.json"} {
		f.Add(sample(f, name))
	}
	f.Add([]byte(`[{"Id":"..","LogPath":"/../.."}]`))
	f.Add([]byte(`[{"Id":"abc","State":{"Pid":1e400},"HostsPath":"/x/abc/hosts"}]`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		c, err := parseInspect(answer, "NAME")
		if err != nil {
			if !strings.Contains(err.Error(), "isula inspect NAME") || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q: %q", answer, err)
			}
			return
		}
		if c.ID == "" || !filepath.IsAbs(c.Dir) || filepath.Base(c.Dir) != c.ID || filepath.Clean(c.Dir) != c.Dir {
			t.Fatalf("%q: %+v", answer, c)
		}
	})
}

// putIsula makes a program isula the first in PATH.
func putIsula(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "isula"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestIsulaIsAskedOnceForAllOfIt(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	answer, err := filepath.Abs("testdata/inspect-lcr-running.json")
	if err != nil {
		t.Fatal(err)
	}
	putIsula(t, `echo "$*" >> '`+calls+"'\ncat '"+answer+"'\n")
	got, err := Client{}.Find(t.Context(), "c-lcrsys")
	if err != nil || got.ID != lcrID {
		t.Fatalf("%v, %v", got, err)
	}
	asked, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	if want := "inspect c-lcrsys\n"; string(asked) != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestIsulaIsGivenItsOwnEnvironmentOnly(t *testing.T) {
	env := filepath.Join(t.TempDir(), "env")
	putIsula(t, "env > "+env+"\necho '[]'\n")
	for name, value := range map[string]string{"ISULAD_HOST": "unix:///x.sock", "HOME": "/home/of-ours", "LD_PRELOAD_OF_OURS": "x", "LC_ALL": "de_DE"} {
		t.Setenv(name, value)
	}
	if _, err := (Client{}).Find(t.Context(), "gold"); err == nil {
		t.Error("an empty answer is a container")
	}
	got, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ISULAD_HOST=unix:///x.sock\n", "HOME=/home/of-ours\n", "LC_ALL=C\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(string(got), "OF_OURS") {
		t.Errorf("the whole environment is handed on: %q", got)
	}
}

func TestIsulasRefusalIsShownAsItIs(t *testing.T) {
	putIsula(t, "echo partial\necho 'Error response from daemon: Inspect container error: No such container:nosuch' >&2\nexit 1\n")
	_, err := Client{}.Find(t.Context(), "nosuch")
	const want = "partial\nError response from daemon: Inspect container error: No such container:nosuch: exit status 1"
	if err == nil || err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestWithoutIsulaTheErrorSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Client{}.Find(t.Context(), "gold")
	const want = "isula, iSulad's client, is not installed"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
