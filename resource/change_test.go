package resource

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/process"
)

// changing is a world whose words come and go.
func (w *world) changing() *Kind[word] {
	k := w.kind(Stop)
	k.Remove = func(_ context.Context, _ *Target, r word) error { return w.do("remove", r) }
	k.Reconcile = func(_ context.Context, _ *Target, now, gone []word) error {
		return w.do("settle", word(join(now)+" without "+join(gone)))
	}
	return k
}

func join(list []word) string {
	var s []string
	for _, w := range list {
		s = append(s, string(w))
	}
	return strings.Join(s, ",")
}

// living is a process that lives for as long as the test.
func living(t *testing.T) process.ID {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: under user-mode emulation every thread has another start time")
	}
	self, err := process.ByPID(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return self
}

func TestAChange(t *testing.T) {
	t.Parallel()
	self := living(t)
	const settleAll = `settle a,c,d without b`
	for name, c := range map[string]struct {
		policy  Policy
		fail    []string
		stopped bool
		last    error
		log     []string
		during  string // what the file holds meanwhile
		after   string
		errs    string // of the three tasks: . done, - not tried, ! failed
	}{
		"all succeed": {
			log:    []string{"remove b", "apply c", "apply d", settleAll, "last a,c,d"},
			during: `["a","b","c","d"]`, after: `["a","c","d"]`, errs: "...",
		},
		"a stopped container has a file only": {
			stopped: true, log: []string{"last a,c,d"}, during: "", after: `["a","c","d"]`, errs: "...",
		},
		"stop ends at a failure, and what is before stays": {
			fail: []string{"apply c"}, log: []string{"remove b", "apply c", "settle a without b", "last a"},
			during: `["a","b","c","d"]`, after: `["a"]`, errs: ".!-",
		},
		"skip goes on": {
			policy: Skip, fail: []string{"apply c"}, log: []string{"remove b", "apply c", "apply d", "settle a,d without b", "last a,d"},
			during: `["a","b","c","d"]`, after: `["a","d"]`, errs: ".!.",
		},
		"what cannot be removed stays recorded": {
			policy: Skip, fail: []string{"remove b"}, log: []string{"remove b", "apply c", "apply d", "settle a,b,c,d without ", "last a,b,c,d"},
			during: `["a","b","c","d"]`, after: `["a","b","c","d"]`, errs: "!..",
		},
		"settling fails for all": {
			fail: []string{settleAll}, log: []string{"remove b", "apply c", "apply d", settleAll, "remove d", "remove c", "apply b", "settle a,b without c,d", "last a,b"},
			during: `["a","b","c","d"]`, after: `["a","b"]`, errs: "---",
		},
		"so does what comes last": {
			last: errWorld, log: []string{"remove b", "apply c", "apply d", settleAll, "last a,c,d", "remove d", "remove c", "apply b", "settle a,b without c,d", "last a,b"},
			during: `["a","b","c","d"]`, after: `["a","b"]`, errs: "---",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, file := recorded(t, `["a","b"]`)
			content := func() string {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(data)), `{"bindToAdd":`), "}")
			}
			w := world{fail: map[string]error{}, then: func(entry string) {
				if got := content(); !strings.HasPrefix(entry, "last") && got != c.during {
					t.Errorf("%s: at %s the file holds %s, want %s", name, entry, got, c.during)
				}
			}}
			for _, f := range c.fail {
				w.fail[f] = errWorld
			}
			change := NewChange(d, c.policy)
			edit, err := w.changing().Edit(change)
			if err != nil {
				t.Fatal(err)
			}
			tasks := []*Task{edit.Remove("b"), edit.Add("c"), edit.Add("d")}
			change.Finally(func(context.Context) error {
				w.log = append(w.log, "last "+join(edit.Records()))
				return c.last
			})
			target := &Target{Init: self}
			if c.stopped {
				target = nil
			}
			err = change.Do(t.Context(), target)
			if whole := c.errs == "---"; (err != nil) != whole {
				t.Errorf("%s: %v", name, err)
			}
			if !slices.Equal(w.log, c.log) {
				t.Errorf("%s: did %q, want %q", name, w.log, c.log)
			}
			if got := content(); got != c.after {
				t.Errorf("%s: the file holds %s, want %s", name, got, c.after)
			}
			errs := ""
			for _, task := range tasks {
				switch {
				case task.Err == nil:
					errs += "."
				case errors.Is(task.Err, ErrNotTried):
					errs += "-"
				default:
					errs += "!"
				}
			}
			if errs != c.errs {
				t.Errorf("%s: tasks are %s, want %s", name, errs, c.errs)
			}
		})
	}
}

