package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
)

// having is an engine with one container.
type having string

func (h having) Find(_ context.Context, name string) (container.Container, error) {
	if name == string(h) {
		return container.Container{ID: "theirs", Name: name, Engine: "other", Dir: "/theirs"}, nil
	}
	return container.Container{}, fmt.Errorf("%w %s of others", errUnknown, name)
}

func TestISuladIsAskedWhereItsFilesLeaveADoubt(t *testing.T) {
	const answer = `echo '[{"Id":"abc","Name":"x","LogPath":"/g/abc/console.log"}]'`
	for name, c := range map[string]struct {
		client string // its script; "": there is none
		broken bool   // a file of the graph
		word   string
		want   string // an id, or what the error says
		asked  string
	}{
		"its files know":                                          {client: answer, word: "db-main", want: runs},
		"its files know, another file is broken":                  {client: answer, broken: true, word: "db-main", want: runs},
		"another engine knows":                                    {client: answer, word: "theirs", want: "theirs"},
		"nobody knows, but the daemon":                            {client: answer, word: "x", want: "abc", asked: "inspect -t 5 x\n"},
		"nobody knows":                                            {client: "echo no such container >&2; exit 1", word: "x", want: "no such container: exit status 1", asked: "inspect -t 5 x\n"},
		"nobody knows, there is no client":                        {word: "x", want: "no container x of others"},
		"a file is broken":                                        {client: answer, broken: true, word: "created", want: "abc", asked: "inspect created\n"},
		"a file is broken, another engine knows, the daemon too":  {client: answer, broken: true, word: "theirs", want: "abc", asked: "inspect -t 5 theirs\n"},
		"a file is broken, another engine knows, the daemon not":  {client: "exit 1", broken: true, word: "theirs", want: "theirs", asked: "inspect -t 5 theirs\n"},
		"a file is broken, another engine knows, it does not say": {client: "exec sleep 100", broken: true, word: "theirs", want: "theirs", asked: "inspect -t 5 theirs\n"},
		"a file is broken, there is no client":                    {broken: true, word: "created", want: created + "/config.v2.json"},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph(t)
			if c.broken {
				put(t, filepath.Join(dirOf(g, created), configFile), "")
			}
			calls := filepath.Join(t.TempDir(), "calls")
			if c.client == "" {
				t.Setenv("PATH", t.TempDir())
			} else {
				putIsula(t, "echo \"$*\" >> "+calls+"\n"+c.client+"\n")
			}
			got, err := (first{iSulad{graph: g}, true, []container.Engine{having("theirs")}}).Find(t.Context(), c.word)
			if said := fmt.Sprint(got.ID, err); !strings.Contains(said, c.want) || (err == nil) != (got.ID == c.want) {
				t.Errorf("%q, %v; want %s", got.ID, err, c.want)
			}
			asked, err := os.ReadFile(calls)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if string(asked) != c.asked {
				t.Errorf("asked %q, want %q", asked, c.asked)
			}
		})
	}
}
