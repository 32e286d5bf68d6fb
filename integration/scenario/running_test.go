package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
)

// The rows of what a person gives to a container, and takes from it, by the
// command line. They begin and end with a container that does not run.

// extra is the disk in the container.
const extra = "/dev/extra"

// partition is a partition of the disk and what it is called in the container.
type partition struct {
	node
	inside string
}

// partitions are all that the disk has.
func partitions(t *testing.T, d disk) []partition {
	t.Helper()
	base := filepath.Base(d.whole.path)
	names, err := filepath.Glob("/sys/class/block/" + base + "/" + base + "*")
	check(t, err)
	var all []partition
	for _, name := range names {
		p := partition{node{path: "/dev/" + filepath.Base(name)}, extra + strings.TrimPrefix(filepath.Base(name), base)}
		p.number(t)
		check(t, ensureNode(p.node))
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no partition", base)
	}
	return all
}

// The commands of these rows and what they say; noNodes and noWay containers
// refuse them.
func (r *run) giveDevices() {
	r.t.Helper()
	r.does([]string{"add-device", NAME, "/dev/fuse:/dev/more/fuse:rw", "/dev/zero:/dev/more/zero"},
		"Add device (/dev/fuse) to container(NAME,/dev/more/fuse) done.",
		"Add device (/dev/zero) to container(NAME,/dev/more/zero) done.")
	says := []string{"Add device (" + r.disk.whole.path + ") to container(NAME," + extra + ") done."}
	args := []string{"add-device", "--follow-partition", NAME, r.disk.whole.path + ":" + extra}
	for _, p := range partitions(r.t, r.disk) {
		says = append(says, "Add device ("+p.path+") to container(NAME,"+p.inside+") done.")
	}
	r.does(args, says...)
}

// takeDevices takes them away; the disk has limits or not.
func (r *run) takeDevices(limited bool) {
	r.t.Helper()
	// Either side names one, both do, and the disk names its partitions.
	r.does([]string{"remove-device", NAME, "/dev/fuse", ":/dev/more/zero"},
		"Remove device (/dev/fuse) from container(NAME,/dev/more/fuse) done.",
		"Remove device (/dev/zero) from container(NAME,/dev/more/zero) done.")
	says := []string{"Remove device (" + r.disk.whole.path + ") from container(NAME," + extra + ") done."}
	for _, l := range []string{"read iops", "write iops", "read bps", "write bps"} {
		if limited {
			says = append(says, "Remove "+l+" for device ("+r.disk.whole.path+") done.")
		}
	}
	for _, p := range partitions(r.t, r.disk) {
		says = append(says, "Remove device ("+p.path+") from container(NAME,"+p.inside+") done.")
	}
	r.does([]string{"remove-device", "--follow-partition", NAME, r.disk.whole.path + ":" + extra}, says...)
}

func (r *run) givePaths() {
	r.t.Helper()
	r.does([]string{"add-path", NAME, r.data + ":/more/data", r.ro + ":/more/ro:ro,rslave", r.file + ":/more/file:ro"},
		"Add path ("+r.data+") to container(NAME,/more/data) done.",
		"Add path ("+r.ro+") to container(NAME,/more/ro) done.",
		"Add path ("+r.file+") to container(NAME,/more/file) done.")
	r.does([]string{"add-path", NAME, r.data + ":/more/again:rw,rslave"},
		"Add path ("+r.data+") to container(NAME,/more/again) done.")
}

func (r *run) takePaths() {
	r.t.Helper()
	r.does([]string{"remove-path", NAME, r.data + ":/more/data"},
		"Remove path ("+r.data+") from container(NAME,/more/data) done")
	r.works("test ! -e /more/data/f && test -e /more/again/f")
	r.does([]string{"remove-path", NAME, r.data + ":/more/again", r.ro + ":/more/ro:ro,rslave", r.file + ":/more/file"},
		"Remove path ("+r.data+") from container(NAME,/more/again) done",
		"Remove path ("+r.ro+") from container(NAME,/more/ro) done",
		"Remove path ("+r.file+") from container(NAME,/more/file) done")
}

