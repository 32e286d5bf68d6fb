package resource

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
)

// word is a record that is text.
type word string

func (w word) String() string { return string(w) }

// world is what a kind of words acts on: it logs, and fails where told.
type world struct {
	log  []string
	fail map[string]error // by "verb record"
	then func(string)     // called with each entry of the log
}

func (w *world) do(verb string, r word) error {
	entry := verb + " " + string(r)
	w.log = append(w.log, entry)
	if w.then != nil {
		w.then(entry)
	}
	return w.fail[entry]
}

func (w *world) kind(p Policy) *Kind[word] {
	return &Kind[word]{
		Name: "word", Key: config.Binds, Policy: p,
		Resolve: func(r word) (word, bool, error) {
			if err := w.fail["resolve "+string(r)]; err != nil {
				return r, false, err
			}
			now := word(strings.TrimSuffix(string(r), "-stale"))
			return now, now != r, nil
		},
		Apply:  func(_ context.Context, _ *Target, r word) error { return w.do("apply", r) },
		Verify: func(_ context.Context, _ *Target, r word) error { return w.do("verify", r) },
	}
}

func recorded(t *testing.T, list string) (d *config.Document, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, config.Name)
	if err := os.WriteFile(file, []byte(`{"bindToAdd":`+list+`}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d, file
}

func noReport(t *testing.T) func(error) {
	return func(err error) { t.Errorf("reported: %v", err) }
}

var errWorld = errors.New("the world says no")

func TestPlanDoesItsStepsInFileOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb string
		run  func(Plan[word], func(error)) error
	}{
		{"apply", func(p Plan[word], r func(error)) error { return p.Do(t.Context(), nil, r) }},
		{"verify", func(p Plan[word], r func(error)) error { return p.Verify(t.Context(), nil, r) }},
	} {
		t.Run(c.verb, func(t *testing.T) {
			var w world
			d, _ := recorded(t, `["one","two","three"]`)
			plan, err := w.kind(Stop).Restore(d)
			if err != nil {
				t.Fatal(err)
			}
			if len(w.log) != 0 {
				t.Errorf("planning did %q", w.log)
			}
			if err := c.run(plan, noReport(t)); err != nil {
				t.Fatal(err)
			}
			if want := []string{c.verb + " one", c.verb + " two", c.verb + " three"}; !slices.Equal(w.log, want) {
				t.Errorf("did %q, want %q", w.log, want)
			}
		})
	}
}

func TestUnderStopTheFirstFailureEndsThePlan(t *testing.T) {
	t.Parallel()
	w := world{fail: map[string]error{"apply two": errWorld}}
	d, _ := recorded(t, `["one","two","three"]`)
	plan, err := w.kind(Stop).Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	err = plan.Do(t.Context(), nil, noReport(t))
	if !errors.Is(err, errWorld) || !strings.Contains(err.Error(), "add word two") {
		t.Errorf("%v, want one that names the record and wraps the cause", err)
	}
	if want := []string{"apply one", "apply two"}; !slices.Equal(w.log, want) {
		t.Errorf("did %q, want %q", w.log, want)
	}
}

func TestUnderSkipFailuresAreReportedAndThePlanGoesOn(t *testing.T) {
	t.Parallel()
	w := world{fail: map[string]error{"apply one": errWorld, "resolve two": os.ErrNotExist}}
	d, _ := recorded(t, `["one","two","three"]`)
	plan, err := w.kind(Skip).Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	var reports []error
	if err := plan.Do(t.Context(), nil, func(err error) { reports = append(reports, err) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"apply one", "apply three"}; !slices.Equal(w.log, want) {
		t.Errorf("did %q, want %q", w.log, want)
	}
	if len(reports) != 2 || !errors.Is(reports[0], errWorld) || !errors.Is(reports[1], os.ErrNotExist) ||
		!strings.Contains(reports[1].Error(), "add word two") {
		t.Errorf("reported %v", reports)
	}
}

func TestAPlanEndsWithItsContextWhateverThePolicy(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{Stop, Skip} {
		ctx, cancel := context.WithCancel(t.Context())
		w := world{then: func(string) { cancel() }}
		d, _ := recorded(t, `["one","two"]`)
		plan, err := w.kind(p).Restore(d)
		if err != nil {
			t.Fatal(err)
		}
		err = plan.Do(ctx, nil, noReport(t))
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "two") {
			t.Errorf("policy %d: %v, want context.Canceled before two", p, err)
		}
		if want := []string{"apply one"}; !slices.Equal(w.log, want) {
			t.Errorf("policy %d: did %q, want %q", p, w.log, want)
		}
	}
}

func TestARecordThatTheHostCannotServeIsAStepThatFails(t *testing.T) {
	t.Parallel()
	w := world{fail: map[string]error{"resolve two": errWorld}}
	d, _ := recorded(t, `["one","two","three"]`)
	plan, err := w.kind(Stop).Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	for verb, run := range map[string]func() error{
		"add":    func() error { return plan.Do(t.Context(), nil, noReport(t)) },
		"verify": func() error { return plan.Verify(t.Context(), nil, noReport(t)) },
	} {
		t.Run(verb, func(t *testing.T) {
			if err := run(); !errors.Is(err, errWorld) || !strings.Contains(err.Error(), verb+" word two") {
				t.Errorf("%s: %v", verb, err)
			}
		})
	}
	if want := []string{"apply one", "verify one"}; !slices.Equal(sorted(w.log), want) {
		t.Errorf("did %q, want %q", w.log, want)
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func TestRestorePutsRenewedRecordsIntoTheFileAndLeavesOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after string }{
		{`["one","two-stale"]`, `["one","two"]`},
		{`[ "one" ]`, `[ "one" ]`}, // not written at all
	} {
		t.Run(c.before, func(t *testing.T) {
			var w world
			d, file := recorded(t, c.before)
			if _, err := w.kind(Stop).Restore(d); err != nil {
				t.Fatal(err)
			}
			if err := d.Save(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if want := `{"bindToAdd":` + c.after + `}`; strings.TrimSpace(string(got)) != want {
				t.Errorf("%s became %s, want %s", c.before, got, want)
			}
		})
	}
}

func TestRestoreRefusesAFileThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	var w world
	d, file := recorded(t, `["one",{}]`)
	if _, err := w.kind(Skip).Restore(d); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a record of another type: %v, want an error that names the file", err)
	}
	d, _ = recorded(t, `["one","one"]`)
	k := w.kind(Skip)
	k.Check = func(list []word) error {
		if len(list) == 2 && list[0] == list[1] {
			return errWorld
		}
		return nil
	}
	if _, err := k.Restore(d); !errors.Is(err, errWorld) || !strings.Contains(err.Error(), config.Binds) {
		t.Errorf("records that contradict: %v, want one that names the list and wraps the cause", err)
	}
	if len(w.log) != 0 {
		t.Errorf("did %q", w.log)
	}
}

func TestAnEmptyPlanDoesNothing(t *testing.T) {
	t.Parallel()
	var w world
	d, _ := recorded(t, `[]`)
	plan, err := w.kind(Stop).Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(plan.Do(ctx, nil, noReport(t)), plan.Verify(ctx, nil, noReport(t))); err != nil {
		t.Error(err)
	}
}

func TestARecordThatCanBeSparedIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fail string
		ok   bool
	}{
		{"resolve two", true}, {"apply two", true}, {"resolve one", false}, {"apply three", false},
	} {
		t.Run(c.fail, func(t *testing.T) {
			w := world{fail: map[string]error{c.fail: errWorld}}
			d, _ := recorded(t, `["one","two","three"]`)
			k := w.changing()
			k.Tolerate = func(r word, err error) bool { return r == "two" && errors.Is(err, errWorld) }
			plan, err := k.Restore(d)
			if err != nil {
				t.Fatal(err)
			}
			var reports []error
			err = plan.Do(t.Context(), nil, func(err error) { reports = append(reports, err) })
			if (err == nil) != c.ok || (len(reports) == 1) != c.ok {
				t.Errorf("%s: %v, reported %v", c.fail, err, reports)
			}
			if settled := slices.Contains(w.log, "settle one,three without "); settled != c.ok {
				t.Errorf("%s: did %q", c.fail, w.log)
			}
			if c.ok && !slices.Equal(plan.Made, []word{"one", "three"}) {
				t.Errorf("%s: made %v", c.fail, plan.Made)
			}
		})
	}
}
