package engines

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/internal/process"
)

// The containers of the recorded graph.
const (
	renamed  = "9ecacac14121be084f52217ec95ce38f4a08fef083b94e0647ad1af8114141bc"
	starting = "027c8bd83c16d44bfe11e259d5aaadab89e71dceaa4c06b3256b84a18dafecb9"
	stopped  = "5b25249727ba14fb03210ab2ccba75c75b27280fdd885334c1f57111df1e925d"
	runs     = "8e12e36fea799bd04cecb47a4bb81ef7d2de11d7380135b6ac727b00fe83fa99"
	paused   = "cf52ae64753725500c91236dce3a8f77bd20eb2435e4b25d677cb4091aa93552"
	created  = "e4bba75bcbd4afc439294b467bcbd1c2c182d537ba8455a30fb104ce0cb13fe5"
)

// graph is a copy of what iSulad 2.1 kept of six containers.
func graph(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/graph")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func dirOf(graph, id string) string {
	if id == renamed {
		return filepath.Join(graph, "engines/lcr", id)
	}
	return filepath.Join(graph, "engines/runc", id)
}

// edit changes a file of a container as iSulad does: all of it, at once.
func edit(t *testing.T, dir, file, old, new string) {
	t.Helper()
	path := filepath.Join(dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), old, new, 1)
	if changed == string(text) {
		t.Fatalf("%s has no %s", path, old)
	}
	put(t, path+".new", changed)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// copyOf makes a container like another.
func copyOf(t *testing.T, graph, of, id, name string) {
	t.Helper()
	to := filepath.Join(graph, "engines/runc", id)
	if err := os.CopyFS(to, os.DirFS(dirOf(graph, of))); err != nil {
		t.Fatal(err)
	}
	var c config
	if err := decode(filepath.Join(to, configFile), &c); err != nil {
		t.Fatal(err)
	}
	edit(t, to, configFile, `"id": "`+of, `"id": "`+id)
	if name != c.CommonConfig.Name {
		edit(t, to, configFile, `"Name": "`+c.CommonConfig.Name+`"`, `"Name": "`+name+`"`)
	}
}