func TestAContainerThatEndsMeanwhileIsServedAtItsNextStart(t *testing.T) {
	t.Parallel()
	d, file := recorded(t, `[]`)
	w := world{fail: map[string]error{"apply a": errWorld}}
	change := NewChange(d, Stop)
	edit, err := w.changing().Edit(change)
	if err != nil {
		t.Fatal(err)
	}
	edit.Add("a")
	edit.Add("b")
	if err := change.Do(t.Context(), &Target{Init: process.ID{PID: os.Getpid(), Start: 1}}); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != `{"bindToAdd":["a","b"]}` || !slices.Equal(w.log, []string{"apply a"}) {
		t.Errorf("%s, %v after %q", got, err, w.log)
	}
}

func TestATaskIsNotTriedWithoutWhatItNeeds(t *testing.T) {
	t.Parallel()
	d, _ := recorded(t, `["a"]`)
	var w world
	change := NewChange(d, Skip)
	edit, err := w.changing().Edit(change)
	if err != nil {
		t.Fatal(err)
	}
	refused := edit.Fail("add", "a", errWorld)
	limit := edit.Update("a", "z")
	limit.Needs = refused
	if err := change.Do(t.Context(), &Target{}); err != nil || len(w.log) != 0 {
		t.Errorf("%v, did %q", err, w.log)
	}
	if !errors.Is(limit.Err, ErrNotTried) || !errors.Is(refused.Err, errWorld) {
		t.Errorf("%v, %v", refused.Err, limit.Err)
	}
}

func TestAStoppedContainersTaskMayHaveOtherWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail  error
		after string
		errs  []error
	}{
		"it is done":          {nil, `{"bindToAdd":["a","b"]}`, []error{nil, nil}},
		"it fails for itself": {errWorld, `{"bindToAdd":["a"]}`, []error{nil, errWorld}},
	} {
		t.Run(name, func(t *testing.T) {
			d, file := recorded(t, `[]`)
			var w world
			change := NewChange(d, Stop)
			edit, err := w.changing().Edit(change)
			if err != nil {
				t.Fatal(err)
			}
			edit.Add("a")
			edit.Add("b").Offline = func(context.Context) error {
				w.log = append(w.log, "prepare b")
				return c.fail
			}
			if err := change.Do(t.Context(), nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for i, task := range change.Tasks {
				if !errors.Is(task.Err, c.errs[i]) {
					t.Errorf("%s: %s: %v, want %v", name, task.Record, task.Err, c.errs[i])
				}
			}
			if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != c.after || !slices.Equal(w.log, []string{"prepare b"}) {
				t.Errorf("%s: %s, %v after %q", name, got, err, w.log)
			}
		})
	}
}

func TestAMarkIsOnlyRecordedAndGoesWithWhatItMarks(t *testing.T) {
	t.Parallel()
	self := living(t)
	marks := &Kind[word]{Name: "mark", Key: config.OptionalPaths}
	for _, fails := range []bool{false, true} {
		d, file := recorded(t, `["a"]`)
		w := world{fail: map[string]error{}}
		want := `{"bindToAdd":["a","b"],"optionalPaths":["b"]}`
		if fails {
			w.fail["apply b"], want = errWorld, `{"bindToAdd":["a"]}`
		}
		change := NewChange(d, Stop)
		edit, err := w.changing().Edit(change)
		if err != nil {
			t.Fatal(err)
		}
		mark, err := marks.Edit(change)
		if err != nil {
			t.Fatal(err)
		}
		mark.Add("b").Needs = edit.Add("b")
		if err := change.Do(t.Context(), &Target{Init: self}); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("fails %v: %s, %v, want %s", fails, got, err, want)
		}
	}
}

func TestAnUpdatedRecordCanGoToTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		last     bool
		old, now word
		want     string
	}{
		{false, "a", "A", "A,b,c"},
		{true, "a", "A", "b,c,A"},
		{true, "a", "a", "a,b,c"}, // nothing is updated
	} {
		d, _ := recorded(t, `["a","b","c"]`)
		var w world
		kind := w.changing()
		kind.UpdatedLast = c.last
		change := NewChange(d, Stop)
		edit, err := kind.Edit(change)
		if err != nil {
			t.Fatal(err)
		}
		edit.Update(c.old, c.now)
		if err := change.Do(t.Context(), nil); err != nil || join(edit.Records()) != c.want {
			t.Errorf("%s to %s: %s %v, want %s", c.old, c.now, join(edit.Records()), err, c.want)
		}
	}
}

