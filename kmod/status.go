package kmod

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
)

// Status is what is known of one module.
type Status struct {
	Module      string       `json:"module"`
	State       string       `json:"state"` // "live", "built in", "missing", or what the kernel says
	Size        int64        `json:"size,omitempty"`
	UseCount    int          `json:"useCount"`
	UsedBy      []string     `json:"usedBy,omitempty"`
	RequestedBy []RequestRef `json:"askedBy,omitempty"`
	// Origin is "loaded" (by this program, for a container), "found" (by somebody else),
	// or "" for a module that is not loaded.
	Origin     string     `json:"origin,omitempty"`
	LoadedFor  string     `json:"loadedFor,omitempty"`
	LoadedName string     `json:"loadedForName,omitempty"`
	LoadedAt   *time.Time `json:"loadedAt,omitempty"`
}

// RequestRef is a container that asks for a module.
type RequestRef struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	As      string `json:"as"` // the name it uses
	Running bool   `json:"running"`
}

// status collects what the kernel and the records say. It changes nothing: what
// the kernel does not confirm is left out.
type status struct {
	*host
	loads    []Load
	requests []Request
	procs    map[string]procModule
}

// procModule is a line of /proc/modules.
type procModule struct {
	size  int64
	count int
	users []string
}

func (l Loader) status() (s status, err error) {
	s.host = l.host()
	s.procs = s.procModules()
	if s.loads, err = l.loaded(s.host); err != nil {
		return s, err
	}
	s.requests, err = l.requests()
	return s, err
}

func (h *host) procModules() map[string]procModule {
	list := make(map[string]procModule)
	for line := range bytes.Lines(read(h.root + "/proc/modules")) {
		f := strings.Fields(string(line))
		if len(f) < 4 {
			continue
		}
		var m procModule
		m.size, _ = strconv.ParseInt(f[1], 10, 64)
		m.count, _ = strconv.Atoi(f[2])
		for user := range strings.SplitSeq(f[3], ",") {
			if user != "" && user != "-" && user[0] != '[' { // [permanent]
				m.users = append(m.users, user)
			}
		}
		list[f[0]] = m
	}
	return list
}

// presentCandidates returns the modules that a name stands for now: those of its meanings
// that are there, or all when none is.
func (s status) presentCandidates(name string) []string {
	name = canonical(name)
	if s.state(name).present() {
		return []string{name}
	}
	all := s.candidates(name)
	there := slices.DeleteFunc(slices.Clone(all), func(m string) bool { return !s.state(m).present() })
	if len(there) > 0 || len(all) == 0 {
		all = there
	}
	if len(all) == 0 {
		return []string{name}
	}
	return all
}

// List returns the modules that running containers ask for and those that we
// loaded, by name.
func (l Loader) List() ([]Status, error) {
	s, err := l.status()
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool)
	for _, load := range s.loads {
		wanted[load.Module] = true
	}
	return s.list(wanted), nil
}

// ListFor returns the modules that one container asks for. names is what it asks
// for at a start, to which the record adds what it asked for at its last.
func (l Loader) ListFor(by Requester, names []string) ([]Status, error) {
	s, err := l.status()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.requests, func(a Request) bool { return a.ID == by.ID })
	if i < 0 {
		s.requests = append(s.requests, Request{Requester: by})
		i = len(s.requests) - 1
	}
	s.requests[i].Names = append(slices.Clone(s.requests[i].Names), Without(names, s.requests[i].Names)...)
	wanted := make(map[string]bool)
	for _, name := range s.requests[i].Names {
		for _, m := range s.presentCandidates(name) {
			wanted[m] = true
		}
	}
	all := s.list(wanted)
	return slices.DeleteFunc(all, func(st Status) bool { return !wanted[st.Module] }), nil
}

func (s status) list(wanted map[string]bool) []Status {
	wishes := make(map[string][]RequestRef)
	for _, a := range s.requests {
		for _, name := range a.Names {
			for _, m := range s.presentCandidates(name) {
				wishes[m] = append(wishes[m], RequestRef{ID: a.ID, Name: a.Name, As: name, Running: a.Init.Lives()})
			}
		}
	}
	for m := range wishes {
		wanted[m] = true
	}
	var list []Status
	for m := range wanted {
		st := s.moduleStatus(m)
		st.RequestedBy = wishes[m]
		list = append(list, st)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Module < list[j].Module })
	return list
}

func (s status) moduleStatus(module string) Status {
	proc := s.procs[module]
	st := Status{Module: module, State: string(s.state(module)), Size: proc.size, UseCount: proc.count, UsedBy: proc.users}
	switch st.State {
	case string(absent):
		st.State = "missing"
		return st
	case string(builtin):
		return st
	}
	st.Origin = "found"
	if i := slices.IndexFunc(s.loads, func(l Load) bool { return l.Module == module }); i >= 0 {
		l := s.loads[i]
		st.Origin, st.LoadedFor, st.LoadedName, st.LoadedAt = "loaded", l.For, l.Name, &l.At
	}
	return st
}

