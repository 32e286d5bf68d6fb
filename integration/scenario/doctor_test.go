package scenario

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
)

// exits requires a command to end with a code, and returns what it said on standard output.
func (b *box) exits(code int, args ...string) string {
	b.t.Helper()
	out, err := b.tool(args...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil && !strings.Contains(err.Error(), "succeeded, and said") {
		b.t.Fatal(err)
	}
	if got != code {
		b.t.Errorf("%q: exit code %d, want %d: %v: %s", args, got, code, err, out)
	}
	return out
}

// facts are what doctor says of one thing, the worst first.
func (b *box) facts(what string) (states []string, texts string) {
	b.t.Helper()
	out, err := b.tool("doctor", "--format", "json")
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.t.Fatal(err)
	}
	var list []struct{ State, What, Text, Mend string }
	check(b.t, json.Unmarshal([]byte(out), &list))
	for _, f := range list {
		if f.What == what {
			states, texts = append(states, f.State), texts+f.Text+"\n"
		}
	}
	return states, texts
}

// A container whose bundle is gone, and of which nobody ran poststop, leaves what only
// repair --orphans removes; the others keep theirs.
func TestOrphansAreFoundAndRemoved(t *testing.T) {
	install(t)
	sandbox.Udevadm(t, "true")
	lives := newRun(t, kind{})
	lives.furnish()
	check(t, lives.start())

	dead := newBox(t, kind{}, strings.Repeat("dead", 16))
	disk := newDisk(t)
	dead.record(recorded{
		Binds:   []string{scratch(t) + ":/data:rw"},
		Devices: []device{{Type: "b", Major: disk.whole.major, Minor: disk.whole.minor, PathOnHost: disk.whole.path, PathInContainer: "/dev/disk", CgroupPermissions: "rw"}},
		NICs:    []nic{{IP: "10.77.0.9/24", MTU: 1500, QueueLen: 1000, Type: "veth", Bridge: bridge, HostName: links + "v9", Name: "net0"}},
	})
	if states, texts := lives.facts("leftovers"); !slices.Equal(states, []string{"ok"}) {
		t.Errorf("before: %q: %s", states, texts)
	}
	before := fingerprint(t)
	check(t, dead.start())
	if out := lives.exits(0, "repair", "--orphans"); out != "" {
		t.Errorf("while it runs: %s", out)
	}
	check(t, dead.held.End()) // and nobody runs poststop
	check(t, os.RemoveAll(dead.bundle))
	states, texts := lives.facts("leftovers")
	if !slices.Equal(states, []string{"warn"}) || !strings.Contains(texts, dead.id) {
		t.Errorf("afterwards: %q: %s", states, texts)
	}
	for _, what := range []string{"ledger", "start record", "netns pin", "shared path", "staging mounts", "udev rules"} {
		if !strings.Contains(texts, what) {
			t.Errorf("it does not name the %s: %s", what, texts)
		}
	}
	if out := lives.exits(0, "repair", "--orphans", "--dry-run"); !strings.HasPrefix(out, "would remove leftovers of container "+dead.id) {
		t.Errorf("--dry-run: %q", out)
	}
	if out := lives.exits(0, "repair", "--orphans"); !strings.HasPrefix(out, "Remove leftovers of container "+dead.id) {
		t.Errorf("repair --orphans: %q", out)
	}
	for _, d := range before.Diff(fingerprint(t), "file "+dead.bundle) {
		t.Errorf("still there: %s", d)
	}
	if states, texts := lives.facts("leftovers"); !slices.Equal(states, []string{"ok"}) {
		t.Errorf("at the end: %q: %s", states, texts)
	}
	lives.isClean()
	check(t, os.MkdirAll(dead.bundle, 0o755)) // the box removes it
	lives.stop()
	for _, do := range lives.after {
		do()
	}
}

// A link that an older version lent, and that the kernel returned when its container was gone,
// has the container's name and a mark: it gets its own name again.
func TestMarkedLinksAreFoundAndReturned(t *testing.T) {
	install(t)
	sandbox.Udevadm(t, "true")
	b := newBox(t, kind{}, id)
	const now, was, peer = links + "net0", links + "eth7", links + "far"
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: now}, PeerName: peer}
	check(t, netlink.LinkAdd(pair))
	t.Cleanup(func() {
		l, err := netlink.LinkByName(peer)
		check(t, err)
		check(t, netlink.LinkDel(l))
	})
	if states, texts := b.facts("leftovers"); !slices.Equal(states, []string{"ok"}) {
		t.Errorf("before: %q: %s", states, texts)
	}
	check(t, netlink.LinkSetAlias(pair, "isulad-tools "+was))
	states, texts := b.facts("leftovers")
	if want := "link " + now + " was lent to a container that is gone, and was called " + was + "\n"; !slices.Equal(states, []string{"warn"}) || texts != want {
		t.Errorf("marked: %q: %s, want %q", states, texts, want)
	}
	returned := "link " + now + ", which was lent to a container that is gone, as " + was
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"repair", "--orphans", "--dry-run"}, "would return " + returned + "\n"},
		{[]string{"repair", "--orphans"}, "Return " + returned + " done\n"},
		{[]string{"repair", "--orphans"}, ""},
	} {
		if out := b.exits(0, c.args...); out != c.want {
			t.Errorf("%q: %q, want %q", c.args, out, c.want)
		}
	}
	l, err := netlink.LinkByName(was)
	if err != nil || l.Attrs().Alias != "" {
		t.Errorf("link %s: %v, %v, want it without an alias", was, l, err)
	}
	if states, texts := b.facts("leftovers"); !slices.Equal(states, []string{"ok"}) {
		t.Errorf("at the end: %q: %s", states, texts)
	}
}

