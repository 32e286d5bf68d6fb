package kmod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/command"
)

// Loader loads modules, and knows what was loaded and who asks for it. Its zero
// value is the one to use; Root, Release, Run and Remove are for tests.
type Loader struct {
	Root    string // prefix of all paths
	Release string // of the kernel; "": the running one's
	// Run has modprobe load names and returns what it wrote to standard error.
	Run func(ctx context.Context, names []string) (stderr []byte, err error)
	// Remove unloads one module.
	Remove func(module string) error
	// Wait is how long others may hold the module lock; 0: ten seconds.
	Wait time.Duration
}

// Outcome is what became of one request for a module.
type Outcome string

// The outcomes.
const (
	Present  Outcome = "present" // before, or by another container's start meanwhile
	BuiltIn  Outcome = "built in"
	Loaded   Outcome = "loaded"
	Denied   Outcome = "denied"
	Failed   Outcome = "failed"
	Unloaded Outcome = "unloaded"  // for the log only
	Skipped  Outcome = "not tried" // because another one was refused
)

// Result is what became of one request for a module.
type Result struct {
	Name    string   // as asked for
	Modules []string // that it stands for, as far as that had to be found out
	Outcome Outcome
	Reason  string // why it was denied or failed
	Took    time.Duration
}

// Load makes every named module present in the running kernel, for a container
// that asks. It executes modprobe once, for those that are neither loaded nor
// built in, and nothing when there are none. What was loaded stays when others
// fail; the error, one line, says so and gives a reason for each that is not
// there. A policy that denies one of the names has nothing loaded at all. Bad
// names give no results, everything else one for each name.
func (l Loader) Load(ctx context.Context, by Requester, names []string) ([]Result, error) {
	names, err := unique(names)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	r := loadRun{Loader: l, host: l.host(), by: by, start: time.Now(), results: make([]Result, len(names))}
	for i, name := range names {
		r.results[i].Name = name
	}
	err = r.run(ctx)
	return r.results, err
}

// loadRun is one call of Load.
type loadRun struct {
	Loader
	*host
	by      Requester
	start   time.Time
	results []Result
}

func (r *loadRun) run(ctx context.Context) error {
	policy, err := r.policy()
	if err != nil {
		return r.fail(err)
	}
	if err := r.checkPolicy(policy); err != nil {
		return err
	}
	if r.allPresent() {
		return nil
	}
	// Whoever waits here finds, in most cases, that another start has loaded what
	// is missing: parallel starts execute modprobe once, and look names up, which
	// is work, one after the other. But nobody who needs nothing loaded waits long
	// for somebody else's slow module.
	lock, err := r.lock(ctx, recheckLockWait)
	if errors.Is(err, config.ErrBusy) && ctx.Err() == nil {
		if len(r.missing()) == 0 {
			return nil
		}
		lock, err = r.lock(ctx, r.Wait)
	}
	if err != nil {
		return r.fail(err)
	}
	defer lock.Unlock()
	missing := r.missing()
	if len(missing) == 0 {
		return nil
	}
	return r.load(ctx, missing)
}

// recheckLockWait is for a lock that is worth some waiting, to save work.
const recheckLockWait = time.Second

// allPresent tells whether all names are those of modules that are there, which needs
// no knowledge of aliases.
func (r *loadRun) allPresent() bool {
	for _, res := range r.results {
		if !r.state(canonical(res.Name)).present() {
			return false
		}
	}
	return len(r.missing()) == 0
}

// checkPolicy fails when the policy denies one of the names.
func (r *loadRun) checkPolicy(p *policy) error {
	if p == nil {
		return nil
	}
	denied := &loadError{}
	for i := range r.results {
		res := &r.results[i]
		modules, reason := r.denial(p, res.Name)
		res.Modules = modules
		if reason != "" {
			res.Outcome, res.Reason, res.Took = Denied, reason, time.Since(r.start)
			denied.add(res.Name, reason)
		} else {
			res.Outcome = Skipped
		}
	}
	if len(denied.reasons) == 0 {
		return nil
	}
	return denied
}

// denial returns the modules that the policy looks at for a name, and why it
// denies them, "" when it does not. All that modprobe would load by an alias must
// be allowed; the alias itself does not matter.
func (h *host) denial(p *policy, name string) (modules []string, reason string) {
	name = canonical(name)
	if h.state(name).present() {
		modules = []string{name}
		return modules, p.denial(name)
	}
	m := h.resolve(name)
	targets := m.wanted()
	if len(targets) == 0 {
		targets = m.targets // one of them may be there
	}
	if len(targets) == 0 {
		targets = []aliasTarget{{module: name}}
	}
	for _, t := range targets {
		modules = append(modules, t.module)
		if why := p.denial(t.module); why != "" && reason == "" {
			if reason = why; t.via != "" {
				reason = fmt.Sprintf("alias for %s (%s): %s", command.Printable(t.module), t.via, why)
			}
		}
	}
	return modules, reason
}

