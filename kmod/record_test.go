package kmod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// modprobed is a Run that loads what it is asked for, by file name, and counts.
func modprobed(t *testing.T, root string, count *atomic.Int32) func(context.Context, []string) ([]byte, error) {
	return func(_ context.Context, names []string) ([]byte, error) {
		count.Add(1)
		for _, name := range names {
			insert(t, root, canonical(name))
		}
		return nil, nil
	}
}

// me is a container whose init lives for as long as the test.
func me(t *testing.T, id string) Requester {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: under user-mode emulation every thread has another start time")
	}
	init, err := process.ByPID(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return Requester{ID: id, Name: "name of " + id, Init: init}
}

func TestParallelRequestsExecuteOnce(t *testing.T) {
	t.Parallel()
	root := machine(t, nil)
	var executed atomic.Int32
	l := Loader{Root: root, Release: release, Run: modprobed(t, root, &executed), Wait: time.Minute}
	var wg sync.WaitGroup
	var loaded atomic.Int32
	for i := range 50 {
		by := me(t, fmt.Sprintf("c%d", i))
		wg.Go(func() {
			results, err := l.Load(t.Context(), by, []string{"dummy", "ip_vs", "ip-vs-rr", "nf_conntrack", "hmac"})
			if err == nil {
				err = l.Record(by, []string{"dummy", "ip_vs", "ip-vs-rr", "nf_conntrack", "hmac"})
			}
			if err != nil || len(results) != 5 || results[3].Outcome != Present || results[4].Outcome != BuiltIn {
				t.Errorf("%+v, %v", results, err)
			}
			for _, r := range results {
				if r.Outcome == Loaded {
					loaded.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if executed.Load() != 1 || loaded.Load() != 3 {
		t.Errorf("executed %d times, %d loaded", executed.Load(), loaded.Load())
	}
	list, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range list {
		lines = append(lines, fmt.Sprintf("%s %s %d %s", s.Module, s.State, len(s.RequestedBy), s.Origin))
	}
	want := []string{"dummy live 50 loaded", "hmac built in 50 ", "ip_vs live 50 loaded", "ip_vs_rr live 50 loaded", "nf_conntrack live 50 found"}
	if !slices.Equal(lines, want) {
		t.Errorf("listed %q, want %q", lines, want)
	}
}

func TestSlowLoadingDoesNotKeepWhoNeedsNothing(t *testing.T) {
	t.Parallel()
	root := machine(t, nil)
	held, release_ := make(chan bool), make(chan bool)
	slow := Loader{Root: root, Release: release, Run: func(context.Context, []string) ([]byte, error) {
		close(held)
		<-release_
		insert(t, root, "dummy")
		return nil, nil
	}}
	done := make(chan error, 1)
	go func() { _, err := slow.Load(t.Context(), Requester{ID: "slow"}, []string{"dummy"}); done <- err }()
	<-held
	other := Loader{Root: root, Release: release, Wait: 10 * time.Millisecond, Run: func(context.Context, []string) ([]byte, error) {
		t.Error("executed")
		return nil, nil
	}}
	for _, name := range []string{"nf_conntrack", "ip-conntrack", "hmac"} {
		if err := load(t, other, []string{name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := load(t, other, []string{"veth"}); err == nil || !strings.Contains(err.Error(), "modules/lock: another command holds it") {
		t.Errorf("veth: %v", err)
	}
	close(release_)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRecordIsWrittenOnlyWhenItChanges(t *testing.T) {
	t.Parallel()
	l := Loader{Root: machine(t, nil), Release: release}
	file := l.place(requestsDir, "c1")
	inode := func() os.FileInfo {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	by := me(t, "c1")
	record := func(by Requester, names ...string) {
		t.Helper()
		if err := l.Record(by, names); err != nil {
			t.Fatal(err)
		}
	}
	record(by, "dummy", "hmac")
	first := inode()
	record(by, "dummy", "hmac")
	if !os.SameFile(first, inode()) {
		t.Error("the same request is written again")
	}
	if m := first.Mode().Perm(); m != 0o600 {
		t.Errorf("mode %o", m)
	}
	by.Init.Start++ // another start
	record(by, "dummy", "hmac")
	if os.SameFile(first, inode()) {
		t.Error("another start's request is not written")
	}
	record(by)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no names: %v", err)
	}
	if err := l.Forget("c1"); err != nil {
		t.Error(err)
	}
}

func TestRecordsAreComparedWithTheKernel(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{"/proc/sys/kernel/random/boot_id": "boot 1\n"})
	var executed atomic.Int32
	l := Loader{Root: root, Release: release, Run: modprobed(t, root, &executed)}
	by := me(t, "c1")
	if _, err := l.Load(t.Context(), by, []string{"dummy", "ip_vs_rr", "nlmon"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(by, []string{"dummy"}); err != nil {
		t.Fatal(err)
	}
	ended := by
	ended.ID, ended.Init.Start = "ended", 1
	if err := l.Record(ended, []string{"nlmon"}); err != nil {
		t.Fatal(err)
	}
	origins := func() string {
		t.Helper()
		list, err := l.List()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, s := range list {
			all = append(all, fmt.Sprintf("%s:%s:%d", s.Module, s.Origin, len(s.RequestedBy)))
		}
		return strings.Join(all, " ")
	}
	check := func(when, want string) {
		t.Helper()
		if got := origins(); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	check("loaded", "dummy:loaded:1 ip_vs_rr:loaded:0 nlmon:loaded:0")
	gone := func(m string) {
		if err := os.RemoveAll(root + "/sys/module/" + m); err != nil {
			t.Fatal(err)
		}
	}
	gone("ip_vs_rr")
	check("unloaded by hand", "dummy:loaded:1 nlmon:loaded:0")
	if err := os.Mkdir(root+"/sys/module/other", 0o755); err != nil { // takes a freed inode
		t.Fatal(err)
	}
	if err := os.Rename(root+"/sys/module/nlmon", root+"/sys/module/aside"); err != nil {
		t.Fatal(err)
	}
	insert(t, root, "nlmon")
	check("loaded again by hand", "dummy:loaded:1")
	if err := os.WriteFile(root+"/proc/sys/kernel/random/boot_id", []byte("boot 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check("another boot", "")
}

// A hook that is killed while modprobe runs leaves a pending entry.
func TestPendingEntriesAreSettled(t *testing.T) {
	t.Parallel()
	root := machine(t, nil)
	var executed atomic.Int32
	l := Loader{Root: root, Release: release, Run: func(context.Context, []string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(root, place.Modules, loadedFile))
		var led loadedRecord
		if err == nil {
			err = json.Unmarshal(data, &led)
		}
		if err != nil || len(led.Loaded) != 3 || !led.Loaded[0].Pending || led.Loaded[0].For != "killed" {
			t.Errorf("while modprobe runs: %s, %v", data, err)
		}
		panic("killed")
	}}
	func() {
		defer func() { _ = recover() }()
		_, _ = l.Load(t.Context(), Requester{ID: "killed"}, []string{"ip_vs", "dummy"})
	}()
	if list, err := l.List(); err != nil || len(list) != 0 {
		t.Errorf("nothing is there, and listed: %+v, %v", list, err)
	}
	insert(t, root, "ip_vs") // its modprobe went on
	if list, err := l.List(); err != nil || len(list) != 1 || list[0].LoadedFor != "killed" {
		t.Errorf("listed: %+v, %v", list, err)
	}
	l.Run = modprobed(t, root, &executed)
	if err := load(t, l, []string{"ip_vs", "dummy"}); err != nil {
		t.Fatal(err)
	}
	list, err := l.List()
	if err != nil || len(list) != 2 || list[0].LoadedFor != "c1" || list[1].LoadedFor != "killed" {
		t.Errorf("listed: %+v, %v", list, err)
	}
	data, err := os.ReadFile(filepath.Join(root, place.Modules, loadedFile))
	if err != nil || strings.Contains(string(data), "pending") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestUnloadingIsRefusedWhileSomebodyNeedsIt(t *testing.T) {
	t.Parallel()
	root := machine(t, nil)
	var executed atomic.Int32
	l := Loader{Root: root, Release: release, Run: modprobed(t, root, &executed)}
	if err := load(t, l, []string{"dummy", "ip_vs", "ip_vs_rr", "nlmon", "libcrc32c"}); err != nil {
		t.Fatal(err)
	}
	procModules := func(text string) {
		if err := os.WriteFile(root+"/proc/modules", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const all = "nlmon 1 3 - Live 0x0\nip_vs_rr 1 0 - Live 0x0\nip_vs 1 2 ip_vs_rr, Live 0x0\nlibcrc32c 1 1 ip_vs, Live 0x0\nnf_conntrack 1 1 ip_vs, Live 0x0\ndummy 1 0 - Live 0x0\n"
	procModules(all)
	if err := l.Record(me(t, "c2"), []string{"dummy"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"ip_vs":        "ip_vs stays: module ip_vs_rr uses it",
		"nlmon":        "nlmon stays: its use count is 3",
		"dummy":        "dummy stays: container name of c2 asks for it",
		"nf-conntrack": "nf_conntrack stays: it was not loaded by this tool",
	} {
		t.Run(name, func(t *testing.T) {
			if err := l.Unloadable("c1", []string{name}, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			if _, err := l.Unload(t.Context(), []string{name, "ip_vs_rr"}); err == nil {
				t.Errorf("%s is unloaded", name)
			}
		})
	}
	if err := l.Unloadable("c2", []string{"dummy"}, nil); err != nil {
		t.Errorf("dummy, which only its own container asks for: %v", err)
	}
	if err := l.Unloadable("c2", []string{"dummy"}, []string{"dummy"}); err == nil {
		t.Error("dummy, which its own container goes on asking for, may go")
	}
	text := all
	l.Remove = func(module string) error {
		var kept []string
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if f[0] == module {
				if f[2] != "0" {
					t.Errorf("%s is removed while in use", module)
				}
				continue
			}
			if strings.Contains(f[3], module+",") {
				f[2], f[3] = "0", "-"
			}
			kept = append(kept, strings.Join(f, " ")+"\n")
		}
		text = strings.Join(kept, "")
		procModules(text)
		return os.RemoveAll(root + "/sys/module/" + module)
	}
	gone, err := l.Unload(t.Context(), []string{"ip_vs", "ip-vs-rr"})
	if err != nil || !slices.Equal(gone, []string{"ip_vs_rr", "ip_vs", "libcrc32c"}) {
		t.Errorf("unloaded %v, %v: want users first, and what only they needed", gone, err)
	}
}
