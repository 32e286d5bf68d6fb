package kmod

import (
	"os"
	"path"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/command"
)

// DryRun is what a start that asks for a module would come to.
type DryRun struct {
	Name    string   `json:"name"`
	State   Expected `json:"state"`
	Modules []string `json:"modules,omitempty"` // that the name stands for
	// Files would be inserted, in this order; what is in the way of "install "
	// would be executed.
	Files  []string `json:"files,omitempty"`
	Notes  []string `json:"notes,omitempty"`
	Reason string   `json:"reason,omitempty"` // why the start would fail
}

// Expected is what a DryRun expects of a module.
type Expected string

// The expectations: the first three are good.
const (
	IsPresent  Expected = "present"
	IsBuiltIn  Expected = "built in"
	IsLoadable Expected = "loadable"
	IsDenied   Expected = "denied"
	IsMissing  Expected = "missing"
	IsBlocked  Expected = "blocked" // it is there, and something keeps it away
)

// Fails tells whether a start that asks for the name would fail.
func (f DryRun) Fails() bool { return f.Reason != "" }

// Check tells what a start that asks for names would come to. It loads, executes
// and writes nothing. What only the kernel knows (a signature, a version, missing
// hardware) is not foretold.
func (l Loader) Check(names []string) ([]DryRun, error) {
	for _, name := range names {
		if !valid(name) {
			return nil, &NameError{name}
		}
	}
	h := l.host()
	p, err := h.policy()
	if err != nil {
		return nil, err
	}
	list := make([]DryRun, len(names))
	for i, name := range names {
		list[i] = h.dryRun(p, name)
	}
	return list, nil
}

func (h *host) dryRun(p *policy, name string) DryRun {
	f := DryRun{Name: name}
	var denied string
	f.Modules, denied = h.denial(p, name)
	module := canonical(name)
	m := h.resolve(module)
	switch {
	case denied != "":
		f.State, f.Reason = IsDenied, denied
	case h.has(name, false):
		f.State = IsPresent
		if h.state(f.Modules[0]) == builtin {
			f.State = IsBuiltIn
		}
	case !h.loadable():
		f.State, f.Reason = IsMissing, h.reason(name, outcome{})
	case len(m.targets) == 0 && len(h.modulesNamed(module)) == 0:
		f.State, f.Reason = IsMissing, h.notFound(module)
	case len(m.targets) > 0 && len(m.wanted()) == 0:
		f.State, f.Reason = IsBlocked, h.reason(name, outcome{})
	case h.loadingDisabled() != "":
		f.State, f.Reason = IsBlocked, h.loadingDisabled()
	default:
		h.simulate(&f, m)
	}
	for _, t := range m.targets {
		if t.blacklisted != "" {
			f.Notes = append(f.Notes, command.Printable(t.module)+" is blacklisted ("+t.blacklisted+"), so this alias does not load it")
		}
	}
	return f
}

// simulate goes through what modprobe would do for a name.
func (h *host) simulate(f *DryRun, m resolution) {
	var reasons []string
	good := 0
	for _, module := range f.Modules {
		why := h.simulateModule(f, module)
		if why == "" {
			good++
			continue
		}
		if len(m.targets) > 0 {
			why = "alias for " + command.Printable(module) + ": " + why
		}
		reasons = append(reasons, why)
	}
	if f.State = IsLoadable; good == 0 || m.all && len(reasons) > 0 {
		f.State, f.Reason = IsBlocked, strings.Join(reasons, "; ")
		return
	}
	f.Notes = append(f.Notes, reasons...)
}

// simulateModule appends what modprobe would insert for one module and returns what stops it.
func (h *host) simulateModule(f *DryRun, module string) (reason string) {
	conf := h.conf()
	if h.state(module).present() {
		return ""
	}
	steps := h.sequence(module)
	if !slices.ContainsFunc(steps, func(i insertion) bool { return i.module == module }) {
		return h.notFound(module)
	}
	for _, step := range steps {
		file, why := step.file, ""
		switch {
		case slices.Contains(conf.forbidden, step.module):
			why = "module_blacklist= on the kernel's command line forbids " + step.module
		case step.command != "" && loadsNothing(step.command):
			why = "`install " + step.module + " " + command.OneLine(step.command) + "` in " + step.where + " keeps it away"
		case step.command != "":
			file = "install " + step.module + " " + command.OneLine(step.command)
			f.Notes = append(f.Notes, step.where+" has a command executed for "+step.module+"; whether that loads "+step.module+" is not known")
		default:
			if _, err := os.Stat(h.root + file); err != nil {
				why = err.Error() + ": run depmod -a"
			}
		}
		if why != "" && step.required {
			return why
		}
		if why != "" {
			f.Notes = append(f.Notes, "soft dependency "+step.module+": "+why)
			continue
		}
		if where := conf.blacklisted(step.module); where != "" {
			f.Notes = append(f.Notes, step.module+" is blacklisted ("+where+"), which does not count for a module that is named or needed")
		}
		if !slices.Contains(f.Files, file) {
			f.Files = append(f.Files, file)
		}
	}
	return ""
}

// loadsNothing tells whether the command of an install line certainly loads nothing.
func loadsNothing(cmd string) bool {
	word, _ := field(cmd)
	return slices.Contains([]string{"true", "false", ":", "exit"}, path.Base(word)) && !strings.ContainsAny(cmd, ";&|`$(")
}

// loadingDisabled tells why the kernel would load nothing, "" when it would.
func (h *host) loadingDisabled() string {
	if strings.TrimSpace(string(read(h.root+"/proc/sys/kernel/modules_disabled"))) == "1" {
		return "loading modules is switched off until the next boot (sysctl kernel.modules_disabled is 1)"
	}
	return ""
}
