package engines

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	podWeb = "eeed9447aae04e4f98a8b6880e08679805ada1a8c2e0dd14535d6094057acd4a"
	podDB  = "20ffd74178b41e164e527e5032a6441efe8cf9369fe079e952fb2a145e9b844d"
	podTmp = "20ff00000000000000000000000000000000000000000000000000000000001d"
)

// storage has the lists that podman 4.3 wrote: two containers, and one that goes with a
// reboot.
func storage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "storage")
	if err := os.CopyFS(dir, os.DirFS("testdata/podman")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPodmansContainersAreFoundAsPodmanFindsThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		word   string
		change func(t *testing.T, dir string)
		want   string // an id; "" none; "?" it is said that there are several; "!" an error that names the file
	}{
		"by its id":                       {word: podWeb, want: podWeb},
		"by its name":                     {word: "web", want: podWeb},
		"by its name, with a slash":       {word: "/web", want: podWeb},
		"by the beginning of its id":      {word: "eeed", want: podWeb},
		"by the name of before":           {word: "old", want: ""},
		"one that goes with a reboot":     {word: "passing", want: podTmp},
		"by the beginning of several":     {word: "20f", want: "?"},
		"a name beats a beginning":        {word: "20ff", want: podDB},
		"by nobody's name":                {word: "nosuch", want: ""},
		"the list is half of one":         {word: "web", want: "!", change: func(t *testing.T, d string) { put(t, d+"/overlay-containers/containers.json", `[{"id"`) }},
		"the list is of something else":   {word: "web", want: "!", change: func(t *testing.T, d string) { put(t, d+"/overlay-containers/containers.json", `{}`) }},
		"there is no list":                {word: "web", want: "", change: func(t *testing.T, d string) { must(t, os.RemoveAll(d+"/overlay-containers")) }},
		"another driver has one, too":     {word: "web", want: "?", change: func(t *testing.T, d string) { other(t, d, "web") }},
		"it was made with another driver": {word: "vfs1", want: strings.Repeat("a", 64), change: func(t *testing.T, d string) { other(t, d, "vfs1") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := storage(t)
			if c.change != nil {
				c.change(t, dir)
			}
			found, err := Podman{Root: dir}.Find(t.Context(), c.word)
			got := found.ID
			switch {
			case errors.As(err, new(ambiguous)):
				got = "?"
			case errors.Is(err, errUnknown):
				got = ""
			case err != nil && strings.Contains(err.Error(), dir+"/overlay-containers/containers.json"):
				got = "!"
			}
			if got != c.want {
				t.Errorf("%s is %q, %v; want %q", c.word, got, err, c.want)
			}
			if err == nil && !strings.HasSuffix(found.Dir, "-containers/"+found.ID+"/userdata") {
				t.Errorf("its bundle is %s", found.Dir)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// other makes a container of another storage driver.
func other(t *testing.T, dir, name string) {
	t.Helper()
	must(t, os.Mkdir(dir+"/vfs-containers", 0o700))
	put(t, dir+"/vfs-containers/containers.json", `[{"id":"`+strings.Repeat("a", 64)+`","names":["`+name+`"]}]`)
}

func TestAllOfPodmansContainersAreListed(t *testing.T) {
	t.Parallel()
	list, err := Podman{Root: storage(t)}.List(t.Context())
	var got []string
	for _, c := range list {
		got = append(got, c.Name)
	}
	if want := "web 20ff passing"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%q, %v; want %s", got, err, want)
	}
}

func TestCrunsStatusIsUnderstood(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.Mkdir(root+"/abc", 0o700))
	put(t, root+"/abc/status", `{"pid":4711,"process-start-time":815,"cgroup-path":"/x","bundle":"/b","created":"now","detached":false}`)
	got, err := crunOf(root).Find(t.Context(), "abc")
	if err != nil || got.PID != 4711 || got.Start != 815 || got.Dir != "/b" || got.Engine != "crun" {
		t.Errorf("%+v, %v", got, err)
	}
	put(t, root+"/abc/status", `{"pid":4711}`)
	if got, err := crunOf(root).Find(t.Context(), "abc"); err == nil || !strings.Contains(err.Error(), root+"/abc/status") {
		t.Errorf("%+v, %v; want an error that names the file", got, err)
	}
}
