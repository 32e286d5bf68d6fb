package kmod

import (
	"path"
	"slices"
	"strings"
)

// insertion is one step of modprobe's way to load a module.
type insertion struct {
	module string
	file   string // that is inserted; "" when command is executed in its place
	// command is of the install line at where.
	command, where string
	// required: when it fails, modprobe gives up. Soft dependencies may fail.
	required bool
}

// sequence returns what modprobe would do to load one module, in its order, as
// long as everything works. What is present is left out.
func (h *host) sequence(module string) []insertion {
	s := sequencer{host: h, required: map[string]bool{}, visited: map[string]bool{}}
	s.probe(module, true)
	return s.list
}

// sequencer is kmod's __kmod_module_get_probe_list: dependencies, each with its
// own soft dependencies around it, then the module with its own. Dependencies
// come from modules.dep, which has the whole closure in a line, the first to be
// inserted last.
type sequencer struct {
	*host
	list              []insertion
	required, visited map[string]bool
}

func (s *sequencer) probe(module string, required bool) {
	if s.visited[module] {
		return
	}
	s.visited[module] = true
	needs := s.dependencies(module)
	slices.Reverse(needs)
	if required {
		s.required[module] = true
		for _, m := range needs {
			s.required[m] = true
		}
	}
	for _, m := range needs {
		s.surround(m)
	}
	s.surround(module)
}

// surround appends a module with the soft dependencies before and after it.
func (s *sequencer) surround(module string) {
	pre, post := s.softdeps(module)
	for _, m := range pre {
		s.probe(m, false)
	}
	// A module with soft dependencies has its install line ignored, be that meant
	// or not: modprobe takes both for two ways of saying the same.
	s.append(module, len(pre)+len(post) == 0)
	for _, m := range post {
		s.probe(m, false)
	}
}

func (s *sequencer) append(module string, heedInstall bool) {
	if s.state(module).present() || slices.ContainsFunc(s.list, func(i insertion) bool { return i.module == module }) {
		return
	}
	step := insertion{module: module, required: s.required[module]}
	if r, ok := s.conf().installLine(module); ok && heedInstall {
		step.command, step.where = r.value, r.where
	} else if step.file = s.file(module); step.file == "" {
		return
	}
	s.list = append(s.list, step)
}

// softdeps returns the modules that are loaded before and after a module, when
// they can be. The first line about it counts.
func (h *host) softdeps(module string) (pre, post []string) {
	for _, r := range h.conf().softdeps {
		if !match(r.pattern, module) {
			continue
		}
		var list *[]string
		for word := range strings.FieldsSeq(r.value) {
			switch {
			case word == "pre:":
				list = &pre
			case word == "post:":
				list = &post
			case list != nil:
				*list = append(*list, h.modulesNamed(canonical(word))...)
			}
		}
		return pre, post
	}
	return nil, nil
}

// modulesNamed returns the modules that a canonical name stands for, blacklisted or not;
// none when there is no such module.
func (h *host) modulesNamed(name string) []string {
	m := h.resolve(name)
	if len(m.targets) == 0 {
		if _, install := h.conf().installLine(name); install || h.listed("modules.dep", name) {
			return []string{name}
		}
		return nil
	}
	modules := make([]string, len(m.targets))
	for i, t := range m.targets {
		modules[i] = t.module
	}
	return modules
}

// file is the path of a module's file, "" when there is none.
func (h *host) file(module string) string {
	f := h.depFile(module)
	if f != "" && !path.IsAbs(f) {
		f = h.dir() + "/" + f
	}
	return f
}
