package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/integration/table"
)

// What the table says of a row under a kind of container. A row that fails
// fails the test.
const (
	yes     = table.Works
	refused = table.Refused
	none    = table.None
	wrong   = "FAILS"
)

// Where a row runs in the columns of cgroup v2. The test machine's kernel has the
// I/O controller there, but is emulated: it runs what needs that, and what makes
// a container that has devices. This machine's cgroup v1 rows all run.
type where int

const (
	here  where = iota // on this machine, whose cgroup v1 has the controllers
	there              // in the test machine only
	both
)

// row is a part of the scenario.
type row struct {
	what string
	v2   where
	do   func(*run) string
}

// runs tells whether the row runs on this machine, as its cgroups are now.
func (r row) runs() bool {
	switch {
	case !sandbox.Unified():
		return true
	case inVM():
		return r.v2 != here
	}
	return r.v2 != there
}

// rows are the scenario, in order. They share one container.
var rows = []row{
	{"starts with what is recorded", both, (*run).starts},
	{"kernel modules are there", here, (*run).modules},
	{"a character device works, another does not", both, (*run).characterDevice},
	{"a disk and its partition work, another disk does not", both, (*run).blockDevices},
	{"a changed device number is found out and saved", both, (*run).renumbered},
	{"read-write and read-only folders, a single file", here, (*run).paths},
	{"what the host mounts below a folder later arrives", here, (*run).laterMounts},
	{"read-only stays so for the container's root", here, (*run).readOnly},
	{"kernel parameters are the container's, not the host's", here, (*run).parameters},
	{"restart, with limits now", there, (*run).restarts},
	{"limits are set: bytes and operations, read and write", there, (*run).limits},
	{"a limit limits: direct I/O inside", there, (*run).limitsLimit},
	{"`kill -9`, poststop, start again", here, (*run).killed},
	{"a failed prestart, then poststop", here, (*run).failedStart},
	{"leftovers of the other generation are cleaned", here, (*run).leftovers},
	{"a read-only root without /.sharedpath", here, (*run).readOnlyRoot},
	{"added while it runs: devices work at once", both, (*run).addDevices},
	{"added while it runs: folders and files are there, later mounts arrive", here, (*run).addPaths},
	{"limits set while it runs limit at once", there, (*run).updateLimits},
	{"what was added is there after a restart", both, (*run).addedAfterRestart},
	{"removed while it runs: gone for good, and nothing else", both, (*run).removeAll},
	{"added and removed while it does not run", here, (*run).addStopped},
	{"started without the hook: added and removed all the same", here, (*run).withoutHook},
	{"interfaces and routes of IPv4 and IPv6 are there, ping reaches the bridge", here, (*run).networkStarts},
	{"restart, `kill -9`: exactly these links, inside and on the host", here, (*run).networkRestarts},
	{"an interface of the host comes back, whatever happens", here, (*run).ethReturns},
	{"interfaces and routes added, changed, removed while it runs", here, (*run).networkRunning},
	{"the same while it does not run", here, (*run).networkStopped},
	{"what a hostile container has hidden goes, and what it was lent comes back", here, (*run).hostile},
	{"folders in granted folders: what is made there is made as the container's root", here, (*run).nested},
	{"links into a granted folder: nothing is made there", here, (*run).imageLinks},
	{"`idmap`: the host's owners are the container's", here, (*run).mappedOwners},
	{"the host is as before", both, (*run).host},
}

// run is the scenario with one container.
type run struct {
	*box
	disk, other disk
	data, ro    string // folders of the host
	file        string
	modules_    []string
	before      sandbox.Fingerprint
	rules       string
	wanted      recorded
	after       []func() // what a row leaves to do at the end
}

// The order of what follows is the order of rows.

// noWay tells whether the kernel has no way into the container's mount
// namespace: lcr has changed the root, and open_tree came with 5.2.
func (r *run) noWay() bool { return !r.real && r.kernel == holder.V4_19 }

// noNodes tells whether its devices cannot be given to the container: they are
// bound, in a user namespace.
func (r *run) noNodes() bool { return r.noWay() && r.mapped }

