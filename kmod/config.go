package kmod

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
)

// configDirs are kmod's folders in their order: a file hides those of the same
// name in later folders. /usr/lib and /lib are one folder nearly everywhere;
// which of them kmod reads was decided when it was built.
var configDirs = [...]string{
	"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d",
}

// rules are what modprobe.d(5) says about the loading of modules, as far as it
// decides whether and with what a module gets loaded; options do not.
type rules struct {
	aliases   []rule
	blacklist []rule
	install   []rule
	softdeps  []rule
	forbidden []string // the kernel's own list: module_blacklist=
}

// rule is one line of the configuration.
type rule struct {
	pattern string // what it is about; '-' outside of brackets is '_'
	value   string // an alias' module, the rest of an install or softdep line
	where   string // file:line
}

// conf reads the configuration.
func (h *host) conf() *rules {
	if h.config != nil {
		return h.config
	}
	h.config = new(rules)
	// depmod collects the modules' own soft dependencies in a file that kmod sorts
	// among the others by its name.
	files, own := h.confFiles(), h.dir()+"/modules.softdep"
	at := slices.IndexFunc(files, func(f string) bool { return path.Base(f) > path.Base(own) })
	if at < 0 {
		at = len(files)
	}
	for _, file := range slices.Insert(files, at, own) {
		h.config.parse(read(h.root+file), file)
	}
	h.config.parseCommandLine(read(h.root + "/proc/cmdline"))
	return h.config
}

// confFiles lists the configuration's files in the order in which they count, by
// name and not by folder. kmod 30 reads *.alias too, and takes a plain file in
// place of a folder.
func (h *host) confFiles() []string {
	type file struct{ name, path string }
	var files []file
	seen := make(map[string]bool)
	add := func(name, path string) {
		if !seen[name] {
			seen[name] = true
			files = append(files, file{name, path})
		}
	}
	for _, dir := range configDirs {
		info, err := os.Stat(h.root + dir)
		if err != nil {
			continue
		}
		if info.Mode().IsRegular() {
			add("modprobe.d", dir)
			continue
		}
		entries, err := os.ReadDir(h.root + dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := e.Name()
			if name[0] != '.' && !e.IsDir() && (strings.HasSuffix(name, ".conf") || strings.HasSuffix(name, ".alias")) {
				add(name, dir+"/"+name)
			}
		}
	}
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.path
	}
	return paths
}

// parse adds the lines of one file. Bad lines are ignored, as modprobe ignores
// them (with a complaint). A '#' counts at the beginning of a line only.
func (c *rules) parse(data []byte, file string) {
	lines := logicalLines{data: data}
	for {
		line, number, ok := lines.next()
		if !ok {
			return
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		keyword, rest := field(line)
		subject, rest := field(rest)
		pattern, ok := underscores(subject)
		if !ok || pattern == "" {
			continue
		}
		r := rule{pattern: pattern, where: fmt.Sprintf("%s:%d", file, number)}
		switch keyword {
		case "alias":
			module, _ := field(rest)
			if r.value, ok = underscores(module); ok && r.value != "" {
				c.aliases = append(c.aliases, r)
			}
		case "blacklist":
			c.blacklist = append(c.blacklist, r)
		case "install":
			if r.value = strings.TrimLeft(rest, " \t"); r.value != "" {
				c.install = append(c.install, r)
			}
		case "softdep":
			if r.value = strings.TrimLeft(rest, " \t"); r.value != "" {
				c.softdeps = append(c.softdeps, r)
			}
		}
	}
}

// parseCommandLine adds the kernel's command line: modprobe.blacklist=, which is
// like blacklist lines, and module_blacklist=, which makes the kernel refuse the
// module (EPERM), however it is asked for. Both compare names as they are: with
// kmod 30 and Linux 6.1 neither modprobe.blacklist=nf-nat nor
// module_blacklist=nf-nat keeps nf_nat away.
func (c *rules) parseCommandLine(data []byte) {
	for param := range strings.FieldsSeq(string(data)) {
		key, value, _ := strings.Cut(param, "=")
		names := strings.Split(strings.Trim(value, `"`), ",")
		switch canonical(key) {
		case "modprobe.blacklist":
			for _, name := range names {
				c.blacklist = append(c.blacklist, rule{pattern: name, where: "modprobe.blacklist= on the kernel's command line"})
			}
		case "module_blacklist":
			c.forbidden = names // of several, the kernel keeps the last
		}
	}
}

// blacklisted returns where a module is kept from being loaded by an alias, or
// "". Blacklist lines are names, not patterns.
func (c *rules) blacklisted(module string) string {
	for _, r := range c.blacklist {
		if r.pattern == module {
			return r.where
		}
	}
	return ""
}

// installLine returns the line whose command modprobe executes instead of
// loading the module. The first counts.
func (c *rules) installLine(module string) (rule, bool) {
	for _, r := range c.install {
		if match(r.pattern, module) {
			return r, true
		}
	}
	return rule{}, false
}

// field splits off the first word.
func field(line string) (word, rest string) {
	line = strings.TrimLeft(line, " \t")
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, ""
}

// underscores replaces '-' outside of brackets by '_'. A bracket without its
// partner makes modprobe ignore the line.
func underscores(pattern string) (string, bool) {
	if !strings.ContainsAny(pattern, "-[]") {
		return pattern, true
	}
	b := []byte(pattern)
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '-':
			b[i] = '_'
		case ']':
			return "", false
		case '[':
			end := bytes.IndexByte(b[i:], ']')
			if end < 0 {
				return "", false
			}
			i += end
		}
	}
	return string(b), true
}

// logicalLines reads logical lines: a backslash before a newline continues the line,
// before anything else it is dropped.
type logicalLines struct {
	data   []byte
	number int
}

// next returns a line and the number of its last physical line, which is what
// modprobe names in its complaints.
func (w *logicalLines) next() (line string, number int, ok bool) {
	if len(w.data) == 0 {
		return "", 0, false
	}
	var b strings.Builder
	for len(w.data) > 0 {
		c := w.data[0]
		w.data = w.data[1:]
		if c == '\\' {
			if len(w.data) == 0 {
				break
			}
			c = w.data[0]
			w.data = w.data[1:]
			if c == '\n' {
				w.number++
				continue
			}
		} else if c == '\n' {
			break
		}
		b.WriteByte(c)
	}
	w.number++
	return b.String(), w.number, true
}
