package scenario

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/isula"
	"isula.org/isulad-tools/integration/sandbox"
)

// The operations on one container, at the same time: the daemon's starts and
// stops, and the commands of so many workers.
const (
	starts   = 20 // and as many stops
	workers  = 4
	commands = 40 // of each worker
	// slow is what no operation may take: half of what a hook, the most impatient,
	// waits for a lock.
	slow = 5 * time.Second
)

// TestEverythingAtOnce starts and stops a container while workers add and remove
// devices and paths by `isula inspect`, which waits for the lock that a start
// holds. All of it succeeds; nothing is lost; file and kernel agree in the end.
func TestEverythingAtOnce(t *testing.T) {
	install(t)
	lasting(t)
	for _, k := range []kind{{}, {real: true}} {
		t.Run(k.name(), func(t *testing.T) { atOnce(t, k) })
		t.Run("v2-"+k.name(), func(t *testing.T) {
			sandbox.Unify(t)
			atOnce(t, k)
		})
	}
}

func atOnce(t *testing.T, k kind) {
	b := newBox(t, k, id)
	b.daemon, b.busy = true, true
	b.record(recorded{})
	b.write()
	host := scratch(t)
	check(t, b.start()) // the first leaves directories on the host
	own := b.permitted()
	b.stop()
	before := fingerprint(t)
	_, err := isula.Calls()
	check(t, err)

	ops := &journal{t: t}
	all := make([]*worker, workers)
	var wait sync.WaitGroup
	for i := range all {
		all[i] = newWorker(t, b, ops, i, host)
		wait.Go(all[i].work)
	}
	began := time.Now()
	for range starts {
		ops.do("start", b.start)
		time.Sleep(20 * time.Millisecond) // the commands' turn
		ops.do("stop", func() error { b.stop(); return nil })
	}
	ops.do("start", b.start)
	wait.Wait()
	t.Logf("%d operations in %v: %v", len(ops.took), time.Since(began).Round(time.Millisecond), ops)
	met := ops.met()
	t.Logf("%d commands met a start or a stop", met)
	if met < starts {
		t.Errorf("only %d commands met one of %d starts and stops", met, 2*starts)
	}

	calls, err := isula.Calls()
	check(t, err)
	if asked := len(ops.took) - 2*starts - 1; len(calls) != asked {
		t.Errorf("%d commands asked isula %d times", asked, len(calls))
	}
	var want model
	for _, w := range all {
		want.add(w.has())
	}
	b.agrees(want, own)

	for _, w := range all {
		w.removeAll()
	}
	b.agrees(model{}, own)
	b.stop()
	for _, w := range all {
		w.clear()
	}
	for _, d := range before.Diff(fingerprint(t), "file "+b.bundle) {
		t.Errorf("left on the host: %s", d)
	}
}

// journal is what all of them did, timed.
type journal struct {
	t    *testing.T
	lock sync.Mutex
	took []took
}

type took struct {
	what  string
	began time.Time
	time  time.Duration
}

// do requires an operation to succeed in time.
func (o *journal) do(what string, do func() error) {
	began := time.Now()
	err := do()
	t := took{what, began, time.Since(began)}
	o.lock.Lock()
	defer o.lock.Unlock()
	o.took = append(o.took, t)
	if err != nil {
		o.t.Errorf("%s: %v", what, err)
	}
	if t.time > slow {
		o.t.Errorf("%s took %v", what, t.time)
	}
}

// met counts the commands that were under way while the container was started or
// stopped.
func (o *journal) met() int {
	ofDaemon := func(t took) bool { return t.what == "start" || t.what == "stop" }
	n := 0
	for _, c := range o.took {
		if !ofDaemon(c) && slices.ContainsFunc(o.took, func(d took) bool {
			return ofDaemon(d) && d.began.Before(c.began.Add(c.time)) && c.began.Before(d.began.Add(d.time))
		}) {
			n++
		}
	}
	return n
}

// String is the slowest of each kind.
func (o *journal) String() string {
	longest := map[string]time.Duration{}
	var whats []string
	for _, t := range o.took {
		if longest[t.what] == 0 {
			whats = append(whats, t.what)
		}
		longest[t.what] = max(longest[t.what], t.time)
	}
	slices.Sort(whats)
	for i, w := range whats {
		whats[i] = fmt.Sprintf("%s at most %v", w, longest[w].Round(time.Millisecond))
	}
	return strings.Join(whats, ", ")
}

// item is something that a worker adds and removes.
type item struct {
	add, remove  string // the commands
	arg          string
	inside       string
	major, minor uint32 // of a device
	there        bool
}

// worker has items of its own. Their host paths and device numbers are in part
// those of other workers' items.
type worker struct {
	b      *box
	ops    *journal
	random *rand.Rand
	items  []item
	nodes  []string
}

