package kmod

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// fileLimit bounds what is read of one file; modules.alias, the largest, is 1 to
// 3 MB where a distribution builds everything as a module.
const fileLimit = 32 << 20

// host is what the machine's files say about modules. They are read when a
// question needs them, and each once.
type host struct {
	root    string // prefix of all paths
	release string // "": ask the kernel when it matters
	files   map[string][]byte
	config  *config
	means   map[string]meaning
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
	if unix.Access(dir, unix.F_OK) == nil && !h.moves(module) {
		return builtin
	}
	// Most that are built in have no directory at all. modules.builtin lists what
	// could have been a module in another configuration; debugfs, which could not,
	// is known to modules.builtin.modinfo only (since Linux 5.2).
	if h.listed("modules.builtin", module) || h.describes(module) {
		return builtin
	}
	return absent
}

// describes tells whether modules.builtin.modinfo, MODULE.KEY=VALUE with a NUL
// after each, has anything about the module.
func (h *host) describes(module string) bool {
	info, key := h.index("modules.builtin.modinfo"), []byte(module+".")
	return bytes.HasPrefix(info, key) || bytes.Contains(info, append([]byte{0}, key...))
}

// readState reads an initstate. The file is a line of at most seven bytes.
func readState(file string) (state, error) {
	f, err := os.Open(file)
	if err != nil {
		return absent, err
	}
	defer f.Close()
	var buf [16]byte
	n, err := f.Read(buf[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return absent, err
	}
	return state(bytes.TrimSpace(buf[:n])), nil
}

// moves tells whether the kernel lists module among the loadable ones.
func (h *host) moves(module string) bool {
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
	_, ok := h.entry(list, module)
	return ok
}

// entry returns the rest of the line of the list that begins with the module's
// file: in modules.dep, the files it depends on.
func (h *host) entry(list, module string) (rest string, ok bool) {
	for line := range bytes.Lines(h.index(list)) {
		file, rest, _ := bytes.Cut(line, []byte(":"))
		if moduleOf(string(bytes.TrimSpace(file))) == module {
			return string(bytes.TrimSpace(rest)), true
		}
	}
	return "", false
}

// dependencies are the modules that module needs.
func (h *host) dependencies(module string) []string {
	files, _ := h.entry("modules.dep", module)
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

// read returns the content of a regular file, or the first fileLimit bytes of it.
// What cannot be read is as good as empty: that is how modprobe takes it, and
// modprobe will say so where it matters.
func read(file string) []byte {
	// O_NONBLOCK for the case that somebody put a fifo there.
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, fileLimit))
	if err != nil {
		return nil
	}
	return data
}
