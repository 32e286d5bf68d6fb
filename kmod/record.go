package kmod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// What is remembered until the next boot, below place.Modules, each file replaced
// as a whole:
//
//	asks/<container id>  what a running container asks for. Written by its start
//	                     and the commands that change it, under the container's
//	                     lock; removed by its stop.
//	loaded               the modules that we loaded. Written under the module lock,
//	                     before modprobe is executed and after.
//	lock                 the module lock
const (
	requestsDir = "asks"
	loadedFile  = "loaded"
	lockName    = "lock"
)

// recordLimit bounds what is read of a record; the largest has 512 names.
const recordLimit = 4 << 20

// Requester is a container that asks for modules.
type Requester struct {
	ID   string     `json:"id"`
	Name string     `json:"name,omitempty"` // what people call it, where that is known
	Init process.ID `json:"init"`           // zero for a container that does not run
}

// Request is what one container asks for.
type Request struct {
	Boot string `json:"boot"` // when: pids mean nothing after the next
	Requester
	At    time.Time `json:"at"`
	Names []string  `json:"names"`
}

// Load is the record of a module that we loaded.
type Load struct {
	Module string    `json:"module"`
	As     string    `json:"as"` // the name that was asked for
	For    string    `json:"for"`
	Name   string    `json:"name,omitempty"`
	At     time.Time `json:"at"`
	// Inode of the module's directory in sysfs, which is another one when the
	// module was unloaded and loaded by somebody else.
	Inode uint64 `json:"inode,omitempty"`
	// Pending says that this was written before modprobe was executed, and that
	// nobody wrote how that ended.
	Pending bool `json:"pending,omitempty"`
}

// loadedRecord is the content of loadedFile.
type loadedRecord struct {
	Boot   string `json:"boot"`
	Loaded []Load `json:"loaded"`
}

func (l Loader) place(elem ...string) string {
	return filepath.Join(append([]string{l.Root, place.Modules}, elem...)...)
}

// RequestPath is where it is written what a running container asks for.
func (l Loader) RequestPath(id string) string { return l.place(requestsDir, id) }

// makePlace makes the directory of all of it, in that of the generation whose
// place it is.
func (l Loader) makePlace() error {
	if err := mountpoint.Mkdir(l.Root+place.Isulad.RunDir, 0o644); err != nil {
		return err
	}
	return mountpoint.Mkdir(l.place(), 0o700)
}

// lock takes the module lock. It is taken alone: modprobe runs under it, which
// may take long and must not keep a container's commands waiting.
func (l Loader) lock(ctx context.Context, wait time.Duration) (*config.Lock, error) {
	if err := l.makePlace(); err != nil {
		return nil, err
	}
	if wait == 0 {
		wait = 10 * time.Second
	}
	return config.LockFile(ctx, l.place(lockName), wait)
}

// bootID tells this boot from others.
func (l Loader) bootID() string {
	return strings.TrimSpace(string(read(l.Root + "/proc/sys/kernel/random/boot_id")))
}

// inode identifies one loading of a module, 0 when it is not there.
func (h *host) inode(module string) uint64 {
	var st unix.Stat_t
	if !valid(module) || unix.Stat(h.root+"/sys/module/"+module, &st) != nil {
		return 0
	}
	return st.Ino
}

// Record remembers that a container asks for names. The caller holds the
// container's lock. Nothing is written when that is known already, as when one
// start runs the hook twice.
func (l Loader) Record(by Requester, names []string) error {
	if len(names) == 0 {
		return l.Forget(by.ID)
	}
	boot := l.bootID()
	old, err := l.readRequest(by.ID)
	if by.Name == "" && old.Init == by.Init {
		by.Name = old.Name
	}
	if err == nil && old.Boot == boot && old.Requester == by && slices.Equal(old.Names, names) {
		return nil
	}
	data, err := json.Marshal(Request{Boot: boot, Requester: by, At: now(), Names: names})
	if err != nil {
		return err
	}
	if err := l.makePlace(); err != nil {
		return err
	}
	dir := l.place(requestsDir)
	if err := mountpoint.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(dir, by.ID, append(data, '\n'), 0o600)
}

// Forget removes a container's request. It is no error if there is none.
func (l Loader) Forget(id string) error {
	err := os.Remove(l.RequestPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, atomicfile.Sweep(l.place(requestsDir), id))
}