func newWorker(t *testing.T, b *box, ops *journal, n int, host string) *worker {
	t.Helper()
	w := &worker{b: b, ops: ops, random: rand.New(rand.NewPCG(uint64(n), 7))}
	device := func(name string, major, minor uint32) {
		path := "/dev/" + name
		check(t, sandbox.Mknod(path, unix.S_IFCHR|0o666, major, minor, 0, 0))
		w.nodes = append(w.nodes, path)
		w.items = append(w.items, item{add: "add-device", remove: "remove-device", arg: path + ":/dev/at/" + name, inside: "/dev/at/" + name, major: major, minor: minor})
	}
	folder := func(name, at string) {
		check(t, os.MkdirAll(filepath.Join(host, name), 0o755))
		inside := "/at/once/" + at
		w.items = append(w.items, item{add: "add-path", remove: "remove-path", arg: filepath.Join(host, name) + ":" + inside + ":rw,rslave", inside: inside})
	}
	for i := range 2 { // "local use": there is no driver
		device(fmt.Sprintf("once%d-%d", n, i), 240+uint32(n), uint32(i))
	}
	device(fmt.Sprintf("once%d-shared", n), 250, 99)
	folder(fmt.Sprint(n), fmt.Sprint(n))
	folder("shared", fmt.Sprintf("%d-shared", n))
	return w
}

// work adds what is not there, and removes what is: one thing, or two at once.
func (w *worker) work() {
	for range commands {
		w.toggle(w.random.IntN(len(w.items)), w.random.IntN(2) == 0)
	}
}

// toggle does so with item i and, if two, with one more that wants the same.
func (w *worker) toggle(i int, two bool) {
	chosen := []*item{&w.items[i]}
	for j := range w.items {
		other := &w.items[j]
		if two && j != i && other.add == chosen[0].add && other.there == chosen[0].there && len(chosen) == 1 {
			chosen = append(chosen, other)
		}
	}
	command := chosen[0].add
	if chosen[0].there {
		command = chosen[0].remove
	}
	args := []string{command, NAME}
	for _, it := range chosen {
		args = append(args, it.arg)
	}
	w.ops.do(command, func() error {
		out, err := w.b.tool(args...)
		if lines := strings.Count(out, " done"); err == nil && lines != len(chosen) {
			return fmt.Errorf("%q printed %q", args, out)
		}
		return err
	})
	for _, it := range chosen {
		it.there = !it.there
	}
}

func (w *worker) removeAll() {
	for i := range w.items {
		if w.items[i].there {
			w.toggle(i, true)
		}
	}
}

// clear removes what newWorker made.
func (w *worker) clear() {
	for _, n := range w.nodes {
		check(w.b.t, os.Remove(n))
	}
}

// model is what a container has.
type model struct {
	file    []string // records, in any order
	inside  []string
	numbers []string // permitted device numbers
}

func (m *model) add(o model) {
	m.file, m.inside = append(m.file, o.file...), append(m.inside, o.inside...)
	m.numbers = append(m.numbers, o.numbers...)
}

// has is what the commands that succeeded have made of it.
func (w *worker) has() (m model) {
	for _, it := range w.items {
		if !it.there {
			continue
		}
		m.file, m.inside = append(m.file, it.arg), append(m.inside, it.inside)
		if it.major > 0 {
			m.numbers = append(m.numbers, fmt.Sprintf("c %d:%d rwm", it.major, it.minor))
		}
	}
	return m
}

// agrees requires the file and the kernel to have what want says. own are the
// permissions that the container had before.
func (b *box) agrees(want model, own []string) {
	b.t.Helper()
	var got model
	r := b.records()
	got.file = r.Binds
	for _, d := range r.Devices {
		got.file = append(got.file, d.PathOnHost+":"+d.PathInContainer)
	}
	nodes, err := filepath.Glob(b.inside() + "/dev/at/*")
	check(b.t, err)
	for _, n := range nodes {
		got.inside = append(got.inside, strings.TrimPrefix(n, b.inside()))
	}
	for _, m := range mountsBelow(b.t, b.pid(), "/at") {
		path, _, _ := strings.Cut(m, " ")
		got.inside = append(got.inside, path)
	}
	for _, list := range []*[]string{&want.file, &want.inside, &want.numbers, &got.file, &got.inside} {
		slices.Sort(*list)
	}
	if d := cmp.Diff(want.file, got.file, cmpopts.EquateEmpty()); d != "" {
		b.t.Errorf("device_hook.json (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want.inside, got.inside, cmpopts.EquateEmpty()); d != "" {
		b.t.Errorf("nodes and mounts inside (-want +got):\n%s", d)
	}
	permitted := slices.Concat(own, slices.Compact(want.numbers))
	slices.Sort(permitted)
	if d := cmp.Diff(permitted, b.permitted(), cmpopts.EquateEmpty()); d != "" && !sandbox.Unified() {
		b.t.Errorf("permissions (-want +got):\n%s", d)
	}
	// By the permission, whatever the kernel lists: no driver, or not permitted.
	for w := range uint32(workers) {
		for i := range uint32(2) {
			b.mayOpen(240+w, i, slices.Contains(want.numbers, fmt.Sprintf("c %d:%d rwm", 240+w, i)))
		}
	}
	b.mayOpen(250, 99, slices.Contains(want.numbers, "c 250:99 rwm"))
}

// permitted is devices.list of a container, where there is one.
func (b *box) permitted() []string {
	b.t.Helper()
	if sandbox.Unified() {
		return nil
	}
	list, err := sandbox.Devices(b.group())
	check(b.t, err)
	return list
}

// mayOpen requires a device to be permitted, or not. It has no driver.
func (b *box) mayOpen(major, minor uint32, permitted bool) {
	b.t.Helper()
	says := "Operation not permitted"
	if permitted {
		says = "No such device or address"
	}
	b.fails(fmt.Sprintf("rm -f /dev/try; mknod /dev/try c %d %d && head -c 1 /dev/try; e=$?; rm -f /dev/try; exit $e", major, minor), says)
}
