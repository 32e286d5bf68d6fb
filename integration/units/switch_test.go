package units

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// switchRun is where Open vSwitch has its sockets, calls a line for each call of its
// program.
const (
	switchRun = "/run/openvswitch"
	calls     = switchRun + "/calls"
)

// vswitch is Open vSwitch, Debian's, with a switch in user space.
type vswitch struct {
	dir              string // where its package is unpacked
	database, daemon *exec.Cmd
}

// env is the environment in which the programs find the libraries of Debian's package.
func (o *vswitch) env() []string {
	var dirs []string
	for _, pattern := range []string{"usr/lib", "usr/lib/*-linux-gnu", "lib/*-linux-gnu"} {
		found, _ := filepath.Glob(filepath.Join(o.dir, pattern))
		dirs = append(dirs, found...)
	}
	return append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(dirs, ":"))
}

func (o *vswitch) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(o.dir, program), args...)
	cmd.Env, cmd.Stderr = o.env(), os.Stderr
	return cmd
}

// start runs a daemon until the test ends.
func (o *vswitch) start(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := o.command(program, args...)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// startSwitch starts Open vSwitch with one bridge, ovs0, and puts its program where
// hooks look for it.
func startSwitch(t testing.TB) *vswitch {
	t.Helper()
	o := &vswitch{dir: filepath.Join(sandbox.Packages(), "openvswitch-switch")}
	if _, err := os.Stat(filepath.Join(o.dir, "usr/bin/ovs-vsctl")); err != nil {
		t.Fatalf("no Open vSwitch (hack/packages test unpacks it): %v", err)
	}
	must(t, os.MkdirAll(switchRun, 0o755))
	t.Cleanup(func() { must(t, os.RemoveAll(switchRun)) })
	t.Cleanup(func() { // a switch that is killed leaves its own
		for _, name := range []string{"ovs0", "ovs-netdev"} {
			_ = exec.Command("ip", "link", "del", name).Run()
		}
	})
	database := filepath.Join(t.TempDir(), "conf.db")
	quiet := []string{"-vconsole:off", "-vsyslog:off"}
	must(t, o.command("usr/bin/ovsdb-tool", append(quiet, "create", database, o.dir+"/usr/share/openvswitch/vswitch.ovsschema")...).Run())
	o.database = o.start(t, "usr/sbin/ovsdb-server", append(quiet, database, "--remote=punix:"+switchRun+"/db.sock", "--unixctl="+switchRun+"/db.ctl")...)
	if !sandbox.Await(func() bool { _, err := os.Stat(switchRun + "/db.sock"); return err == nil }) {
		t.Fatal("the database does not listen")
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	wrapper := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s\nexec env %s %s \"$@\"\n", calls, quote(o.env()[len(o.env())-1]), quote(filepath.Join(o.dir, "usr/bin/ovs-vsctl")))
	must(t, os.WriteFile("/usr/bin/ovs-vsctl", []byte(wrapper), 0o755))
	t.Cleanup(func() { must(t, os.Remove("/usr/bin/ovs-vsctl")) })
	o.vsctl(t, "--no-wait", "init")
	o.daemon = o.start(t, "usr/lib/openvswitch-switch/ovs-vswitchd", append(quiet, "unix:"+switchRun+"/db.sock", "--unixctl="+switchRun+"/switch.ctl", "--disable-system")...)
	o.vsctl(t, "add-br", "ovs0", "--", "set", "bridge", "ovs0", "datapath_type=netdev")
	return o
}

func (o *vswitch) vsctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("/usr/bin/ovs-vsctl", append([]string{"--timeout=20"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ovs-vsctl %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// ports are those of ovs0 in the database.
func (o *vswitch) ports(t testing.TB, want ...string) {
	t.Helper()
	if got := strings.Fields(o.vsctl(t, "list-ports", "ovs0")); !slices.Equal(got, want) {
		t.Errorf("ports %q, want %q", got, want)
	}
}

func inOVS(host, name, addr string) network.NIC {
	n := veth(host, name, addr)
	n.Bridge = "ovs0"
	return n
}

func TestAPortOfOpenVSwitchComesAndGoes(t *testing.T) {
	o := startSwitch(t)
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	one, two := inOVS("h1", "eth1", "172.17.28.2/24"), inOVS("h2", "eth2", "172.17.28.3/24")
	apply(t, to, one)
	apply(t, to, one)
	apply(t, to, two)
	o.ports(t, "h1", "h2")
	if got := o.vsctl(t, "get", "interface", "h1", "error"); got != "[]" {
		t.Errorf("the switch says of its port: %s", got)
	}
	for range 2 {
		must(t, network.Interfaces.Remove(t.Context(), to, one))
		o.ports(t, "h2")
	}

	// From one bridge to the other and back; a failure on the way leaves it.
	inLinux := two
	inLinux.Bridge = "br0"
	update(t, to, two, inLinux)
	o.ports(t)
	update(t, to, inLinux, two)
	o.ports(t, "h2")
	bad := two
	bad.Bridge = "nobr"
	if err := network.Interfaces.Update(t.Context(), to, two, bad); err == nil {
		t.Error("in a bridge that is not there")
	}
	o.ports(t, "h2")

	// Another bridge's port of that name is not ours.
	o.vsctl(t, "add-br", "ovs1", "--", "set", "bridge", "ovs1", "datapath_type=netdev")
	elsewhere := two
	elsewhere.Bridge = "ovs1"
	must(t, network.Pin(place.Isulad, h.id, h.pid))
	if err := (network.Cleanup{ID: h.id, Records: []network.NIC{elsewhere}, SwitchPorts: true}).Do(t.Context()); err == nil {
		t.Error("nobody says that the port is in another bridge")
	}
	o.ports(t, "h2")

	// At poststop, with the link or without.
	apply(t, to, two)
	o.ports(t, "h2")
	must(t, network.Cleanup{ID: h.id, Records: []network.NIC{two}, SwitchPorts: true}.Do(t.Context()))
	o.ports(t)
	apply(t, to, two)
	ip(t, "link", "del", "h2")
	o.ports(t, "h2")
	must(t, network.Cleanup{ID: h.id, Records: []network.NIC{two}, SwitchPorts: true}.Do(t.Context()))
	o.ports(t)
	apply(t, to, two)
	must(t, network.Unpin(h.id))
	ip(t, "link", "del", "h2")
	must(t, network.Cleanup{ID: h.id, Records: []network.NIC{two}, SwitchPorts: true}.Do(t.Context()))
	o.ports(t)
}

// inTime checks that f does not hold anything up: that it asks the switch so many
// times, each of which may be the switch's 4 s, and takes no more than three times
// what that takes at most.
func (o *vswitch) inTime(t testing.TB, times int, f func() error) error {
	t.Helper()
	write(t, calls, "")
	begin := time.Now()
	err := f()
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	asked := read(t, calls)
	if got := strings.Count(asked, "\n"); got != times {
		t.Errorf("it asked %d times, want %d:\n%s", got, times, asked)
	}
	return err
}

func TestADeadSwitchHoldsNothingUp(t *testing.T) {
	o := startSwitch(t)
	bridges(t, "br0")
	h := hold(t, nil)
	to := h.target(t, hostOwner)
	apply(t, to, inOVS("h1", "eth1", "172.17.28.2/24"))
	apply(t, to, inOVS("h2", "eth2", "172.17.28.3/24"))

	// The daemon does not answer, the database does.
	must(t, unix.Kill(o.daemon.Process.Pid, unix.SIGSTOP))
	before := hostLinks(t)
	err := o.inTime(t, 4, func() error {
		return network.Interfaces.Apply(t.Context(), to, inOVS("h3", "eth3", "172.17.28.4/24"))
	})
	if err == nil || !strings.Contains(err.Error(), "failed to add to bridge") {
		t.Errorf("a port of a switch that does not answer: %v", err)
	}
	same(t, "host", hostLinks(t), before...)
	o.ports(t, "h1", "h2")
	must(t, o.inTime(t, 2, func() error { return network.Interfaces.Remove(t.Context(), to, inOVS("h1", "eth1", "172.17.28.2/24")) }))
	o.ports(t, "h2")

	// Nor does the database.
	must(t, unix.Kill(o.database.Process.Pid, unix.SIGSTOP))
	before = hostLinks(t)
	for what, do := range map[string]func(context.Context, *resource.Target, network.NIC) error{
		"add": network.Interfaces.Apply, "remove": network.Interfaces.Remove,
	} {
		t.Run(what, func(t *testing.T) {
			n := inOVS("h2", "eth2", "172.17.28.3/24")
			if what == "add" {
				n = inOVS("h3", "eth3", "172.17.28.4/24")
			}
			if err := o.inTime(t, 1, func() error { return do(t.Context(), to, n) }); err == nil {
				t.Errorf("%s without a database", what)
			}
			same(t, "host after "+what, hostLinks(t), before...)
		})
	}
	linux := veth("h5", "eth5", "172.17.28.5/24")
	must(t, o.inTime(t, 0, func() error { return network.Interfaces.Apply(t.Context(), to, linux) }))

	// poststop asks once, and goes on.
	must(t, network.Pin(place.Isulad, h.id, h.pid))
	nics := []network.NIC{inOVS("h2", "eth2", "172.17.28.3/24"), inOVS("h1", "eth1", "172.17.28.2/24"), linux}
	if err := o.inTime(t, 1, func() error { return (network.Cleanup{ID: h.id, Records: nics, SwitchPorts: true}).Do(t.Context()) }); err == nil {
		t.Error("nobody says that the port is still there")
	}
	same(t, "host", slices.DeleteFunc(hostLinks(t), func(l string) bool { return !strings.HasPrefix(l, "h") }))
	must(t, network.Unpin(h.id))
}
