package kmod

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// fileLimit bounds what is read of one file; modules.alias, the largest, is 1 to
// 3 MB where a distribution builds everything as a module.
const fileLimit = 32 << 20

// host is what the machine's files say about modules. They are read when a
// question needs them, and each once.
type host struct {
	root     string // prefix of all paths
	release  string // "": ask the kernel when it matters
	files    map[string][]byte
	lists    map[string]map[string][]byte // lines of some files, by module
	lookups  int
	config   *rules
	resolved map[string]resolution
}

func (l Loader) host() *host { return &host{root: l.Root, release: l.Release} }

// state says where a module is.
type state string

// What /sys/module/NAME/initstate says, or "built in", or "" for not there.
const (
	absent  state = ""
	live    state = "live"
	builtin state = "built in"
)

func (s state) present() bool { return s == live || s == builtin }

// state finds out about one module, named canonically, without considering what
// else the name may stand for. For a loaded module, the usual case, this is one
// small file.
func (h *host) state(module string) state {
	// An alias line may say anything, ".." for one.
	if !valid(module) {
		return absent
	}
	dir := h.root + "/sys/module/" + module
	if s, err := readState(dir + "/initstate"); err == nil {
		return s
	}
	// A module that is built in and has parameters has the directory without the
	// file. So, for a moment, has a loadable one while it comes or goes; that one
	// stands in /proc/modules.
	if unix.Access(dir, unix.F_OK) == nil && !h.isLoadable(module) {
		return builtin
	}
	// Most that are built in have no directory at all. modules.builtin lists what
	// could have been a module in another configuration; debugfs, which could not,
	// is known to modules.builtin.modinfo only (since Linux 5.2).
	if h.listed("modules.builtin", module) || h.hasBuiltinInfo(module) {
		return builtin
	}
	return absent
}

// hasBuiltinInfo tells whether modules.builtin.modinfo, MODULE.KEY=VALUE with a NUL
// after each, has anything about the module.
func (h *host) hasBuiltinInfo(module string) bool {
	info, key := h.index("modules.builtin.modinfo"), []byte(module+".")
	return bytes.HasPrefix(info, key) || bytes.Contains(info, append([]byte{0}, key...))
}

// readState reads an initstate. The file is a line of at most seven bytes.
func readState(file string) (state, error) {
	data, err := open.Read(file, 16)
	return state(bytes.TrimSpace(data)), err
}

// isLoadable tells whether the kernel lists module among the loadable ones.
func (h *host) isLoadable(module string) bool {
	for line := range bytes.Lines(read(h.root + "/proc/modules")) {
		if name, _, ok := bytes.Cut(line, []byte(" ")); ok && string(name) == module {
			return true
		}
	}
	return false
}

// loadable tells whether the kernel can load modules at all (CONFIG_MODULES).
func (h *host) loadable() bool {
	_, err := os.Stat(h.root + "/proc/modules")
	return !errors.Is(err, fs.ErrNotExist)
}

// dir is where the running kernel's modules are, as a user sees it.
func (h *host) dir() string {
	if h.release == "" {
		var u unix.Utsname
		if err := unix.Uname(&u); err == nil {
			h.release = unix.ByteSliceToString(u.Release[:])
		}
	}
	return "/lib/modules/" + h.release
}

// index returns one of the files that depmod or the kernel's build left in dir.
func (h *host) index(name string) []byte {
	if data, ok := h.files[name]; ok {
		return data
	}
	data := read(h.root + h.dir() + "/" + name)
	if h.files == nil {
		h.files = make(map[string][]byte)
	}
	h.files[name] = data
	return data
}

// listed tells whether a list of module files (modules.builtin, modules.dep) has
// the module.
func (h *host) listed(list, module string) bool {
	_, _, ok := h.entry(list, module)
	return ok
}

// entry returns the two parts of the line of the list that begins with the
// module's file: in modules.dep, this file and those it depends on.
func (h *host) entry(list, module string) (file, rest string, ok bool) {
	line := h.line(list, module)
	f, r, _ := bytes.Cut(line, []byte(":"))
	return string(bytes.TrimSpace(f)), string(bytes.TrimSpace(r)), line != nil
}

// indexAfterLookups: so many in a list are cheaper than a map of its thousands of lines.
const indexAfterLookups = 16

// line finds a module's line in a list, nil when it has none.
func (h *host) line(list, module string) []byte {
	if lines, ok := h.lists[list]; ok {
		return lines[module]
	}
	if h.lookups++; h.lookups > indexAfterLookups {
		lines := make(map[string][]byte)
		for line := range bytes.Lines(h.index(list)) {
			if m := canonical(string(baseOf(line))); lines[m] == nil {
				lines[m] = line
			}
		}
		if h.lists == nil {
			h.lists = make(map[string]map[string][]byte)
		}
		h.lists[list] = lines
		return lines[module]
	}
	for line := range bytes.Lines(h.index(list)) {
		if base := baseOf(line); len(base) == len(module) && isSpelling(base, module) {
			return line
		}
	}
	return nil
}

// baseOf is the name of the file that a line begins with, up to ".ko".
func baseOf(line []byte) []byte {
	file, _, _ := bytes.Cut(line, []byte(":"))
	base, _, ok := bytes.Cut(file[bytes.LastIndexByte(file, '/')+1:], []byte(".ko"))
	if !ok {
		return nil
	}
	return base
}

// isSpelling tells whether base, of the same length, is a spelling of a canonical name.
func isSpelling(base []byte, name string) bool {
	for i, c := range base {
		if c != name[i] && (c != '-' || name[i] != '_') {
			return false
		}
	}
	return true
}

// depFile is a module's file as modules.dep has it, "" when that does not know it.
func (h *host) depFile(module string) string {
	file, _, _ := h.entry("modules.dep", module)
	return file
}

// dependencies are the modules that module needs.
func (h *host) dependencies(module string) []string {
	_, files, _ := h.entry("modules.dep", module)
	modules := strings.Fields(files)
	for i, file := range modules {
		modules[i] = moduleOf(file)
	}
	return modules
}

// moduleOf is the name of the module in a file such as kernel/fs/nfs/nfs-v4.ko.xz.
func moduleOf(file string) string {
	base, _, ok := strings.Cut(path.Base(file), ".ko")
	if !ok {
		return ""
	}
	return canonical(base)
}

// read returns the content of a file. What cannot be read is as good as empty:
// that is how modprobe takes it, and modprobe will say so where it matters.
func read(file string) []byte {
	data, err := open.Read(file, fileLimit)
	if err != nil {
		return nil
	}
	return data
}