func TestTheFileLearnsOfALateUpdateWhenItIsDone(t *testing.T) {
	t.Parallel()
	self := living(t)
	for _, c := range []struct {
		late          bool
		during, after string
	}{{false, `"A","b"`, `"A","b"`}, {true, `"a","b"`, `"A","b"`}} {
		d, file := recorded(t, `["a","b"]`)
		holds := func(want string) {
			t.Helper()
			if got, err := os.ReadFile(file); err != nil || !strings.Contains(string(got), "["+want+"]") {
				t.Errorf("late %v: the file holds %s, %v, want %s", c.late, got, err, want)
			}
		}
		var w world
		kind := w.changing()
		kind.UpdatedLate = c.late
		kind.Update = func(_ context.Context, _ *Target, old, now word) error {
			holds(c.during)
			return nil
		}
		change := NewChange(d, Stop)
		edit, err := kind.Edit(change)
		if err != nil {
			t.Fatal(err)
		}
		edit.Update("a", "A")
		if err := change.Do(t.Context(), &Target{Init: self}); err != nil {
			t.Error(err)
		}
		holds(c.after)
	}
}

func TestAForgottenRecordIsTheFilesOnly(t *testing.T) {
	t.Parallel()
	self := living(t)
	for _, fail := range []string{"", "remove a"} {
		d, _ := recorded(t, `["a","b","c"]`)
		w := world{fail: map[string]error{fail: errWorld}}
		kind := w.changing()
		kind.Reconcile = nil
		change := NewChange(d, Skip)
		edit, err := kind.Edit(change)
		if err != nil {
			t.Fatal(err)
		}
		edit.RemoveRecord("b").Needs = edit.Remove("a")
		if err := change.Do(t.Context(), &Target{Init: self}); err != nil {
			t.Fatal(err)
		}
		want := "c"
		if fail != "" {
			want = "a,b,c" // what it went with did not go
		}
		if join(edit.Records()) != want || !slices.Equal(w.log, []string{"remove a"}) {
			t.Errorf("failing %q: %s left, did %q, want %s", fail, join(edit.Records()), w.log, want)
		}
	}
}

func TestWhatIsLostIsSettled(t *testing.T) {
	t.Parallel()
	self := living(t)
	for name, c := range map[string]struct {
		plan  func(*Edit[word])
		fail  string
		log   []string
		after string
	}{
		"withdrawn, and still recorded": {
			plan: func(e *Edit[word]) { e.Withdraw("b") },
			log:  []string{"remove b", "settle a without b"}, after: `["a","b"]`,
		},
		"updated": {
			plan: func(e *Edit[word]) { e.Update("b", "c") },
			log:  []string{"apply c", "settle a,c without b"}, after: `["a","c"]`,
		},
		"updated to what it is": {
			plan: func(e *Edit[word]) { e.Update("b", "b") },
			log:  []string{"apply b", "settle a,b without "}, after: `["a","b"]`,
		},
		"that cannot be withdrawn": {
			plan: func(e *Edit[word]) { e.Withdraw("b") }, fail: "remove b",
			log: []string{"remove b", "settle a,b without "}, after: `["a","b"]`,
		},
		"withdrawn, and an update is taken back": {
			plan: func(e *Edit[word]) { e.Withdraw("b"); e.Update("a", "c") }, fail: "settle c without b,a",
			log: []string{"remove b", "apply c", "settle c without b,a", "apply a", "settle a,b without c"}, after: `["a","b"]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, file := recorded(t, `["a","b"]`)
			w := world{fail: map[string]error{c.fail: errWorld}}
			change := NewChange(d, Skip)
			edit, err := w.changing().Edit(change)
			if err != nil {
				t.Fatal(err)
			}
			c.plan(edit)
			if err := change.Do(t.Context(), &Target{Init: self}); (err != nil) != strings.HasPrefix(c.fail, "settle") {
				t.Errorf("%s: %v", name, err)
			}
			if !slices.Equal(w.log, c.log) {
				t.Errorf("%s: did %q, want %q", name, w.log, c.log)
			}
			list, err := config.List[word](d, config.Binds)
			if got := `["` + strings.Join(strings.Split(join(list), ","), `","`) + `"]`; err != nil || got != c.after {
				t.Errorf("%s: %s holds %s, %v, want %s", name, file, got, err, c.after)
			}
		})
	}
}
