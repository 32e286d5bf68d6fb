package kmod

import (
	"bytes"
	"slices"
	"strings"
)

// aliasTarget is one module that a name stands for.
type aliasTarget struct {
	module      string
	via         string // the line that says so
	blacklisted string // where it is kept from being loaded by an alias; "" if not
}

// resolution is what modprobe makes of a name that is not a loaded module.
type resolution struct {
	targets []aliasTarget // none: the name can only be a module's own
	// all: every target is meant. Lines of modprobe.d are an administrator's
	// enumeration. The aliases in modules carry name alternatives: crypto-aes is
	// aesni_intel and padlock_aes, of which a machine has one, and the other says
	// ENODEV. modprobe's exit status is then that of the last target, which makes
	// it 1 for crypto-aes and 0 for net-pf-40 where hv_sock fails among three.
	all bool
}

// resolve returns what a canonical name means. Looking it up takes milliseconds,
// and a name that fails is asked about several times.
func (h *host) resolve(name string) resolution {
	m, known := h.resolved[name]
	if !known {
		m = h.resolveAlias(name)
		if h.resolved == nil {
			h.resolved = make(map[string]resolution)
		}
		h.resolved[name] = m
	}
	return m
}

// resolveAlias searches as kmod does: the first source that knows the name wins. An
// alias in modprobe.d beats even a module of that name, and a target is always a
// module's name, never an alias again.
func (h *host) resolveAlias(name string) resolution {
	conf := h.conf()
	m := resolution{all: true}
	for _, r := range conf.aliases {
		if match(r.pattern, name) {
			m.add(r.value, r.where, conf)
		}
	}
	if len(m.targets) > 0 {
		return m
	}
	if h.listed("modules.dep", name) || slices.ContainsFunc(conf.install, func(r rule) bool { return r.pattern == name }) {
		return resolution{}
	}
	m.all = false
	for line := range bytes.Lines(h.index("modules.alias")) {
		if len(line) <= len(aliasWord) || !mayMatch(line[len(aliasWord):], name) {
			continue
		}
		pattern, module, ok := aliasLine(line)
		if ok && matchRaw(pattern, name) {
			m.add(string(module), h.dir()+"/modules.alias", conf)
		}
	}
	if len(m.targets) > 0 {
		return m
	}
	// kmod reads this since version 27; for older ones it does no harm: what is
	// built in is there.
	for field := range bytes.SplitSeq(h.index("modules.builtin.modinfo"), []byte{0}) {
		module, rest, ok := bytes.Cut(field, []byte("."))
		pattern, isAlias := bytes.CutPrefix(rest, []byte("alias="))
		if ok && isAlias && mayMatch(pattern, name) && matchRaw(pattern, name) {
			m.add(string(module), h.dir()+"/modules.builtin.modinfo", conf)
		}
	}
	return m
}

func (m *resolution) add(module, via string, conf *rules) {
	if !slices.ContainsFunc(m.targets, func(t aliasTarget) bool { return t.module == module }) {
		m.targets = append(m.targets, aliasTarget{module: module, via: via, blacklisted: conf.blacklisted(module)})
	}
}

// wanted are the targets that modprobe loads.
func (m resolution) wanted() []aliasTarget {
	return slices.DeleteFunc(slices.Clone(m.targets), func(t aliasTarget) bool { return t.blacklisted != "" })
}

const aliasWord = "alias "

// aliasLine takes "alias PATTERN MODULE" apart.
func aliasLine(line []byte) (pattern, module []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(aliasWord))
	if !ok {
		return nil, nil, false
	}
	pattern, module, ok = bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	return pattern, module, ok && len(pattern) > 0
}

// mayMatch is a cheap test: of the tens of thousands of patterns in modules.alias
// all but a few begin with another letter.
func mayMatch(pattern []byte, name string) bool {
	return len(pattern) > 0 && (pattern[0] == name[0] || strings.IndexByte(`*?[\-`, pattern[0]) >= 0)
}

func matchRaw(pattern []byte, name string) bool {
	p, ok := underscores(string(pattern))
	return ok && match(p, name)
}

// has tells whether the kernel has everything that name means. Before modprobe is
// executed that includes each alternative it would try; afterwards one is enough.
func (h *host) has(name string, afterwards bool) bool {
	name = canonical(name)
	if h.state(name).present() {
		return true
	}
	m := h.resolve(name)
	wanted, all := m.wanted(), m.all || !afterwards
	if len(wanted) == 0 {
		// All are blacklisted; somebody may have loaded one by its own name.
		wanted, all = m.targets, false
	}
	there := 0
	for _, t := range wanted {
		if h.state(t.module).present() {
			there++
		}
	}
	return there > 0 && (there == len(wanted) || !all)
}

// Has tells whether the kernel has what name stands for, loaded or built in.
func (l Loader) Has(name string) bool { return l.host().has(name, false) }
