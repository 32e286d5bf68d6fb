package kmod

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/command"
)

// Loader loads modules. Its zero value is the one to use; the fields are for
// tests.
type Loader struct {
	Root    string // prefix of /sys, /proc, /lib/modules and the modprobe.d folders
	Release string // of the kernel; "": the running one's
	// Run has modprobe load names and returns what it wrote to standard error.
	Run func(ctx context.Context, names []string) (stderr []byte, err error)
}

// Load makes every named module present in the running kernel. It executes
// modprobe once, for those that are neither loaded nor built in, and nothing when
// there are none. What was loaded stays when others fail; the error, one line,
// says so and gives a reason for each that is not there.
func (l Loader) Load(ctx context.Context, names []string) error {
	names, err := unique(names)
	if err != nil {
		return err
	}
	h := l.host()
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return h.has(name, false) })
	if len(missing) == 0 {
		return nil
	}
	before := h.parts(missing)
	run := l.Run
	if run == nil {
		run = modprobe
	}
	out := outcome{}
	out.stderr, out.err = run(ctx, missing)

	// Neither the exit status nor its absence tells which module is there: -a goes
	// on after a failure, a blacklisted alias is no failure, and two containers
	// may start at once. So look again.
	failed := &loadError{err: out.err}
	for _, name := range missing {
		if h.has(name, true) {
			failed.kept = append(failed.kept, name)
			continue
		}
		failed.add(name, h.reason(name, out))
	}
	if len(failed.reasons) == 0 {
		return nil
	}
	for _, module := range h.parts(missing) {
		if !slices.Contains(before, module) && !slices.Contains(failed.kept, module) {
			failed.kept = append(failed.kept, module)
		}
	}
	return failed
}

// modprobe executes modprobe. A kernel that loads the same module for two callers
// at once makes the second wait, so there is no lock here.
func modprobe(ctx context.Context, names []string) ([]byte, error) {
	path, err := command.Find("modprobe")
	if err != nil {
		return nil, fmt.Errorf("%w (is the package kmod installed?)", err)
	}
	out, err := command.Cmd{Path: path, Args: arguments(names)}.Run(ctx)
	return out.Stderr, err
}

// arguments of modprobe: -a takes all operands for modules, not the second for
// the first's parameters, and goes on after one that fails.
func arguments(names []string) []string { return append([]string{"-a", "--"}, names...) }

// parts lists the modules present among those that names stand for by alias.
func (h *host) parts(names []string) []string {
	var modules []string
	for _, name := range names {
		for _, t := range h.meaning(canonical(name)).targets {
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