// withDevices and withPaths are what the file holds then.
func (r *run) withDevices() []device {
	r.t.Helper()
	w := r.disk.whole
	list := []device{
		{Type: "c", Major: 10, Minor: 229, PathOnHost: "/dev/fuse", PathInContainer: "/dev/more/fuse", CgroupPermissions: "rw"},
		{Type: "c", Major: 1, Minor: 5, PathOnHost: "/dev/zero", PathInContainer: "/dev/more/zero", CgroupPermissions: "rwm"},
		{Type: "b", Major: w.major, Minor: w.minor, PathOnHost: w.path, PathInContainer: extra, CgroupPermissions: "rwm"},
	}
	for _, p := range partitions(r.t, r.disk) {
		list = append(list, device{
			Type: "b", Major: p.major, Minor: p.minor, PathOnHost: p.path, PathInContainer: p.inside, CgroupPermissions: "rwm", Parent: w.path,
		})
	}
	return list
}

func (r *run) withPaths() []string {
	return []string{r.data + ":/more/data:rw,rslave", r.ro + ":/more/ro:ro,rslave", r.file + ":/more/file:ro", r.data + ":/more/again:rw,rslave"}
}

// devicesWork looks at the added devices from inside.
func (r *run) devicesWork() {
	r.t.Helper()
	r.works("exec 3<>/dev/more/fuse")
	if got := r.works("stat -c '%F %t:%T %a %u:%g' /dev/more/fuse"); got != "character special file a:e5 666 0:0" {
		r.t.Errorf("the device inside is %q", got)
	}
	if got := r.works("head -c 4 /dev/more/zero | wc -c"); got != "4" {
		r.t.Errorf("of /dev/more/zero came %s bytes", got)
	}
	r.works("echo more of it >" + extra + " && sync")
	if got := r.works("head -n 1 " + extra); got != "more of it" {
		r.t.Errorf("the disk's first line inside is %q", got)
	}
	for _, p := range partitions(r.t, r.disk) {
		r.works("echo x >" + p.inside + " && sync && head -c 512 " + p.inside + " | wc -c")
	}
	r.fails("mknod /dev/more/other c 10 237 && exec 3<>/dev/more/other", "Operation not permitted")
	r.works("rm -f /dev/more/other")
}

// pathsWork looks at the added paths from inside.
func (r *run) pathsWork() {
	r.t.Helper()
	if got := r.works("cat /more/data/f /more/again/f /more/ro/f /more/file"); got != "data\ndata\nro\nfile" {
		r.t.Errorf("inside: %q", got)
	}
	if got := r.works("echo inside >/more/data/new && cat /more/again/new && rm /more/again/new"); got != "inside" {
		r.t.Errorf("inside: %q", got)
	}
	for _, p := range []string{"/more/ro/new", "/more/file"} {
		r.fails("echo x >"+p, "Read-only file system")
	}
	// What the host mounts later arrives, and goes.
	later := filepath.Join(r.data, "later")
	check(r.t, os.MkdirAll(later, 0o755))
	check(r.t, unix.Mount("later", later, "tmpfs", 0, ""))
	check(r.t, os.WriteFile(filepath.Join(later, "x"), []byte("later\n"), 0o644))
	if got := r.works("cat /more/data/later/x /more/again/later/x"); got != "later\nlater" {
		r.t.Errorf("inside: %q", got)
	}
	check(r.t, unix.Unmount(later, 0))
	r.works("test ! -e /more/data/later/x")
	check(r.t, os.Remove(later))
}