func (r *run) starts() string {
	r.box.env = []string{"KERNEL_MODULES=" + strings.Join(r.modules_, ",")}
	r.box.sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel.msgmax": "12345"}
	r.wanted = recorded{
		Binds: []string{
			r.data + ":/data:rw,rslave", r.data + ":/srv/deep/again:rw,rslave",
			r.ro + ":/ro:ro,rslave", r.file + ":/etc/scenario.conf:ro",
		},
		Devices: []device{
			// The numbers are out of date.
			{Type: "c", Major: 10, Minor: 1, PathOnHost: "/dev/fuse", PathInContainer: "/dev/sub/fuse", CgroupPermissions: "rw"},
			{Type: "b", Major: 8, Minor: 1, PathOnHost: r.disk.whole.path, PathInContainer: "/dev/disk", CgroupPermissions: "rwm"},
			{Type: "b", Major: 8, Minor: 2, PathOnHost: r.disk.part.path, PathInContainer: "/dev/disk1", CgroupPermissions: "r", Parent: r.disk.whole.path},
		},
	}
	r.record(r.wanted)
	err := r.start()
	if !r.noNodes() {
		check(r.t, err)
		if r.said != "" {
			r.t.Errorf("prestart wrote %q", r.said)
		}
		return yes
	}
	r.requireError(err, "/dev/sub/fuse", "before 5.2")
	r.poststop()
	check(r.t, r.held.End())
	r.wanted.Devices = nil
	r.record(r.wanted)
	check(r.t, r.start())
	return refused
}

// requireError requires one line that holds all words.
func (r *run) requireError(err error, words ...string) {
	r.t.Helper()
	if err == nil {
		r.t.Fatal("the container started")
	}
	r.t.Logf("refused: %v", err)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("the error does not say %q", w)
		}
	}
}

// requireLog requires a line of the hook's log that holds all words.
func (r *run) requireLog(words ...string) {
	r.t.Helper()
	text, err := os.ReadFile(r.log())
	check(r.t, err)
	for line := range strings.Lines(string(text)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			r.t.Logf("logged: %s", line)
			return
		}
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	r.t.Errorf("no line of the log holds all of %q; its last: %s", words, strings.Join(lines[max(0, len(lines)-5):], "\n"))
}

func (r *run) modules() string {
	for _, m := range r.modules_ {
		if _, err := os.Stat("/sys/module/" + m); err != nil {
			r.t.Error(err)
		}
	}
	return yes
}

func (r *run) characterDevice() string {
	r.fails("mknod /dev/other c 10 237 && exec 3<>/dev/other", "Operation not permitted")
	if r.noNodes() {
		return refused
	}
	r.works("exec 3<>/dev/sub/fuse")
	if got := r.works("stat -c '%F %t:%T %a %u:%g' /dev/sub/fuse"); got != "character special file a:e5 666 0:0" {
		r.t.Errorf("the device inside is %q", got)
	}
	return yes
}

func (r *run) blockDevices() string {
	w := r.other.whole
	r.fails(fmt.Sprintf("mknod /dev/otherdisk b %d %d && head -c 1 /dev/otherdisk", w.major, w.minor), "Operation not permitted")
	if r.noNodes() {
		return refused
	}
	r.works("echo of the container >/dev/disk && sync")
	if got := r.works("head -n 1 /dev/disk"); got != "of the container" {
		r.t.Errorf("the disk's first line inside is %q", got)
	}
	if got := r.works("stat -c %u:%a /dev/disk"); r.mapped && got != "0:660" {
		r.t.Errorf("owner and mode of the disk inside: %s", got)
	}
	r.works("head -c 512 /dev/disk1 | wc -c")
	r.fails("echo x >/dev/disk1", "Operation not permitted")
	return yes
}

func (r *run) renumbered() string {
	if r.noNodes() {
		return refused
	}
	text, err := os.ReadFile(filepath.Join(r.bundle, "device_hook.json"))
	check(r.t, err)
	for _, want := range []string{
		`"Minor":229,"Major":10,`,
		fmt.Sprintf(`"Minor":%d,"Major":%d,`, r.disk.whole.minor, r.disk.whole.major),
		fmt.Sprintf(`"Minor":%d,"Major":%d,`, r.disk.part.minor, r.disk.part.major),
	} {
		if !strings.Contains(strings.ReplaceAll(string(text), " ", ""), want) {
			r.t.Errorf("device_hook.json has no %s: %s", want, text)
		}
	}
	// udev is told of the partitions of a disk, also of one that is a file.
	disk := filepath.Base(r.disk.whole.path)
	want := `KERNEL=="` + disk + `*",ACTION=="add|remove", ENV{DEVTYPE}=="partition", SUBSYSTEM=="block", ` +
		`RUN{program}+="/lib/udev/isulad-tools_wrapper $env{ACTION} ` + r.id[:8] + ` $name /dev/disk ` + disk + `"` + "\n"
	if got := rules(r.t); !strings.Contains(got, want) {
		r.t.Errorf("udev rules: %s", got)
	}
	return yes
}

