//go:build vmguest

package guest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
)

// followed is a device, or some that go together, that both containers have, and what
// happens to it.
type followed struct {
	name string
	// paths are where the containers have it, by its path on the host.
	paths map[string]string
	// selector gives it to them instead, or beside, if there is one.
	selector string
	// came is what the kernel says when it can be used: add or change.
	came string
	// round has it go, another come in its place, and itself return.
	round func(t *testing.T, w *witnesses)
}

// kinds make devices, which go with the test.
type kinds []func(*testing.T) followed

var (
	byPath     = kinds{wholeDisk, renamedDisk, serialAdapter, hubOfAdapters, volume, array, multipathDisk, partitionAlone}
	bySelector = kinds{selectedAdapter, usbDisk}
)

func TestSystemdFollow(t *testing.T)         { follow(t, byPath, false, true) }
func TestSystemdFollowSelected(t *testing.T) { follow(t, bySelector, false, true) }

// As where there is no systemd: no sandbox, and nobody to ask for a way out of it. There a
// user namespace makes no difference to udevd, and one container alone has no other whose
// helper tells udevd of rules.
func TestFollowUnderABareUdevd(t *testing.T) {
	bareUdevd(t)
	mapped := []bool{false}
	if os.Getenv("FOLLOW_ROUNDS") != "" {
		mapped = append(mapped, true)
	}
	for name, list := range map[string]kinds{"by path": byPath, "by selector": bySelector} {
		t.Run(name, func(t *testing.T) { follow(t, list, mapped...) })
	}
}

// follow has containers, those that are mapped with a user namespace, have a device of each
// kind, and each of these come and go.
func follow(t *testing.T, kinds kinds, mapped ...bool) {
	usb(t)
	ramDisks(t, 4)
	var list []followed
	paths := map[string]string{}
	var selectors []string
	for _, kind := range kinds {
		f := kind(t)
		list = append(list, f)
		maps.Copy(paths, f.paths)
		if f.selector != "" {
			selectors = append(selectors, f.selector)
		}
	}
	settle(t)
	t.Cleanup(func() {
		if t.Failed() {
			helperLog(t)
		}
	})
	w := &witnesses{heard: listen(t)}
	for _, mapped := range mapped {
		c := newPlugged(t, mapped, paths)
		c.selects(t, selectors)
		c.start()
		w.containers = append(w.containers, c)
	}
	w.have(t, paths)
	recorded := fmt.Sprint(w.recordedPaths(t))
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					helperLog(t)
				}
			})
			w.came, w.waited = f.came, map[string][]time.Duration{}
			for range rounds(t) {
				f.round(t, w)
			}
			w.log(t)
		})
	}
	settle(t)
	if t.Failed() {
		return // the devices are not what they were
	}
	w.have(t, paths)
	if is := fmt.Sprint(w.recordedPaths(t)); is != recorded {
		t.Errorf("recorded are %s, and were %s", is, recorded)
	}
	for _, c := range w.containers {
		c.stop()
	}
	if text, err := os.ReadFile(rulesFile); err == nil && strings.Contains(string(text), "/dev/") || err != nil && !os.IsNotExist(err) {
		t.Errorf("rules are left: %v\n%s", err, text)
	}
}