// nothingMore requires of the running container that it has none of it, and
// still what it had before.
func (r *run) nothingMore() {
	r.t.Helper()
	r.works("for f in /dev/more/* " + extra + "*; do test ! -e $f || exit 1; done")
	r.works("test ! -e /more/data/f && test ! -e /more/again/f && test ! -e /more/ro/f && test ! -s /more/file")
	r.fails("mknod /dev/other c 10 229 && exec 3<>/dev/other", "Operation not permitted")
	w := r.disk.whole
	r.fails(fmt.Sprintf("mknod /dev/otherdisk b %d %d && head -c 1 /dev/otherdisk", w.major, w.minor), "Operation not permitted")
	r.works("rm -f /dev/other /dev/otherdisk")
	if got := r.works("head -c 4 /dev/zero | wc -c"); got != "4" {
		r.t.Errorf("the container's own /dev/zero gave %s bytes", got)
	}
	if list := mountsBelow(r.t, r.pid(), "/more"); len(list) > 0 {
		r.t.Errorf("still mounted inside: %s", list)
	}
	if got := r.limitFiles(); strings.Contains(got, w.String()) {
		r.t.Errorf("limits that nobody recorded: %s", got)
	}
	r.holds(recorded{})
}

// unchanged requires the host and the container to be as before, but for the
// mount points, which stay.
func (r *run) unchanged(before sandbox.Fingerprint) {
	r.t.Helper()
	for _, d := range before.Diff(r.everything(), "file "+r.bundle, "inside /more", "inside /dev/more",
		"file "+filepath.Join(place.Midpath, r.id)) {
		r.t.Errorf("added and removed, it left: %s", d)
	}
}

func (r *run) addDevices() string {
	if r.held != nil || inVM() { // the rows between have not run
		r.stop()
	}
	r.record(recorded{})
	check(r.t, r.start())
	if r.noNodes() {
		r.refuses([]string{"add-device", NAME, "/dev/fuse:/dev/more/fuse:rw"}, "/dev/more/fuse", "the hook's log says why")
		return refused
	}
	before := r.everything()
	out, err := r.tool("add-device", "--dry-run", NAME, "/dev/fuse:/dev/more/fuse:rw")
	if err != nil || !strings.Contains(out, "/dev/more/fuse") {
		r.t.Errorf("add-device --dry-run: %v, %q", err, out)
	}
	r.unchanged(before)
	r.holds(recorded{})
	r.giveDevices()
	r.devicesWork()
	r.holds(recorded{Devices: r.withDevices()})
	return yes
}

func (r *run) addPaths() string {
	if r.noWay() {
		r.refuses([]string{"add-path", NAME, r.data + ":/more/data"}, "the hook's log says why")
		return refused
	}
	r.givePaths()
	r.pathsWork()
	want := r.withPaths()
	if got := r.records().Binds; !slices.Equal(got, want) {
		r.t.Errorf("recorded are %q, want %q", got, want)
	}
	r.refuses([]string{"add-path", NAME, r.ro + ":/more/data"}, "Mount more than one host paths to a single path in container")
	return yes
}

func (r *run) updateLimits() string {
	d := r.disk.whole.path
	if r.noNodes() {
		r.refuses([]string{"update-device", "--device-read-bps", d + ":512k", NAME}, d+" was not added")
		return refused
	}
	r.does([]string{
		"update-device", "--device-read-bps", d + ":512k", "--device-write-bps", fmt.Sprintf("%s:%d", d, bytesPerSecond),
		"--device-read-iops", fmt.Sprintf("%s:%d", d, opsPerSecond), "--device-write-iops", fmt.Sprintf("%s:%d", d, opsPerSecond), NAME,
	},
		fmt.Sprintf("Update read iops for device (%s,%d) done.", d, opsPerSecond),
		fmt.Sprintf("Update write iops for device (%s,%d) done.", d, opsPerSecond),
		fmt.Sprintf("Update read bps for device (%s,%d) done.", d, bytesPerSecond),
		fmt.Sprintf("Update write bps for device (%s,%d) done.", d, bytesPerSecond))
	r.limits()
	r.writesSlowly()
	return yes
}

// writesSlowly looks whether one of the limits limits.
func (r *run) writesSlowly() {
	r.t.Helper()
	if took := r.io(extra, 1)[0]; took < atLeast {
		r.t.Errorf("%s is not limited: %v for what needs 1.25 s", directIO[1].what, took)
	}
}

