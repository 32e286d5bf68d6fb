package ledger

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// world is a run directory of its own.
func world(t *testing.T) place.Generation {
	t.Helper()
	return place.Generation{Tool: "ledger-test", RunDir: filepath.Join(t.TempDir(), "run")}
}

func start(pid int) Start { return Start{Init: process.ID{PID: pid, Start: 7}, Bundle: "/b"} }

// reopen reads the file as another command would, in the same generation.
func reopen(t *testing.T, g place.Generation, s Start) *Ledger {
	t.Helper()
	l, err := openIn([]place.Generation{g}, g, "id", s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func text(grants []Grant) string {
	var all []string
	for _, g := range grants {
		all = append(all, fmt.Sprintf("%d %s %s", g.Number, g.Record, g.Made))
	}
	return strings.Join(all, ", ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestALedgerSaysWhatIsGrantedNow(t *testing.T) {
	t.Parallel()
	g := world(t)
	l := reopen(t, g, start(1))
	must(t, l.Intend("node", nil, "a", "b"))
	must(t, l.Intend("path", nil, "a"))
	must(t, l.Intend("node", nil, "b", "c")) // b is there
	expect(t, "after a kill", text(reopen(t, g, start(1)).Grants("node", false)), `1 "a" , 2 "b" , 4 "c" `)
	l.Make("node", "a", []int{1, 2})
	l.Make("node", "x", 1) // nobody said so before
	l.Revoke("node", "b")
	must(t, l.Flush())
	again := reopen(t, g, start(1))
	expect(t, "afterwards", text(again.Grants("node", false)), `1 "a" [1,2], 4 "c" `)
	expect(t, "of the other kind", text(again.Grants("path", false)), `3 "a" `)
	var made []int
	if !again.Made("node", "a", &made) || fmt.Sprint(made) != "[1 2]" || again.Made("node", "c", &made) || again.Made("path", "b", &made) {
		t.Errorf("made %v", made)
	}
	for _, c := range []struct{ kind, record string }{{"node", "a"}, {"node", "c"}, {"path", "a"}} {
		again.Revoke(c.kind, c.record)
	}
	must(t, again.Flush())
	if _, err := os.Lstat(again.path); !os.IsNotExist(err) {
		t.Errorf("a file in which nothing is open: %v", err)
	}
	must(t, again.Intend("node", nil, "z"))
	expect(t, "anew", text(reopen(t, g, start(1)).Grants("node", false)), `5 "z" `)
}

func TestAnEarlierStartsGrantsStayUntilTheyAreOver(t *testing.T) {
	t.Parallel()
	g := world(t)
	must(t, reopen(t, g, start(1)).Intend("link", nil, "a", "b"))
	l := reopen(t, g, start(2))
	expect(t, "before anything is granted", text(l.Grants("link", true)), `1 "a" , 2 "b" `)
	must(t, l.Intend("link", nil, "a"))
	for range 2 {
		expect(t, "this start's", text(l.Grants("link", false)), `3 "a" `)
		expect(t, "the earlier one's", text(l.Grants("link", true)), `1 "a" , 2 "b" `)
		l = reopen(t, g, start(2))
	}
	l.End(l.Grants("link", true)[0])
	must(t, l.Flush())
	expect(t, "one is over", text(reopen(t, g, start(2)).Grants("link", true)), `2 "b" `)
}

func TestWhatIsOverBeginsNoStart(t *testing.T) {
	t.Parallel()
	g := world(t)
	must(t, reopen(t, g, start(1)).Intend("link", nil, "a", "b"))
	l := reopen(t, g, Start{}) // whoever cleans up knows of none
	l.End(l.Grants("link", true)[0])
	must(t, l.Flush())
	data, err := os.ReadFile(l.path)
	must(t, err)
	if got := strings.Count(string(data), "start\t"); got != 1 {
		t.Errorf("%d starts, want 1:\n%s", got, data)
	}
	expect(t, "still this start's", text(reopen(t, g, start(1)).Grants("link", false)), `2 "b" `)
}

func TestAnIntentOfWhichNothingCameIsTakenBack(t *testing.T) {
	t.Parallel()
	g := world(t)
	l := reopen(t, g, start(1))
	must(t, l.Intend("node", nil, "a"))
	before, err := os.ReadFile(l.path)
	must(t, err)
	must(t, l.Intend("node", nil, "b", "c"))
	l.Revoke("node", "b")
	l.Revoke("node", "c")
	must(t, l.Flush())
	if after, err := os.ReadFile(l.path); err != nil || string(after) != string(before) {
		t.Errorf("%v, the file was\n%s and is\n%s", err, before, after)
	}
	asked := 0
	had := func(json.RawMessage) any { asked++; return asked }
	for range 2 { // the first of its kind
		must(t, l.Intend("path", had, "p"))
		l.Revoke("path", "p")
		must(t, l.Flush())
		if after, err := os.ReadFile(l.path); err != nil || string(after) != string(before) {
			t.Errorf("%v, the file was\n%s and is\n%s", err, before, after)
		}
	}
	if asked != 2 {
		t.Errorf("it was asked %d times what the container had, want 2", asked)
	}
	must(t, l.Intend("node", nil, "d"))
	expect(t, "afterwards", text(reopen(t, g, start(1)).Grants("node", false)), `1 "a" , 6 "d" `)
}

func TestATornLineNeverHappened(t *testing.T) {
	t.Parallel()
	g := world(t)
	l := reopen(t, g, start(1))
	must(t, l.Intend("node", nil, "a"))
	whole, err := os.ReadFile(l.path)
	must(t, err)
	must(t, l.Intend("node", nil, "b"))
	all, err := os.ReadFile(l.path)
	must(t, err)
	for n := len(whole); n < len(all); n++ {
		must(t, os.WriteFile(l.path, all[:n], 0o600))
		now := reopen(t, g, start(1))
		expect(t, fmt.Sprint(n, " bytes"), text(now.Grants("node", false)), `1 "a" `)
		must(t, now.Intend("node", nil, "c"))
		expect(t, fmt.Sprint(n, " bytes and another line"), text(reopen(t, g, start(1)).Grants("node", false)), `1 "a" , 2 "c" `)
	}
}

func TestALongLedgerLosesWhatIsOver(t *testing.T) {
	t.Parallel()
	g := world(t)
	must(t, reopen(t, g, start(1)).Intend("link", nil, "lent"))
	l := reopen(t, g, start(2))
	must(t, l.Intend("node", nil, "stays"))
	l.Make("node", "stays", 5)
	long := strings.Repeat("x", 4096)
	for l.size <= longEnough {
		must(t, l.Intend("node", nil, long))
		l.Make("node", long, 1)
		l.Revoke("node", long)
		must(t, l.Flush())
	}
	l = reopen(t, g, start(2))
	must(t, l.Intend("node", nil, "more"))
	if l.size > 4096 {
		t.Errorf("%d bytes", l.size)
	}
	l = reopen(t, g, start(2))
	if got := text(l.Grants("node", false)); !strings.Contains(got, `"stays" 5`) || !strings.Contains(got, `"more"`) {
		t.Errorf("this start's: %s", got)
	}
	expect(t, "the earlier one's", text(l.Grants("link", true)), `1 "lent" `)
}

func TestADamagedLedgerIsReadAsFarAsItGoes(t *testing.T) {
	t.Parallel()
	g := world(t)
	l := reopen(t, g, start(1))
	must(t, l.Intend("node", nil, "a"))
	for _, bad := range []string{
		"x", "[]", "7", "grant\tx\tnode\t7", "grant\t7\tnode\t{", "grant\t1\tnode\t7", "grant\t7", "made\t1\t{", "had\tnode", "start\t7", `start	{"init":{"pid":1,"start":7},"bundle":"/b"}`, "start\tx\t7\t\"\"\t\"/b\"",
		"start\t1\t7\t\"\"\t/b", "start\t1\t7\t\"\"\t\"/b\"\trw", "start\t1\t7\t\"\"\t\"/b\"\tr\t\"/srv\"", "start\t1\t7\t\"\"\t\"/b\"\trw\t/srv", "\x00\xff", "",
	} {
		data, err := os.ReadFile(l.path)
		must(t, err)
		must(t, os.WriteFile(l.path, append(data, bad+"\n"...), 0o600))
	}
	now, err := openIn([]place.Generation{g}, g, "id", start(1))
	if err == nil || !strings.Contains(err.Error(), l.path) {
		t.Errorf("%v, want an error that names %s", err, l.path)
	}
	must(t, now.Intend("node", nil, "b"))
	expect(t, "understood", text(now.Grants("node", false)), `1 "a" , 2 "b" `)
}

func TestAFullDiskTearsNoLine(t *testing.T) {
	t.Parallel()
	g := world(t)
	l := reopen(t, g, start(1))
	must(t, l.Intend("node", nil, "a"))
	l.file.Close()
	var err error
	if l.file, err = os.OpenFile("/dev/full", os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Intend("node", nil, "b"); err == nil {
		t.Error("no error")
	}
	expect(t, "granted", text(l.Grants("node", false)), `1 "a" `)
}

func TestNoLedgerKeepsNothing(t *testing.T) {
	t.Parallel()
	var l *Ledger
	must(t, l.Intend("node", nil, "a"))
	l.Make("node", "a", 1)
	l.Revoke("node", "a")
	must(t, l.Flush())
	must(t, l.Remove())
	if l.Made("node", "a", new(int)) || l.Grants("node", false) != nil {
		t.Error("something is known")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("start\t1\t7\t\"\"\t\"/b\"\trw\t\"/srv\"\nhad\tnode\t[]\ngrant\t1\tnode\t" + `"a"` + "\n"))
	f.Add([]byte("grant\t1\tnode\t0\nmade\t1\t[]\nrevoke\t1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := world(t)
		must(t, makeDir(g.Starts()))
		must(t, os.WriteFile(filepath.Join(g.Starts(), fileName("id")), data, 0o600))
		l, _ := openIn([]place.Generation{g}, g, "id", start(1))
		before := text(l.Grants("node", false))
		must(t, l.Intend("node", nil, "fuzz-record"))
		l.Close()
		l, _ = openIn([]place.Generation{g}, g, "id", start(1))
		defer l.Close()
		if now := text(l.Grants("node", false)); !strings.HasPrefix(now, before) || !strings.Contains(now, "fuzz-record") {
			t.Errorf("%q: %q became %q", data, before, now)
		}
	})
}

// What the specification says later is of another start.
func TestTheFirstLineSaysWhichTreesOfTheHostTheStartHad(t *testing.T) {
	t.Parallel()
	g := world(t)
	with := func(pid int, trees ...Tree) Start {
		s := start(pid)
		s.Trees = trees
		return s
	}
	had := Tree{Path: "/srv/a\t\n\xff", Writable: true}
	must(t, reopen(t, g, with(1, had, Tree{Path: "/srv/b"})).Intend("node", nil, "a"))
	expect(t, "of the same start", fmt.Sprint(reopen(t, g, with(1, Tree{Path: "/srv/c"})).Trees()), "[{/srv/a\t\n\xff true} {/srv/b false}]")
	expect(t, "of the next start", fmt.Sprint(reopen(t, g, with(2, Tree{Path: "/srv/c"})).Trees()), "[{/srv/c false}]")
	var none *Ledger
	expect(t, "of none", fmt.Sprint(none.Trees()), "[]")
}

// A full disk takes no place that a removal would need: what is over is noted later.
func TestWhatCannotBeNotedIsNotedLater(t *testing.T) {
	t.Parallel()
	g := world(t)
	l := reopen(t, g, start(1))
	must(t, l.Intend("node", nil, "a", "b"))
	l.Make("node", "a", 1)
	must(t, l.Flush())
	l.Close()

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	l.file = full
	l.Revoke("node", "a")
	if err := l.Flush(); err == nil {
		t.Error("a full disk takes a line")
	}
	l.Close()
	expect(t, "in the file", text(reopen(t, g, start(1)).Grants("node", false)), `1 "a" 1, 2 "b" `)
	must(t, l.Flush())
	expect(t, "noted later", text(reopen(t, g, start(1)).Grants("node", false)), `2 "b" `)
}

// What the container had before counts for what is granted afterwards.
func TestWhatTheContainerHadIsNotedOnce(t *testing.T) {
	t.Parallel()
	g := world(t)
	asked := []string{}
	had := func(now any) func(json.RawMessage) any {
		return func(last json.RawMessage) any {
			asked = append(asked, string(last))
			return now
		}
	}
	all := func(l *Ledger) (list []string) {
		for _, g := range slices.Concat(l.Grants("path", true), l.Grants("path", false)) {
			list = append(list, fmt.Sprintf("%s %s", g.Record, g.Had))
		}
		return list
	}
	l := reopen(t, g, start(1))
	must(t, l.Intend("path", had(1), "a", "b"))
	must(t, l.Intend("path", had(2), "a"))   // it is granted: nobody is asked
	must(t, l.Intend("path", had(nil), "c")) // that still holds
	must(t, l.Intend("path", had(3), "d"))
	must(t, l.Intend("node", nil, "e"))
	want := `["a" 1 "b" 1 "c" 1 "d" 3]`
	expect(t, "now", fmt.Sprint(all(l)), want)
	l = reopen(t, g, start(1))
	expect(t, "read", fmt.Sprint(all(l)), want)
	l.Revoke("path", "d")
	must(t, l.Flush())
	must(t, l.compact())
	l.Close()
	l = reopen(t, g, start(1))
	expect(t, "without what is over", fmt.Sprint(all(l)), `["a" 1 "b" 1 "c" 1]`)
	must(t, l.Intend("path", had(nil), "f"))
	expect(t, "anew", fmt.Sprint(all(reopen(t, g, start(1)))), `["a" 1 "b" 1 "c" 1 "f" 3]`)
	must(t, reopen(t, g, start(2)).Intend("path", had(nil), "g"))
	expect(t, "of the next start", fmt.Sprint(all(reopen(t, g, start(2)))), `["a" 1 "b" 1 "c" 1 "f" 3 "g" ]`)
	expect(t, "what was asked", fmt.Sprintf("%q", asked), `["" "1" "1" "3" ""]`)
}

func TestOthersAreThoseOfNoRecord(t *testing.T) {
	t.Parallel()
	g := world(t)
	must(t, reopen(t, g, start(1)).Intend("node", nil, "old"))
	must(t, reopen(t, g, start(2)).Intend("node", nil, "a", "b", "c"))
	l := reopen(t, g, start(2))
	must(t, l.Intend("node", nil, "d"))
	isKnown := func(record any) bool { return record == "b" || record == "d" || record == "x" }
	expect(t, "asked for", fmt.Sprint(l.Has("node", "b"), l.Has("node", "x"), l.Has("node", "a"), l.Has("node", "old")), "true false true false")
	expect(t, "others", text(l.Others("node", isKnown)), `2 "a" , 4 "c" `)
}