// rounds is how often each device comes and goes: make test-follow has more.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("FOLLOW_ROUNDS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// selects records selectors for the container, beside what is recorded.
func (c *container) selects(t *testing.T, list []string) {
	t.Helper()
	doc, err := config.Load(c.dir)
	if err == nil {
		err = config.Put(doc, config.Selectors, list)
	}
	if err == nil {
		err = doc.Save()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// witnesses are the containers that have the devices, and how long they waited for one of
// them since the kernel's event.
type witnesses struct {
	containers []*container
	heard      *uevents
	came       string
	waited     map[string][]time.Duration
}

// recordedPaths are those in the containers that are recorded where v0.9 looks, who knows no
// selectors.
func (w *witnesses) recordedPaths(t *testing.T) (list [][]string) {
	t.Helper()
	for _, c := range w.containers {
		list = append(list, slices.Sorted(maps.Keys(c.recorded(t))))
	}
	return list
}

// found is what a container's probe says of a path.
type found struct {
	container int
	host      string // its path there
	answer    answer
	err       error
}

// ask asks all containers of all paths, at the same time, while do is done. Without do the
// host has the devices.
func (w *witnesses) ask(t *testing.T, paths map[string]string, gone bool, do func()) []found {
	t.Helper()
	results := make(chan found, len(w.containers)*len(paths))
	for i, c := range w.containers {
		for host, path := range paths {
			q := question{Path: path, Gone: gone, Limit: 6 * patience} // many go at once
			if do == nil && !gone {
				q.Rdev = stat(t, host).Rdev
			}
			go func() {
				a, err := c.asks(q)
				results <- found{i, host, a, err}
			}()
		}
	}
	if do != nil {
		do()
	}
	var list []found
	for range cap(results) {
		f := <-results
		if f.err != nil {
			t.Error(f.err)
		}
		list = append(list, f)
	}
	if t.Failed() {
		t.FailNow()
	}
	return list
}

func (w *witnesses) note(what string, f found, event int64) {
	what = [...]string{"plain, ", "user namespace, "}[f.container] + what
	w.waited[what] = append(w.waited[what], time.Duration(f.answer.Time-event))
}

func (w *witnesses) log(t *testing.T) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(w.waited)) {
		list := slices.Sorted(slices.Values(w.waited[what]))
		t.Logf("from the kernel's event, %s: median %v, worst %v of %d", what,
			list[len(list)/2].Round(time.Millisecond), list[len(list)-1].Round(time.Millisecond), len(list))
	}
}

// lose requires the devices, by their paths on the host, to vanish from the containers when
// do is done.
func (w *witnesses) lose(t *testing.T, paths map[string]string, do func()) {
	t.Helper()
	names := map[string]string{}
	for host := range paths {
		names[host] = nodeOf(t, host)
	}
	w.heard.forget()
	for _, f := range w.ask(t, paths, true, do) {
		w.note("gone", f, w.heard.at(t, "remove "+names[f.host]))
	}
}

// get requires them to come into the containers when do is done.
func (w *witnesses) get(t *testing.T, paths map[string]string, do func()) {
	t.Helper()
	w.heard.forget()
	for _, f := range w.ask(t, paths, false, do) {
		w.note("usable", f, w.heard.at(t, w.came+" "+nodeOf(t, f.host)))
		if want := stat(t, f.host).Rdev; f.answer.Rdev != want {
			t.Fatalf("container %d has device %#x, want %#x of %s", f.container, f.answer.Rdev, want, f.host)
		}
	}
}

// have requires the containers to have the devices, now or soon.
func (w *witnesses) have(t *testing.T, paths map[string]string) {
	t.Helper()
	w.ask(t, paths, false, nil)
}

// haveNone requires them to have none, now or soon.
func (w *witnesses) haveNone(t *testing.T, paths map[string]string) {
	t.Helper()
	w.ask(t, paths, true, nil)
}

// read requires what they read of disks to begin with want.
func (w *witnesses) read(t *testing.T, paths map[string]string, want string) {
	t.Helper()
	for _, f := range w.ask(t, paths, false, nil) {
		if !strings.HasPrefix(string(f.answer.Data), want) {
			t.Errorf("container %d reads %q of %s, want %s", f.container, f.answer.Data, paths[f.host], want)
		}
	}
}

// mayNot requires that the containers cannot use a device of the host's by any node: one
// is made for them.
func (w *witnesses) mayNot(t *testing.T, host string) {
	t.Helper()
	for _, c := range w.containers {
		c.mayNot(t, host)
	}
}

func (c *container) mayNot(t *testing.T, host string) {
	t.Helper()
	st := stat(t, host)
	pid, err := c.runc.Pid(c.id)
	if err != nil {
		t.Fatal(err)
	}
	node := fmt.Sprintf("/proc/%d/root/dev/copy", pid)
	switch err := unix.Mknod(node, st.Mode&unix.S_IFMT|0o666, int(st.Rdev)); {
	case errors.Is(err, unix.EOVERFLOW):
		return // no node works there: the container has a user namespace
	case err != nil:
		t.Fatal(err)
	}
	defer os.Remove(node)
	if _, err := c.asks(question{Path: "/dev/copy"}); err == nil {
		t.Errorf("container %s can use %s, which is not its own", c.id[:8], host)
	}
}

// nodeOf is the kernel's name of what a link of the host leads to.
func nodeOf(t *testing.T, link string) string {
	t.Helper()
	to, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(to)
}