func (l Loader) readRequest(id string) (a Request, err error) {
	path := l.RequestPath(id)
	data, err := open.Read(path, recordLimit)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// requests returns what containers that run ask for, by id. What a container left
// that ended without its poststop counts no more.
func (l Loader) requests() ([]Request, error) {
	entries, err := os.ReadDir(l.place(requestsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	boot := l.bootID()
	var asks []Request
	for _, e := range entries {
		if atomicfile.IsTemporary(e.Name()) {
			continue
		}
		a, err := l.readRequest(e.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case a.Boot == boot && a.Init.Lives():
			asks = append(asks, a)
		}
	}
	return asks, nil
}

// loaded returns the modules that we loaded and that are still there, by name.
func (l Loader) loaded(h *host) ([]Load, error) {
	path := l.place(loadedFile)
	data, err := open.Read(path, recordLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var led loadedRecord
	if err := json.Unmarshal(data, &led); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if led.Boot != l.bootID() {
		return nil, nil
	}
	var there []Load
	for _, r := range led.Loaded {
		ino := h.inode(r.Module)
		if ino == 0 || !r.Pending && ino != r.Inode {
			continue
		}
		// The one who wrote it was killed after modprobe had done its work.
		r.Inode, r.Pending = ino, false
		there = append(there, r)
	}
	return there, nil
}

// save writes what is loaded, or about to be. The caller holds the module lock.
func (l Loader) save(loads []Load) error {
	loads = slices.Clone(loads)
	sort.Slice(loads, func(i, j int) bool { return loads[i].Module < loads[j].Module })
	data, err := json.Marshal(loadedRecord{Boot: l.bootID(), Loaded: loads})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(l.place(), loadedFile, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("note which kernel modules are loaded: %w", err)
	}
	return nil
}

// loadEntry is one loading's entry in the ledger.
type loadEntry struct {
	*loadRun
	loads  []Load          // of others, and ours
	before map[string]bool // modules there before, when that cannot be foretold
}

// recordPending writes down what modprobe is about to load: who is killed before it can
// write what was loaded leaves that to whoever comes next.
func (r *loadRun) recordPending(missing []*Result) (*loadEntry, error) {
	b := &loadEntry{loadRun: r}
	var err error
	if b.loads, err = r.Loader.loaded(r.host); err != nil {
		b.loads = nil // damaged: what it said is lost, what comes is not
	}
	for _, res := range missing {
		for _, module := range r.candidates(res.Name) {
			for _, step := range r.sequence(module) {
				if step.command != "" && b.before == nil {
					// An install line may load anything.
					b.before = r.loadedNames()
				}
				b.add(step.module, res.Name)
			}
		}
	}
	return b, b.save()
}

// save writes what is there to be written: nothing where no file is known.
func (b *loadEntry) save() error {
	if len(b.loads) == 0 {
		return nil
	}
	return b.Loader.save(b.loads)
}

func (b *loadEntry) add(module, as string) {
	if !slices.ContainsFunc(b.loads, func(l Load) bool { return l.Module == module }) {
		b.loads = append(b.loads, Load{Module: module, As: as, For: b.by.ID, Name: b.by.Name, At: now(), Pending: true})
	}
}

// close writes down what modprobe did load.
func (b *loadEntry) close(out outcome) error {
	if b.before != nil {
		for module := range b.loadedNames() {
			if !b.before[module] {
				b.add(module, "")
			}
		}
	}
	var loads []Load
	for _, l := range b.loads {
		if l.Pending {
			l.Inode = b.inode(l.Module)
			// A modprobe that did not end in time may still do it.
			if l.Pending = l.Inode == 0 && !out.exited(); !l.Pending && l.Inode == 0 {
				continue
			}
		}
		loads = append(loads, l)
	}
	if len(b.loads) == 0 {
		return nil
	}
	return b.Loader.save(loads)
}

// loadedNames returns the names of the loaded modules.
func (h *host) loadedNames() map[string]bool {
	names := make(map[string]bool)
	for line := range bytes.Lines(read(h.root + "/proc/modules")) {
		if name, _, ok := bytes.Cut(line, []byte(" ")); ok {
			names[string(name)] = true
		}
	}
	return names
}

func now() time.Time { return time.Now().Truncate(time.Second).UTC() }