func (r *run) addedAfterRestart() string {
	before := r.records()
	r.stop()
	check(r.t, r.start())
	if !r.noNodes() {
		r.devicesWork()
		if !noLimits() {
			r.limits()
		}
	}
	if !r.noWay() && !inVM() {
		r.pathsWork()
	}
	r.holds(before)
	if r.noNodes() {
		return none // could be added
	}
	return yes
}

func (r *run) removeAll() string {
	if !r.noNodes() {
		r.takeDevices(!noLimits())
	}
	if !r.noWay() && !inVM() {
		r.takePaths()
	}
	r.nothingMore()
	r.stop()
	check(r.t, r.start())
	r.nothingMore()
	if inVM() {
		r.stop()
		return yes
	}
	if r.noNodes() {
		return refused
	}
	// Once more in one start, of which nothing may be left.
	before, allowed := r.everything(), r.permitted()
	r.giveDevices()
	if !r.noWay() {
		r.givePaths()
		r.takePaths()
	}
	r.takeDevices(false)
	r.unchanged(before)
	if d := cmp.Diff(allowed, r.permitted()); d != "" {
		r.t.Errorf("permissions after all (-before +after):\n%s", d)
	}
	r.nothingMore()
	return yes
}

func (r *run) addStopped() string {
	r.halt()
	made := filepath.Join(filepath.Dir(r.data), "made")
	if !r.noNodes() {
		r.giveDevices()
		r.holds(recorded{Devices: r.withDevices()})
	}
	r.warns("the host had no "+made+": made, an empty directory", "add-path", NAME, made+":/more/made")
	if n, err := sandbox.Lstat(made); err != nil || n.String() != fmt.Sprintf("d 0755 %d:%[1]d", r.rootID()) {
		r.t.Errorf("the host's directory is %s, %v", n, err)
	}
	r.givePaths()
	check(r.t, r.resume())
	if !r.noNodes() {
		r.devicesWork()
	}
	if !r.noWay() {
		r.works("touch /more/made/new && rm /more/made/new")
		r.pathsWork()
	}
	r.halt()
	if !r.noNodes() {
		r.takeDevices(false)
	}
	r.does([]string{"remove-path", NAME, made + ":/more/made"}, "Remove path ("+made+") from container(NAME,/more/made) done")
	for _, b := range r.withPaths() {
		p := strings.Split(b, ":")
		r.does([]string{"remove-path", NAME, p[0] + ":" + p[1]}, "Remove path ("+p[0]+") from container(NAME,"+p[1]+") done")
	}
	check(r.t, os.Remove(made))
	check(r.t, r.resume())
	r.nothingMore()
	r.stop()
	if r.noNodes() || r.noWay() {
		return refused
	}
	return yes
}

// rootID is the container's root on the host.
func (r *run) rootID() int {
	if r.mapped {
		return idMaps[0].HostID
	}
	return 0
}

// withoutHook has a container that knows nothing of us: it has no shared path.
func (r *run) withoutHook() string {
	r.bare = true
	defer func() {
		r.stop()
		r.bare = false
	}()
	check(r.t, r.start())
	before, allowed := r.everything(), r.permitted()
	result := yes
	if r.mapped {
		r.refuses([]string{"add-device", NAME, "/dev/fuse:/dev/more/fuse:rw"}, "start it with --hook-spec")
		result = refused
	} else {
		r.giveDevices()
		r.devicesWork()
		r.takeDevices(false)
	}
	if r.mapped || r.kernel != holder.Running {
		r.refuses([]string{"add-path", NAME, r.data + ":/more/data"}, "start it with --hook-spec")
		result = refused
	} else {
		r.givePaths()
		r.pathsWork()
		r.takePaths()
	}
	r.unchanged(before)
	if d := cmp.Diff(allowed, r.permitted()); d != "" {
		r.t.Errorf("permissions after all (-before +after):\n%s", d)
	}
	r.nothingMore()
	return result
}