// missing returns the results that wait for modprobe, and sets the outcome of the others.
func (r *loadRun) missing() []*Result {
	var missing []*Result
	for i := range r.results {
		res := &r.results[i]
		if !r.has(res.Name, false) {
			missing = append(missing, res)
			continue
		}
		if res.Outcome == Present || res.Outcome == BuiltIn {
			continue
		}
		res.Took = time.Since(r.start)
		if res.Outcome = Present; r.state(canonical(res.Name)) == builtin {
			res.Outcome = BuiltIn
		}
	}
	return missing
}

// fail settles all that is not settled.
func (r *loadRun) fail(err error) error {
	for i := range r.results {
		if res := &r.results[i]; res.Outcome == "" || res.Outcome == Skipped {
			res.Outcome, res.Reason, res.Took = Failed, err.Error(), time.Since(r.start)
		}
	}
	return err
}

// load executes modprobe, under the module lock.
func (r *loadRun) load(ctx context.Context, missing []*Result) error {
	names := make([]string, len(missing))
	for i, res := range missing {
		names[i] = res.Name
	}
	before := r.presentByAlias(names)
	entry, err := r.recordPending(missing)
	if err != nil {
		return r.fail(err)
	}
	run := r.Run
	if run == nil {
		run = modprobe
	}
	out := outcome{}
	out.stderr, out.err = run(ctx, names)

	// Neither the exit status nor its absence tells which module is there: -a goes
	// on after a failure, a blacklisted alias is no failure, and an operator may
	// load at the same time. So look again.
	failed := &loadError{err: out.err}
	for _, res := range missing {
		res.Modules, res.Took = r.candidates(res.Name), time.Since(r.start)
		if r.has(res.Name, true) {
			res.Outcome = Loaded
			failed.kept = append(failed.kept, res.Name)
			continue
		}
		res.Outcome, res.Reason = Failed, r.reason(res.Name, out)
		failed.add(res.Name, res.Reason)
	}
	if err := entry.close(out); err != nil {
		failed.add(names[0], err.Error())
	}
	if len(failed.reasons) == 0 {
		return nil
	}
	for _, module := range r.presentByAlias(names) {
		if !slices.Contains(before, module) && !slices.Contains(failed.kept, module) {
			failed.kept = append(failed.kept, module)
		}
	}
	return failed
}

// candidates returns the modules that modprobe loads for a name.
func (h *host) candidates(name string) []string {
	m := h.resolve(canonical(name))
	if len(m.targets) == 0 {
		return []string{canonical(name)}
	}
	var modules []string
	for _, t := range m.wanted() {
		modules = append(modules, t.module)
	}
	return modules
}

// modprobe executes modprobe.
func modprobe(ctx context.Context, names []string) ([]byte, error) {
	path, err := command.LookPath("modprobe")
	if err != nil {
		return nil, fmt.Errorf("%w (is the package kmod installed?)", err)
	}
	out, err := command.Cmd{Path: path, Args: arguments(names)}.Run(ctx)
	return out.Stderr, err
}

// arguments of modprobe: -a takes all operands for modules, not the second for
// the first's parameters, and goes on after a module that fails.
func arguments(names []string) []string { return append([]string{"-a", "--"}, names...) }

// presentByAlias lists the modules present among those that names stand for by alias.
func (h *host) presentByAlias(names []string) []string {
	var modules []string
	for _, name := range names {
		for _, t := range h.resolve(canonical(name)).targets {
			if h.state(t.module).present() && !slices.Contains(modules, t.module) {
				modules = append(modules, t.module)
			}
		}
	}
	return modules
}

// loadError is a load that left modules missing.
type loadError struct {
	reasons []string
	names   [][]string // by reason, quoted
	kept    []string
	err     error // of the execution; nil when modprobe reported success
}

func (e *loadError) add(name, reason string) {
	i := slices.Index(e.reasons, reason)
	if i < 0 {
		i = len(e.reasons)
		e.reasons = append(e.reasons, reason)
		e.names = append(e.names, nil)
	}
	e.names[i] = append(e.names[i], fmt.Sprintf("%q", name))
}

func (e *loadError) Error() string {
	var b strings.Builder
	b.WriteString("load kernel module ")
	for i, reason := range e.reasons {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(strings.Join(e.names[i], ", ") + ": " + reason)
	}
	if len(e.kept) > 0 {
		b.WriteString("; loaded and kept: " + strings.Join(e.kept, ", "))
	}
	return b.String()
}

func (e *loadError) Unwrap() error { return e.err }