// Unloadable tells why the modules of names must not be unloaded, nil when they
// may. still is what the container goes on asking for.
func (l Loader) Unloadable(id string, names, still []string) error {
	s, err := l.status()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(s.requests, func(a Request) bool { return a.ID == id }); i >= 0 {
		s.requests[i].Names = still
	}
	_, err = s.unloadable(names)
	return err
}

// unloadable returns the loaded modules of names, or why they must stay.
func (s status) unloadable(names []string) ([]string, error) {
	var modules []string
	for _, name := range names {
		for _, m := range s.presentCandidates(name) {
			if _, there := s.procs[m]; there && !slices.Contains(modules, m) {
				modules = append(modules, m)
			}
		}
	}
	var errs []error
	for _, m := range modules {
		if why := s.whyNeeded(m, modules); len(why) > 0 {
			errs = append(errs, fmt.Errorf("%s stays: %s", m, strings.Join(why, ", ")))
		}
	}
	return modules, errors.Join(errs...)
}

// whyNeeded tells who needs a module, apart from those that go with it.
func (s status) whyNeeded(module string, going []string) (why []string) {
	if !slices.ContainsFunc(s.loads, func(l Load) bool { return l.Module == module }) {
		why = append(why, "it was not loaded by this tool, so the host may want it")
	}
	proc := s.procs[module]
	holders := 0
	for _, user := range proc.users {
		if slices.Contains(going, user) {
			holders++
			continue
		}
		why = append(why, "module "+user+" uses it")
	}
	// A user may hold more than one reference (ip_vs_wrr holds two of ip_vs); where
	// one goes first, the kernel will tell what remains.
	if other := proc.count - len(proc.users); other > 0 && holders == 0 {
		why = append(why, fmt.Sprintf("its use count is %d", proc.count))
	}
	return append(why, s.requestedBy(module)...)
}

// requestedBy tells which running containers ask for a module.
func (s status) requestedBy(module string) (why []string) {
	for _, a := range s.requests {
		for _, name := range a.Names {
			if slices.Contains(s.presentCandidates(name), module) {
				why = append(why, "container "+cmp.Or(a.Name, a.ID)+" asks for it")
			}
		}
	}
	return why
}

// Unload unloads the modules of names, with what was loaded only because they need
// it, and returns what is gone. All of them may go, or none does.
func (l Loader) Unload(ctx context.Context, names []string) (gone []string, err error) {
	lock, err := l.lock(ctx, l.Wait)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	s, err := l.status()
	if err != nil {
		return nil, err
	}
	modules, err := s.unloadable(names)
	if err != nil {
		return nil, err
	}
	remove := l.Remove
	if remove == nil {
		remove = deleteModule
	}
	defer func() { err = errors.Join(err, l.save(l.stillLoaded())) }()
	for len(modules) > 0 {
		// Users before what they use.
		procs := s.procModules()
		i := max(0, slices.IndexFunc(modules, func(m string) bool { return procs[m].count == 0 }))
		if err := remove(modules[i]); err != nil {
			return gone, fmt.Errorf("unload %s: %w", modules[i], err)
		}
		gone = append(gone, modules[i])
		modules = slices.Delete(modules, i, i+1)
	}
	for again := true; again; {
		again = false
		procs := s.procModules()
		for _, load := range s.loads {
			m := load.Module
			if _, there := procs[m]; !there || procs[m].count > 0 || len(s.requestedBy(m)) > 0 || !s.isAutoLoaded(load, gone, names) {
				continue
			}
			if remove(m) == nil {
				gone = append(gone, m)
				again = true
			}
		}
	}
	return gone, nil
}

// isAutoLoaded tells whether a module was loaded for the sake of those gone: because
// one of them needs it, or with the name that was asked for.
func (s status) isAutoLoaded(l Load, gone, names []string) bool {
	return slices.ContainsFunc(gone, func(g string) bool { return slices.Contains(s.dependencies(g), l.Module) }) ||
		slices.ContainsFunc(names, func(n string) bool { return Same(n, l.As) })
}

// stillLoaded is what we loaded and what the kernel still has.
func (l Loader) stillLoaded() []Load {
	loads, err := l.loaded(l.host())
	if err != nil {
		return nil
	}
	return loads
}

// deleteModule asks the kernel to unload one module. Not modprobe -r: that goes on
// to unload what the module needed, whoever asks for it.
func deleteModule(module string) error {
	if err := unix.DeleteModule(module, unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("%s: %w", command.Printable(module), err)
	}
	return nil
}
