package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/internal/process"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	dir := "testdata"
	if strings.HasPrefix(name, "config-") { // what all tests make their containers of
		dir = "../integration/sandbox/testdata"
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	lcrID  = "3ff9041b5e1ca6d86b06fd5f95ccd23474728f5c4a9436b3101e2d572729649c"
	runcID = "592419e58e91081008ac610f9d508a690fa34e27269ed12d23b034706d66ead6"
)

func TestAnEngineIsAWord(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]Engine{
		"isula":              Isula{},
		"runc":               Runc{Root: "/run/runc"},
		"runc:/run/isulad/x": Runc{Root: "/run/isulad/x"},
		"runc:/with:colon":   Runc{Root: "/with:colon"},
		"runc:/":             Runc{Root: "/"},
	} {
		got, err := NewEngine(word)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", word, got, err, want)
		}
	}
	for _, word := range []string{"", " ", "docker", "Runc", "isula:", "isula:/x", "runc:", "runc:relative", ":/x", "runc /x", "isula\n"} {
		if got, err := NewEngine(word); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", word)) {
			t.Errorf("%q: %v, %v, want an error that names it", word, got, err)
		}
	}
}

func TestInspectOfARealISuladIsUnderstood(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Container{
		"inspect-lcr-running.json":  {ID: lcrID, PID: 23455, Dir: "/var/lib/isulad/engines/lcr/" + lcrID, CgroupParent: "/isulad"},
		"inspect-lcr-stopped.json":  {ID: lcrID, PID: 0, Dir: "/var/lib/isulad/engines/lcr/" + lcrID, CgroupParent: "/isulad"},
		"inspect-runc-running.json": {ID: runcID, PID: 23633, Dir: "/var/lib/isulad/engines/runc/" + runcID, CgroupParent: "/isulad"},
	} {
		got, err := parseInspect(sample(t, name), "NAME")
		if err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
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
		got, err := parseInspect([]byte(`[{"Id":"abc","State":{"Pid":7},`+c.paths+`}]`), "NAME")
		switch {
		case c.want == "":
			if err == nil || !strings.Contains(err.Error(), "isula inspect NAME") {
				t.Errorf("%s: %v, %v, want an error that names what was asked", c.paths, got, err)
			}
		case err != nil || got != Container{ID: "abc", PID: 7, Dir: c.want, CgroupParent: "/isulad"}:
			t.Errorf("%s: %v, %v, want %s", c.paths, got, err, c.want)
		}
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

// runcState puts a state.json below a new root of runc.
func runcState(t testing.TB, id string, content []byte) Runc {
	t.Helper()
	r := Runc{Root: t.TempDir()}
	if err := os.Mkdir(filepath.Join(r.Root, id), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Root, id, "state.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStateOfRealRuncIsUnderstood(t *testing.T) {
	t.Parallel()
	r := runcState(t, runcID, sample(t, "state-runc-1.1.5.json"))
	got, err := r.Find(t.Context(), runcID)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/var/lib/isulad/engines/runc/" + runcID; got.ID != runcID || got.Dir != want {
		t.Errorf("got %v, want %s in %s", got, runcID, want)
	}
}

func TestAProcessThatRuncsStateOutlivedIsNotTheContainers(t *testing.T) {
	t.Parallel()
	// runc keeps init's pid in state.json when init has ended. Then the pid is
	// nobody's, or somebody else's, like ours here: only the start time tells.
	for name, start := range map[string]string{"of another time": `"init_process_start":1,`, "of a time that is not told": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := fmt.Sprintf(`{"id":"abc","init_process_pid":%d,%s"config":{"labels":["bundle=/b"]}}`, os.Getpid(), start)
			got, err := runcState(t, "abc", []byte(state)).Find(t.Context(), "abc")
			if err != nil {
				t.Fatal(err)
			}
			if init, err := got.Init(); !errors.Is(err, process.ErrGone) {
				t.Errorf("its init: %v, %v, want ErrGone", init, err)
			}
			if _, runs, err := Running(got); runs || err != nil {
				t.Errorf("it runs: %v, %v, want that it does not", runs, err)
			}
		})
	}
}

func TestTheBundleIsRuncsOwnLabelNotAnAnnotation(t *testing.T) {
	t.Parallel()
	// runc appends its label to those that come from the annotations.
	state := `{"id":"abc","config":{"labels":["bundle.x=/no","bundle=/of/an/annotation","bundle=/b"]}}`
	got, err := runcState(t, "abc", []byte(state)).Find(t.Context(), "abc")
	if err != nil {
		t.Fatal(err)
	}
	if got.Dir != "/b" {
		t.Errorf("found in %s, want /b", got.Dir)
	}
}

func TestAStateOfRuncThatSaysTooLittleIsAnErrorThatNamesTheFile(t *testing.T) {
	t.Parallel()
	for _, state := range []string{
		``, `null`, `[]`, `{}`, `{"id":"abc"}`, `{"id":"abc","config":{}}`, `{"id":"abc","config":{"labels":[]}}`,
		`{"id":"abc","config":{"labels":["bundle="]}}`, `{"id":"abc","config":{"labels":["bundle=relative"]}}`,
		`{"id":"abc","config":{"labels":["bundle"]}}`, `{"id":"abc","config":{"labels":"bundle=/b"}}`,
		`{"id":7,"config":{"labels":["bundle=/b"]}}`, `{"init_process_pid":"7","config":{"labels":["bundle=/b"]}}`,
		`{"id":"abc","config":{"labels":["bundle=/b"]}`,
	} {
		r := runcState(t, "abc", []byte(state))
		got, err := r.Find(t.Context(), "abc")
		if err == nil || !strings.Contains(err.Error(), filepath.Join(r.Root, "abc/state.json")) {
			t.Errorf("%s: %v, %v, want an error that names the file", state, got, err)
		}
	}
}

func TestAContainerThatRuncDoesNotHaveIsNamed(t *testing.T) {
	t.Parallel()
	r := Runc{Root: t.TempDir()}
	_, err := r.Find(t.Context(), "nosuch")
	if err == nil || !strings.Contains(err.Error(), "nosuch") || !strings.Contains(err.Error(), r.Root) {
		t.Errorf("%v, want an error that names the container and runc's root", err)
	}
}

func FuzzRuncState(f *testing.F) {
	f.Add(sample(f, "state-runc-1.1.5.json"))
	f.Add([]byte(`{"id":"abc","init_process_pid":1e400,"config":{"labels":["bundle=/b"]}}`))
	f.Add([]byte(`{"config":{"labels":["bundle=/\u0000\n"]}}`))
	r := runcState(f, "abc", nil)
	file := filepath.Join(r.Root, "abc/state.json")
	f.Fuzz(func(t *testing.T, state []byte) {
		if err := os.WriteFile(file, state, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := r.Find(t.Context(), "abc")
		if err != nil {
			if !strings.Contains(err.Error(), file) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q: %q", state, err)
			}
			return
		}
		if !json.Valid(state) || !filepath.IsAbs(c.Dir) {
			t.Fatalf("%q: %+v", state, c)
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
	got, err := Isula{}.Find(t.Context(), "c-lcrsys")
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
	if _, err := (Isula{}).Find(t.Context(), "gold"); err == nil {
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
	_, err := Isula{}.Find(t.Context(), "nosuch")
	const want = "partial\nError response from daemon: Inspect container error: No such container:nosuch: exit status 1"
	if err == nil || err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestWithoutIsulaTheErrorSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Isula{}.Find(t.Context(), "gold")
	const want = "isula, iSulad's client, is not installed: where plain runc has the container, say so: --engine runc, or runc:ROOT"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