func (r *run) paths() string {
	if r.noWay() {
		for _, b := range r.wanted.Binds {
			r.requireLog(b, "before 5.2")
		}
		return refused
	}
	for _, c := range []struct{ script, want string }{
		{"cat /data/f /srv/deep/again/f /ro/f /etc/scenario.conf", "data\ndata\nro\nfile"},
		{"echo inside >/data/new && cat /srv/deep/again/new", "inside"},
		{"test ! -e /.sharedpath/master", ""},
	} {
		if got := r.works(c.script); got != c.want {
			r.t.Errorf("inside, %s: %q, want %q", c.script, got, c.want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(r.data, "new")); err != nil || string(got) != "inside\n" {
		r.t.Errorf("the host reads %q, %v", got, err)
	}
	check(r.t, os.Remove(filepath.Join(r.data, "new")))
	for _, p := range []string{"/ro/new", "/etc/scenario.conf"} {
		r.fails("echo x >"+p, "Read-only file system")
	}
	return yes
}

func (r *run) laterMounts() string {
	if r.noWay() {
		return refused
	}
	later := filepath.Join(r.data, "later")
	check(r.t, os.MkdirAll(later, 0o755))
	check(r.t, unix.Mount("later", later, "tmpfs", 0, ""))
	check(r.t, os.WriteFile(filepath.Join(later, "x"), []byte("later\n"), 0o644))
	if got := r.works("cat /data/later/x /srv/deep/again/later/x"); got != "later\nlater" {
		r.t.Errorf("inside: %q", got)
	}
	check(r.t, unix.Unmount(later, 0))
	r.works("test ! -e /data/later/x")
	check(r.t, os.Remove(later))
	return yes
}

func (r *run) parameters() string {
	if !r.mapped {
		return none // the runtime can
	}
	for _, p := range []struct{ path, want string }{{"/proc/sys/net/ipv4/ip_forward", "1"}, {"/proc/sys/kernel/msgmax", "12345"}} {
		if got := r.works("cat " + p.path); got != p.want {
			r.t.Errorf("inside, %s is %q", p.path, got)
		}
		if got, err := os.ReadFile(p.path); err != nil || strings.TrimSpace(string(got)) == p.want {
			r.t.Errorf("on the host, %s is %q, %v", p.path, got, err)
		}
	}
	return yes
}

func (r *run) host() string {
	for _, f := range slices.Backward(r.after) {
		f()
	}
	for _, d := range r.before.Diff(fingerprint(r.t), append(r.podmansOwn(), "file "+r.bundle, "file "+filepath.Dir(r.bundle))...) {
		r.t.Errorf("left on the host: %s", d)
	}
	if text := rules(r.t); text != r.rules {
		r.t.Errorf("the rules file is %q; was %q", text, r.rules)
	}
	return yes
}

const rulesFile = "/etc/udev/rules.d/99-isulad-tools.rules"

// rules are the udev rules that the hook keeps.
func rules(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if !errors.Is(err, os.ErrNotExist) {
		check(t, err)
	}
	return string(text)
}

// install has the hook of an installation.
func install(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(sandbox.Binary(t))
	check(t, err)
	check(t, os.MkdirAll(filepath.Join(graph, "hooks"), 0o755))
	check(t, os.WriteFile(filepath.Join(graph, "hooks", "isulad-hooks"), data, 0o755))
}

// builtin finds modules that need no loading.
func builtin(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, m := range []string{"loop", "fuse", "overlay", "ipv6"} {
		if _, err := os.Stat("/sys/module/" + m); err == nil {
			found = append(found, m)
		}
	}
	if len(found) < 2 {
		t.Fatalf("hardly any module is there: %q", found)
	}
	return found
}