func TestIsuladsContainersAreFoundAsIsuladFindsThem(t *testing.T) {
	t.Parallel()
	const prefixed = "8e12e36fea79" + "0000000000000000000000000000000000000000000000000000"
	for name, c := range map[string]struct {
		word   string
		change func(t *testing.T, graph string)
		want   string // an id; "" none; "?" it is said that there are several; "!" that the files do not tell
	}{
		"by its id":                         {word: runs, want: runs},
		"by its id, of lcr":                 {word: renamed, want: renamed},
		"by its name":                       {word: "db-main", want: runs},
		"by its name, with a slash":         {word: "/db-main", want: runs},
		"by its new name":                   {word: "web-renamed", want: renamed},
		"by the name of before":             {word: "web1", want: ""},
		"by what is a value of another key": {word: "json-file", want: ""},
		"by a part of its name":             {word: "db", want: ""},
		"by another case of its name":       {word: "DB-main", want: ""},
		"one that was created":              {word: "created", want: created},
		"one that starts":                   {word: "midstart", want: starting},
		"one that is paused":                {word: "paused1", want: paused},
		"one that was stopped":              {word: "gone", want: stopped},
		"by the beginning of its id":        {word: runs[:3], want: runs},
		"by the id as people are shown it":  {word: runs[:12], want: runs},
		"by more than its id":               {word: runs + "0", want: ""},
		"by nobody's id":                    {word: strings.Repeat("0", 64), want: ""},
		"by the beginning of several ids": {word: "8e1", want: "?", change: func(t *testing.T, g string) {
			copyOf(t, g, created, prefixed, "other")
		}},
		"by the beginning of several ids, as shown": {word: runs[:12], want: "?", change: func(t *testing.T, g string) {
			copyOf(t, g, created, prefixed, "other")
		}},
		"a name beats the beginning of an id": {word: "8e12", want: created, change: func(t *testing.T, g string) {
			edit(t, dirOf(g, created), configFile, `"created"`, `"8e12"`)
		}},
		"an id beats a name": {word: runs, want: runs, change: func(t *testing.T, g string) {
			edit(t, dirOf(g, created), configFile, `"created"`, `"`+runs+`"`)
		}},
		"renamed meanwhile": {word: "db-2", want: runs, change: func(t *testing.T, g string) {
			edit(t, dirOf(g, runs), configFile, `"db-main"`, `"db-2"`)
		}},
		"a label has the name": {word: "web-renamed", want: renamed, change: func(t *testing.T, g string) {
			edit(t, dirOf(g, runs), configFile, `"Annotations": {`, `"Labels": {"Name": "web-renamed"}, "Annotations": {`)
		}},
		"removed and made again": {word: "db-main", want: prefixed, change: func(t *testing.T, g string) {
			copyOf(t, g, runs, prefixed, "db-main")
			if err := os.RemoveAll(dirOf(g, runs)); err != nil {
				t.Fatal(err)
			}
		}},
		"another's file is empty": {word: "db-main", want: runs, change: func(t *testing.T, g string) {
			put(t, filepath.Join(dirOf(g, created), configFile), "")
		}},
		"its file is empty": {word: "created", want: "!", change: func(t *testing.T, g string) {
			put(t, filepath.Join(dirOf(g, created), configFile), "")
		}},
		"its file is empty, by its id": {word: created, want: "!", change: func(t *testing.T, g string) {
			put(t, filepath.Join(dirOf(g, created), configFile), "")
		}},
		"its file is half of one": {word: "created", want: "!", change: func(t *testing.T, g string) {
			put(t, filepath.Join(dirOf(g, created), configFile), `{"CommonConfig": {"Path": "/sbin/init"`)
		}},
		"its directory is just made": {word: "new", want: "!", change: func(t *testing.T, g string) {
			if err := os.Mkdir(filepath.Join(g, "engines/runc", prefixed), 0o750); err != nil {
				t.Fatal(err)
			}
		}},
		"its file is another's": {word: created, want: "!", change: func(t *testing.T, g string) {
			edit(t, dirOf(g, created), configFile, `"id": "`+created, `"id": "`+runs)
		}},
		"something else is beside them": {word: "nosuch", want: "", change: func(t *testing.T, g string) {
			put(t, filepath.Join(g, "engines/README"), "x")
			for _, dir := range []string{"engines/lost+found", "engines/runc/lost+found", "engines/kata-runtime"} {
				if err := os.MkdirAll(filepath.Join(g, dir), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"there is no graph": {word: "db-main", want: "!", change: func(t *testing.T, g string) {
			if err := os.RemoveAll(filepath.Join(g, "engines")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := graph(t)
			if c.change != nil {
				c.change(t, g)
			}
			found, err := iSulad{graph: g}.Find(t.Context(), c.word)
			got := found.ID
			switch {
			case errors.As(err, new(ambiguous)):
				got = "?"
			case errors.Is(err, errUnknown):
				got = ""
			case err != nil:
				got = "!"
			case found.Dir != dirOf(g, found.ID):
				t.Errorf("its directory is %s, want %s", found.Dir, dirOf(g, found.ID))
			}
			if got != c.want {
				t.Errorf("%s is %q, %v; want %q", c.word, got, err, c.want)
			}
		})
	}
}

func TestIsuladsProcessIsTheOneThatStillRuns(t *testing.T) {
	t.Parallel()
	self := another(t)
	recorded := func(pid int, start uint64) string {
		return fmt.Sprintf(`{"Pid": %d, "StartTime": %d, "Running": true}`, pid, start)
	}
	for name, c := range map[string]struct {
		state string
		want  int  // a pid
		fails bool // iSulad must be asked
	}{
		"it runs":                              {state: recorded(self.PID, self.Start), want: self.PID},
		"its pid is another's":                 {state: recorded(self.PID, self.Start+1), want: 0},
		"it was never started":                 {state: `{"StartedAt": "0001-01-01T00:00:00Z"}`, want: 0},
		"it starts":                            {state: `{"Starting": true}`, want: 0},
		"it is not said when its pid began":    {state: fmt.Sprintf(`{"Pid": %d}`, self.PID), fails: true},
		"the file is empty":                    {state: "", fails: true},
		"the file is half of one":              {state: `{"Pid": 1`, fails: true},
		"the pid is of another type":           {state: `{"Pid": "1"}`, fails: true},
		"the pid is of no process":             {state: recorded(-7, 1), want: 0},
		"there is no file":                     {state: "none", fails: true},
		"it runs and is paused, says the file": {state: fmt.Sprintf(`{"Paused": true, "Pid": %d, "StartTime": %d}`, self.PID, self.Start), want: self.PID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := graph(t)
			file := filepath.Join(dirOf(g, runs), stateFile)
			put(t, file, c.state)
			if c.state == "none" {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			got, err := iSulad{graph: g}.Find(t.Context(), "db-main")
			if (err != nil) != c.fails || err != nil && (!strings.Contains(err.Error(), file) || errors.Is(err, errUnknown)) {
				t.Errorf("%v, want an error that names the file: %v", err, c.fails)
			}
			if err == nil && (got.PID != c.want || got.PID != 0 && got.Start != self.Start) {
				t.Errorf("its process is %d, %d, want %d", got.PID, got.Start, c.want)
			}
		})
	}
}

func TestWhileAContainerStartsItsProcessIsRuncs(t *testing.T) {
	t.Parallel()
	self := another(t)
	for name, c := range map[string]struct {
		root, bundle string
		start        uint64
		want         int
	}{
		"with one root for all":     {root: "runc", start: self.Start, want: self.PID},
		"with a root of its own":    {root: "runc/" + starting + "/runc", start: self.Start, want: self.PID},
		"its process is gone":       {root: "runc", start: 1},
		"runc means another bundle": {root: "runc", start: self.Start, bundle: "/elsewhere"},
		"runc has no state of it":   {root: "lcr", start: self.Start},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := iSulad{graph: graph(t), state: t.TempDir()}
			dir := filepath.Join(i.state, c.root, starting)
			must(t, os.MkdirAll(dir, 0o700))
			put(t, filepath.Join(dir, "state.json"), fmt.Sprintf(`{"id":%q,"init_process_pid":%d,"init_process_start":%d,"config":{"labels":["bundle=%s"]}}`,
				starting, self.PID, c.start, cmp.Or(c.bundle, dirOf(i.graph, starting))))
			got, err := i.Find(t.Context(), "midstart")
			if err != nil || got.PID != c.want {
				t.Errorf("its process is %d, %v; want %d", got.PID, err, c.want)
			}
		})
	}
}

func TestTheCgroupParentIsTheContainersElseISulads(t *testing.T) {
	t.Parallel()
	g := graph(t)
	edit(t, dirOf(g, runs), hostFile, `"ShmSize"`, `"CgroupParent": "/special", "ShmSize"`)
	for word, want := range map[string]string{"db-main": "/special", "created": "/isulad"} {
		t.Run(word, func(t *testing.T) {
			if got, err := (iSulad{graph: g}).Find(t.Context(), word); err != nil || got.CgroupParent != want {
				t.Errorf("%s: %s, %v; want %s", word, got.CgroupParent, err, want)
			}
		})
	}
}

func TestAllOfIsuladsContainersAreListed(t *testing.T) {
	t.Parallel()
	g := graph(t)
	list, err := iSulad{graph: g}.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		if c.Dir != dirOf(g, c.ID) || c.Engine != Isulad || c.PID != 0 {
			t.Errorf("%+v", c)
		}
		got = append(got, c.Name)
	}
	slices.Sort(got)
	if d := gocmp.Diff([]string{"created", "db-main", "gone", "midstart", "paused1", "web-renamed"}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	put(t, filepath.Join(dirOf(g, created), configFile), "{")
	list, err = iSulad{graph: g}.List(t.Context())
	if len(list) != 5 || err == nil || !strings.Contains(err.Error(), created) {
		t.Errorf("one is broken: %d, %v; want the others, and which it is", len(list), err)
	}
	if list, err := (iSulad{graph: t.TempDir()}).List(t.Context()); list != nil || err != nil {
		t.Errorf("no iSulad: %v, %v", list, err)
	}
}

func FuzzIsuladsFiles(f *testing.F) {
	dir := f.TempDir()
	c := filepath.Join(dir, "engines/runc", runs)
	if err := os.MkdirAll(c, 0o700); err != nil {
		f.Fatal(err)
	}
	for _, s := range [][3]string{
		{`{"CommonConfig":{"id":"` + runs + `","Name":"x"}}`, `{}`, `{"Pid":1,"StartTime":1}`},
		{`null`, `[]`, `{"Pid":1e400}`},
		{`{"CommonConfig":null}`, `null`, `null`},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, config, host, state string) {
		put(t, filepath.Join(c, configFile), config)
		put(t, filepath.Join(c, hostFile), host)
		put(t, filepath.Join(c, stateFile), state)
		for _, word := range []string{runs, "x", runs[:4]} {
			got, err := iSulad{graph: dir}.Find(t.Context(), word)
			if err == nil && (got.ID != runs || got.Dir != c || !json.Valid([]byte(config)) || got.PID > 0 && got.Start == 0) {
				t.Errorf("%s: %+v of %q, %q, %q", word, got, config, host, state)
			}
		}
	})
}

// another is a process that is not this one: of that an emulator tells no start time.
func another(t *testing.T) process.ID {
	t.Helper()
	sleep := exec.Command("sleep", "300")
	must(t, sleep.Start())
	t.Cleanup(func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	})
	id, err := process.ByPID(sleep.Process.Pid)
	must(t, err)
	return id
}
