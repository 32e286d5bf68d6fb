package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
)

// mutation takes one thing away from a running container, or adds one, behind our back.
type mutation struct {
	name string
	do   func(*run)
	// want is what check finds then: "KIND NAME: WHAT".
	want []string
	// where it can be done; nil: everywhere.
	where func(*run) bool
	// undo is for what repair cannot mend, or mends by taking it away: it is called after the
	// repair, and before another.
	undo func(*run)
}

// finding is an element of what check prints as JSON.
type finding struct {
	Kind, Name, What, Why string
	Mends                 bool
}

// finds runs check and returns what it finds.
func (r *run) finds() []string {
	r.t.Helper()
	out, err := r.tool("check", "--format", "json", NAME)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		r.t.Fatalf("check: %v: %s", err, out)
	}
	var list []finding
	check(r.t, json.Unmarshal([]byte(out), &list))
	if (err != nil) != (len(list) > 0) {
		r.t.Errorf("check: %v, and it found %s", err, out)
	}
	found := []string{}
	for _, f := range list {
		r.t.Logf("%s %s: %s: %s (repair mends it: %v)", f.Kind, f.Name, f.What, f.Why, f.Mends)
		found = append(found, fmt.Sprintf("%s %s: %s", f.Kind, f.Name, f.What))
	}
	slices.Sort(found)
	return found
}

// cleanChecks counts the looks at containers that are as they should be: none may be a false
// alarm.
var cleanChecks atomic.Int64

// isClean requires check to find nothing.
func (r *run) isClean() {
	r.t.Helper()
	r.foundNothing(r.finds())
}

func (r *run) foundNothing(found []string) {
	r.t.Helper()
	if len(found) > 0 {
		r.t.Errorf("check found %q, want nothing", found)
		return
	}
	r.t.Logf("check found nothing, as it should, %d times so far", cleanChecks.Add(1))
}

// checks requires check to find nothing in the container, where it runs.
func (r *run) checks() {
	r.t.Helper()
	if r.real {
		if _, err := r.runc.Pid(r.id); err != nil {
			return
		}
	} else if r.held == nil {
		return
	}
	found := r.finds()
	if r.noWay() { // no path can be given: each was skipped at the start
		found = slices.DeleteFunc(found, func(f string) bool {
			return strings.HasPrefix(f, "path ") && strings.HasSuffix(f, ": mount missing")
		})
	}
	r.foundNothing(found)
}

// repairs runs repair, and once more, when it has nothing to do.
func (r *run) repairs(fails bool) {
	r.t.Helper()
	out, err := r.tool("repair", NAME)
	if (err != nil) != fails {
		r.t.Errorf("repair: %v: %s", err, out)
	}
	r.t.Logf("repair: %s", strings.TrimSpace(out))
}

func (m mutation) run(r *run) {
	m.do(r)
	want := []string{}
	names := strings.NewReplacer("DISK", r.disk.whole.path, "PART", r.disk.part.String(), "FILE", r.file, "RECORDS", filepath.Join(r.bundle, "device_hook.json"))
	for _, w := range m.want {
		want = append(want, names.Replace(w))
	}
	slices.Sort(want)
	if d := cmp.Diff(want, r.finds()); d != "" {
		r.t.Errorf("check finds (-want +got):\n%s", d)
	}
	if m.undo != nil {
		out, err := r.tool("repair", NAME)
		r.t.Logf("repair: %v: %s", err, out)
		m.undo(r)
	}
	r.repairs(false)
	r.isClean()
	before := r.everything()
	if out, err := r.tool("repair", NAME); err != nil || out != "" {
		r.t.Errorf("a second repair: %v: %s", err, out)
	}
	for _, d := range before.Diff(r.everything()) {
		r.t.Errorf("a second repair changed: %s", d)
	}
}

// TestCheckNamesEachMutation has check name exactly what was changed, and repair mend it.
func TestCheckNamesEachMutation(t *testing.T) {
	install(t)
	sandbox.Udevadm(t, "true")
	for _, unified := range []bool{false, true} {
		version := "cgroup-v1"
		if unified {
			version = "cgroup-v2"
		}
		t.Run(version, func(t *testing.T) {
			if unified {
				sandbox.Unify(t)
			}
			for _, k := range []kind{{real: true}, {real: true, mapped: true}, {}, {mapped: true}} {
				k.kernel = holder.Running
				t.Run(strings.ReplaceAll(k.name(), " ", "-"), func(t *testing.T) { mutate(t, k) })
			}
		})
	}
}

func mutate(t *testing.T, k kind) {
	r := newRun(t, k)
	r.furnish()
	check(t, r.start())
	r.isClean()
	for _, m := range mutations() {
		if m.where != nil && !m.where(r) {
			continue
		}
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			outer := r.t
			r.box.t = t
			defer func() { r.box.t = outer }()
			m.run(r)
		})
	}
	r.isClean()
	r.stop()
	for _, do := range r.after {
		do()
	}
}

// furnish records one of everything.
func (r *run) furnish() {
	r.t.Helper()
	r.cabling()
	r.box.env = []string{"KERNEL_MODULES=" + strings.Join(r.modules_, ",")}
	r.box.sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel.msgmax": "12345"}
	w := network()
	w.Binds = []string{
		r.data + ":/data:rw,rslave", r.data + ":/mnt/deep/again:rw,rslave",
		r.ro + ":/ro:ro,rslave", r.file + ":/etc/scenario.conf:ro",
	}
	d := r.disk
	w.Devices = []device{
		{Type: "c", Major: 10, Minor: 229, PathOnHost: "/dev/fuse", PathInContainer: "/dev/sub/fuse", CgroupPermissions: "rw"},
		{Type: "b", Major: d.whole.major, Minor: d.whole.minor, PathOnHost: d.whole.path, PathInContainer: "/dev/disk", CgroupPermissions: "rwm"},
		{Type: "b", Major: d.part.major, Minor: d.part.minor, PathOnHost: d.part.path, PathInContainer: "/dev/disk1", CgroupPermissions: "r", Parent: d.whole.path},
	}
	if !noLimits() {
		one := func(value int) []limit {
			return []limit{{Major: d.whole.major, Minor: d.whole.minor, Path: d.whole.path, Value: fmt.Sprint(value)}}
		}
		w.ReadBPS, w.WriteBPS, w.ReadIOPS, w.WriteIOPS = one(1<<20), one(2<<20), one(100), one(200)
	}
	r.wanted = w
	r.record(w)
}

// removes removes what is in the container.
func removes(path string) func(*run) {
	return func(r *run) { r.t.Helper(); check(r.t, os.Remove(r.inside()+path)) }
}
