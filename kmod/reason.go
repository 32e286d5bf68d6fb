package kmod

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/command"
)

// outcome is what an execution of modprobe left behind.
type outcome struct {
	stderr []byte
	err    error
}

// exited tells whether modprobe ran to its end.
func (o outcome) exited() bool {
	var exit interface{ ExitCode() int }
	return o.err == nil || errors.As(o.err, &exit)
}

// about returns what modprobe said about a module: the lines that name it, for
// example
//
//	modprobe: WARNING: Module nosuch not found in directory /lib/modules/6.1.0
//	modprobe: ERROR: could not insert 'xfs': Operation not permitted
//	modprobe: ERROR: ../libkmod/libkmod-module.c:1047 command_do() Error running install command '/bin/false' for module x: retcode 1
//
// without what is in front of the message.
func (o outcome) about(names ...string) string {
	var said []string
	for line := range strings.Lines(string(o.stderr)) {
		message, ok := strings.CutPrefix(line, "modprobe: ")
		if !ok || !slices.ContainsFunc(names, func(name string) bool {
			return strings.Contains(message, "'"+name+"'") || strings.Contains(message, "odule "+name+" ") ||
				strings.Contains(message, "odule "+name+":")
		}) {
			continue
		}
		for _, level := range []string{"FATAL: ", "ERROR: ", "WARNING: "} {
			message = strings.TrimPrefix(message, level)
		}
		if strings.HasPrefix(message, "../") {
			if _, text, ok := strings.Cut(message, "() "); ok {
				message = text
			}
		}
		said = append(said, message)
	}
	return command.OneLine(strings.Join(said, "\n"))
}

// reason explains why name is not there after modprobe was asked for it.
func (h *host) reason(name string, out outcome) string {
	if !h.loadable() {
		return "this kernel (" + h.kernel() + ") has no loadable modules, and no module of this name is known to be built in"
	}
	if !out.exited() {
		return out.err.Error()
	}
	module := canonical(name)
	m := h.resolve(module)
	if len(m.targets) == 0 {
		return h.why(module, out, name, module)
	}
	wanted := m.wanted()
	if len(wanted) == 0 {
		lines := make([]string, len(m.targets))
		for i, t := range m.targets {
			lines[i] = command.Printable(t.module) + " (" + t.blacklisted + ")"
		}
		return "every module that alias " + name + " stands for is blacklisted: " + strings.Join(lines, ", ") +
			"; name the module itself to load it all the same"
	}
	var reasons []string
	for _, t := range wanted {
		if !h.state(t.module).present() {
			reasons = append(reasons, fmt.Sprintf("alias for %s (%s): %s",
				command.Printable(t.module), t.via, h.why(t.module, out, t.module)))
		}
	}
	return strings.Join(reasons, "; ")
}

// why explains why one module is not there. The spellings are those that modprobe
// may have used for it.
func (h *host) why(module string, out outcome, spellings ...string) string {
	said := out.about(spellings...)
	if cause := h.prevented(module); cause != "" {
		if said != "" {
			cause += " (modprobe: " + said + ")"
		}
		return cause
	}
	// For an alias' target modprobe says "Unknown symbol in module, or unknown
	// parameter" when there is no such module: it has one word for two ENOENTs.
	if cause := h.notFound(module); cause != "" {
		return cause
	}
	if cause := h.loadingDisabled(); cause != "" {
		return cause
	}
	switch s := h.state(module); {
	case said != "":
		return h.classify(said)
	case s != absent:
		return "modprobe left it in state " + command.Printable(string(s))
	case out.err != nil:
		return out.err.Error()
	}
	return "modprobe reported success, but it is neither loaded nor built in"
}

// prevented tells which line of the configuration or of the kernel's command line
// keeps a module from being loaded, or one that it needs.
func (h *host) prevented(module string) string {
	conf := h.conf()
	for _, m := range append([]string{module}, h.dependencies(module)...) {
		if h.state(m).present() {
			continue
		}
		subject := "it"
		if m != module {
			subject = m + ", which it needs,"
		}
		if slices.Contains(conf.forbidden, m) {
			return subject + " is forbidden by module_blacklist= on the kernel's command line"
		}
		if r, ok := conf.installLine(m); ok {
			return fmt.Sprintf("%s is not loaded because of `install %s %s` in %s",
				subject, command.Printable(r.pattern), command.OneLine(r.value), r.where)
		}
	}
	return ""
}

// notFound tells why modprobe cannot know the module, "" when it does.
func (h *host) notFound(module string) string {
	if h.listed("modules.dep", module) {
		return ""
	}
	if _, err := os.Stat(h.root + h.dir()); err != nil {
		return "no modules of the running kernel are installed, there is no " + h.dir() +
			": install them, or boot the kernel that is installed"
	}
	if len(h.index("modules.dep")) == 0 {
		return h.dir() + "/modules.dep is missing or empty: run depmod -a"
	}
	return "not found in " + h.dir() + ": check the name, or install the package that has it"
}

// kernel is the running kernel's release.
func (h *host) kernel() string { return strings.TrimPrefix(h.dir(), "/lib/modules/") }

// causes lists what the kernel's errors come to, by modprobe's words for them.
// They are errno's, and all that user space learns; dmesg may have more.
var causes = []struct{ word, cause string }{
	{"Exec format error", "wrong version: it was not built for this kernel (%s), or its file is damaged"},
	{"Key was rejected by service", "bad signature: this kernel (%s) does not trust its key, and loads nothing else"},
	{"Required key not available", "bad signature: it is not signed by a key that this kernel (%s) knows, which loads nothing else"},
	{"Bad message", "bad signature: this kernel (%s) cannot read it"},
}

// classify puts the cause in front of what modprobe said.
func (h *host) classify(said string) string {
	for _, c := range causes {
		if strings.Contains(said, c.word) {
			return fmt.Sprintf(c.cause, h.kernel()) + " (modprobe: " + said + ")"
		}
	}
	return said
}
