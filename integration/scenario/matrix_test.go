package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/integration/table"
)

// TestScenario runs the scenario with every kind of container, and compares
// the table of docs/compatibility.md with what it finds.
func TestScenario(t *testing.T) {
	install(t)
	sandbox.Udevadm(t, "true")
	lasting(t)
	found, columns := table.Found{}, 0
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			if w.unified {
				sandbox.Unify(t)
			}
			kinds := []kind{{real: true}, {real: true, mapped: true}, {}, {mapped: true}}
			if w.name == table.V1 {
				kinds = append(kinds, kind{real: true, pod: true})
			}
			columns += len(kinds)
			for _, k := range kinds {
				k.kernel = w.kernel
				t.Run(strings.ReplaceAll(k.name(), " ", "-"), func(t *testing.T) {
					found[table.Column(w.name, k.name())] = scenario(t, k)
				})
			}
		})
	}
	// With -run, some are missing.
	if len(found) == columns && !t.Failed() {
		publish(t, found)
	}
}

// world is a machine, or one that this machine plays.
type world struct {
	name    string
	kernel  holder.Kernel
	unified bool // cgroup v2
}

func worlds() []world {
	v2 := world{table.V2, holder.Running, true}
	if inVM() {
		return []world{v2}
	}
	return []world{{table.V1, holder.Running, false}, v2, {table.As5_10, holder.V5_10, false}, {table.As4_19, holder.V4_19, false}}
}

// scenario runs all rows with one kind of container, and returns the table's
// cells.
func scenario(t *testing.T, k kind) map[string]string {
	r := newRun(t, k)
	cells := map[string]string{}
	for _, row := range rows {
		if !row.runs() {
			continue
		}
		cells[row.what] = wrong
		if !t.Run(strings.ReplaceAll(row.what, " ", "-"), func(t *testing.T) {
			outer := r.t
			r.box.t = t
			defer func() { r.box.t = outer }()
			cells[row.what] = row.do(r)
			r.checks()
		}) {
			cells[row.what] = wrong
		}
	}
	return cells
}

const id = "b0a710adb0a710adb0a710adb0a710adb0a710adb0a710adb0a710adb0a710ad"

func newRun(t *testing.T, k kind) *run {
	t.Helper()
	r := &run{modules_: builtin(t)}
	r.disk, r.other = theDisk(t), newDisk(t)
	host := scratch(t)
	r.data, r.ro, r.file = filepath.Join(host, "data"), filepath.Join(host, "ro"), filepath.Join(host, "file")
	for _, dir := range []string{r.data, r.ro} {
		check(t, os.Mkdir(dir, 0o777))
		check(t, os.Chmod(dir, 0o777)) // the mount says no, not the mode
		check(t, os.WriteFile(filepath.Join(dir, "f"), []byte(filepath.Base(dir)+"\n"), 0o644))
		check(t, os.Chmod(filepath.Join(dir, "f"), 0o666))
	}
	check(t, os.WriteFile(r.file, []byte("file\n"), 0o644))
	check(t, os.Chmod(r.file, 0o666))
	if k.mapped { // or it is told each time that they are nobody's there
		for _, path := range []string{r.data, r.ro, r.file} {
			check(t, os.Chown(path, int(idMaps[0].HostID), int(idMaps[0].HostID)))
		}
	}
	r.rules = rules(t)
	partitions(t, r.disk) // have nodes now
	r.before = fingerprint(t)
	r.box = newBox(t, k, id)
	r.ends()
	return r
}

// lasting makes what a first start ever leaves on a host, and requires that it
// is no more than this.
func lasting(t *testing.T) {
	t.Helper()
	d := theDisk(t).whole
	before := fingerprint(t)
	b := newBox(t, kind{}, "first")
	b.env = []string{"KERNEL_MODULES=" + strings.Join(builtin(t), ",")}
	b.record(recorded{
		Binds:   []string{scratch(t) + ":/mnt:ro"},
		Devices: []device{{Type: "b", Major: d.major, Minor: d.minor, PathOnHost: d.path, PathInContainer: "/dev/disk", CgroupPermissions: "r"}},
	})
	check(t, b.start())
	b.stop()
	documented := []string{
		"file /.sharedpath: ", "file /.sharedpath/master: ", "file /.sharedpath/midpath: ", "mount /.sharedpath/master ",
		"file /run/isulad-tools: ", "file /run/isulad-tools/netns: ", "file /run/isulad-tools/containers: ",
		"file /run/isulad-tools/modules: ", "file /run/isulad-tools/modules/asks: ",
		"file /run/isulad-tools/udevd_config_locker: ", "file " + rulesFile + ": ", "file " + filepath.Dir(rulesFile) + ": ",
	}
	after := fingerprint(t)
	for _, d := range before.Diff(after, "file "+graph) {
		known := false
		for _, p := range documented {
			known = known || strings.HasPrefix(d, "+ "+p)
		}
		if !known {
			t.Errorf("the first start ever left: %s", d)
		}
	}
}