// Whose ledger cannot be read may be what is left: nothing is removed.
func TestNothingIsLeftOverWhileALedgerCannotBeRead(t *testing.T) {
	install(t)
	sandbox.Udevadm(t, "true")
	b := newBox(t, kind{}, id)
	ledger := filepath.Join(place.Isulad.Starts(), "."+strings.Repeat("dead", 16)+".granted")
	check(t, os.MkdirAll(ledger, 0o700)) // no file
	t.Cleanup(func() { check(t, os.Remove(ledger)) })
	if states, texts := b.facts("leftovers"); !slices.Equal(states, []string{"warn"}) || !strings.Contains(texts, "nobody knows") || !strings.Contains(texts, ledger) {
		t.Errorf("doctor: %q: %s, want that nobody knows, because of %s", states, texts, ledger)
	}
	for _, args := range [][]string{{"repair", "--orphans"}, {"who", "/dev/fuse"}} {
		b.exits(1, args...)
	}
}

// Doctor says what is wrong with the host, and nothing when that is mended.
func TestDoctorSaysWhatIsWrongWithTheHost(t *testing.T) {
	install(t)
	b := newBox(t, kind{}, id)
	spec := "/etc/isulad-tools/hookspec.json"
	hook := filepath.Join(graph, "hooks", "isulad-hooks")
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), mode))
		check(t, os.Chmod(path, mode))
	}
	good := `{"prestart":[{"path":"` + hook + `","args":["isulad-hooks","--state","prestart"]}],"poststop":[{"path":"` + hook + `","args":["isulad-hooks","--state","poststop"]}]}`
	data, err := os.ReadFile(hook)
	check(t, err)
	wellDone := func() {
		write(spec, good, 0o640)
		write(hook, string(data), 0o755)
		check(t, os.RemoveAll("/etc/syscontainer-tools"))
		check(t, os.RemoveAll(place.ModulePolicy))
		check(t, os.RemoveAll("/etc/isulad/daemon.json"))
	}
	for _, c := range []struct {
		name string
		do   func()
		what string
		want []string
		says string
	}{
		{"all is well", func() {}, "hook", []string{"ok"}, hook},
		{"there is no hook spec", func() { check(t, os.Remove(spec)) }, "hook spec", []string{"bad"}, "missing: no container"},
		{"the hook spec is broken", func() { write(spec, "{", 0o640) }, "hook spec", []string{"bad"}, spec},
		{"others may write the hook spec", func() { write(spec, good, 0o666) }, "hook spec", []string{"bad"}, "users other than root may write"},
		{"the hook spec runs no hook", func() { write(spec, `{}`, 0o640) }, "hook spec", []string{"bad", "bad"}, "does not run the hook at prestart"},
		{"the hook is gone", func() { check(t, os.Remove(hook)) }, "hook", []string{"bad"}, hook},
		{"the hook cannot be executed", func() { write(hook, string(data), 0o644) }, "hook", []string{"bad"}, "cannot be executed"},
		{"others may write the hook", func() { write(hook, string(data), 0o777) }, "hook", []string{"bad"}, "users other than root may write"},
		{"the hook is of another version", func() { write(hook, string(data)+"x", 0o755) }, "hook", []string{"warn"}, "another version"},
		{"both generations are installed", func() { write("/etc/syscontainer-tools/hookspec.json", good, 0o640) }, "generations", []string{"warn"}, "both are installed"},
		{"the module policy is broken", func() { write(place.ModulePolicy, "{", 0o644) }, "module policy", []string{"bad"}, place.ModulePolicy},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			b.t = t
			wellDone()
			c.do()
			states, texts := b.facts(c.what)
			if !slices.Equal(states, c.want) || !strings.Contains(texts, c.says) {
				t.Errorf("%q: %s; want %q, and %q", states, texts, c.want, c.says)
			}
		})
	}
	b.t = t
	wellDone()
}

// Who tells of devices by their numbers, of paths by what is above and below them, and of
// links by their bridges.
func TestWhoTellsWhichContainersHaveSomething(t *testing.T) {
	install(t)
	sandbox.Udevadm(t, "true")
	r := newRun(t, kind{})
	r.furnish()
	check(t, r.start())
	check(t, os.Symlink(r.disk.whole.path, "/dev/my-disk"))
	for _, c := range []struct {
		word string
		want []string // parts of a line each
	}{
		{r.disk.whole.path, []string{"device " + r.disk.whole.path}},
		{"/dev/my-disk", []string{"device " + r.disk.whole.path}},
		{r.disk.part.path, []string{"device " + r.disk.part.path}},
		{"/dev/null", nil},
		{r.file, []string{"path " + r.file}},
		{filepath.Dir(r.data), []string{"path " + r.data, "path " + r.data, "path " + r.ro, "path " + r.file}},
		{r.data + "/f", []string{"path " + r.data, "path " + r.data}},
		{bridge, []string{"network interface veth " + links + "v0", "network interface veth " + links + "v1"}},
		{lent, []string{"network interface eth " + lent}},
		{"nolink", nil},
	} {
		t.Run(c.word, func(t *testing.T) {
			var lines []string
			for line := range strings.Lines(r.exits(0, "who", c.word)) {
				lines = append(lines, line)
				if !strings.Contains(line, "(recorded and granted)") {
					t.Errorf("who %s: %s", c.word, line)
				}
			}
			ok := len(lines) == len(c.want)
			for i := range min(len(lines), len(c.want)) {
				ok = ok && strings.Contains(lines[i], ": "+c.want[i])
			}
			if !ok {
				t.Errorf("who %s: %q, want %q", c.word, lines, c.want)
			}
		})
	}
	r.stop()
	for _, do := range r.after {
		do()
	}
}
