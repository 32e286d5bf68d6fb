//go:build vmguest

package ovs

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bounded is what a start may take when a part of Open vSwitch is dead: it waits
// four seconds. This machine is emulated, and may share a processor with many others.
const bounded = 90 * time.Second

func TestTheKernelIsTheDatapath(t *testing.T) {
	vsctl(t, "add-br", bridge)
	for _, args := range [][]string{
		{"addr", "add", "10.77.0.1/24", "dev", bridge},
		{"addr", "add", "fd77::1/64", "dev", bridge, "nodad"},
		{"link", "set", bridge, "up"},
		{"link", "add", plain, "type", "bridge"},
		{"addr", "add", "10.78.0.1/24", "dev", plain},
		{"link", "set", plain, "up"},
	} {
		host(t, append([]string{"ip"}, args...)...)
	}
	if out := host(t, "ovs-dpctl", "show"); !strings.Contains(out, "system@ovs-system") || !strings.Contains(out, bridge) {
		t.Errorf("the datapath is %s", out)
	}
	ports(t)
}

func TestPortsComeAndGoWithTheContainer(t *testing.T) {
	c := newContainer(t, nic(0, bridge, "10.77.0.2/24"), nic(1, bridge, "fd77::2/64"))
	c.start()
	ports(t, "gst0", "gst1")
	c.pings("10.77.0.1", "fd77::1")
	c.stopsInTime()

	// Once more, without poststop: the next start finds what the last one left.
	c.write(false)
	c.start()
	ports(t, "gst0", "gst1")
	c.stop()
	ports(t, "gst0", "gst1") // the pin holds the namespace
	c.write(true)
	c.start()
	ports(t, "gst0", "gst1")
	c.pings("10.77.0.1", "fd77::1")
	c.stopsInTime()
	if _, err := os.Lstat(pins + c.id); err == nil {
		t.Error("the network namespace is still pinned")
	}
}

func TestPortsOfAPowerFailureAreForgotten(t *testing.T) {
	c := newContainer(t, nic(0, bridge, "10.77.0.2/24"))
	lose := func() {
		t.Helper()
		c.write(false)
		c.start()
		c.stop()
		must(t, unix.Unmount(pins+c.id, 0))
		must(t, os.Remove(pins+c.id))
		for range 500 { // the namespace ends in the background
			if _, err := os.Stat("/sys/class/net/gst0"); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := vsctl(t, "list-ports", bridge); got != "gst0" {
			t.Fatalf("the database has the ports %q", got)
		}
		c.write(true)
	}
	lose()
	c.start()
	ports(t, "gst0")
	c.pings("10.77.0.1")
	c.stopsInTime()
	lose()
	c.start()
	c.tool("remove-nic", "--name", "net0")
	ports(t)
}

func TestCommandsAddMoveAndRemovePorts(t *testing.T) {
	c := newContainer(t, nic(0, bridge, "10.77.0.2/24"))
	c.start()
	c.tool("add-nic", "--type", "veth", "--name", "gst1:net1", "--ip", "fd77::2/64", "--bridge", bridge)
	ports(t, "gst0", "gst1")
	c.pings("10.77.0.1", "fd77::1")
	c.tool("remove-nic", "--name", "net1")
	ports(t, "gst0")
	c.tool("update-nic", "--name", "net0", "--bridge", plain, "--ip", "10.78.0.2/24")
	ports(t)
	c.pings("10.78.0.1")
	c.tool("update-nic", "--name", "net0", "--bridge", bridge, "--ip", "10.77.0.3/24")
	ports(t, "gst0")
	c.pings("10.77.0.1")
	if out, err := c.try("update-nic", "--name", "net0", "--bridge", "nobr"); err == nil || !strings.Contains(out, "failed to upadte nic in container: ") {
		t.Errorf("a bridge that is not there: %v: %s", err, out)
	}
	ports(t, "gst0")
	c.pings("10.77.0.1")
	c.stopsInTime()
	// And a port that the container has left behind, with its record.
	c.start()
	must(t, c.runc.Stop(c.id))
	c.tool("remove-nic", "--name", "net0")
	ports(t)
	c.stopsInTime()
}

func TestAFailedStartLeavesNoPort(t *testing.T) {
	c := newContainer(t, nic(0, bridge, "10.77.0.2/24"), nic(1, "nobr", "10.77.0.3/24"))
	c.refused(bounded, "Device does not exist")
	ports(t)
}

// The database does not answer: it is stopped, as by a debugger, or it is dead.
func TestADeadDatabaseHangsNothing(t *testing.T) {
	c := newContainer(t, nic(0, bridge, "10.77.0.2/24"), nic(1, bridge, "10.77.0.3/24"))
	c.start()
	ports(t, "gst0", "gst1")
	signal := func(s unix.Signal) {
		t.Helper()
		must(t, daemons.database.Process.Signal(s))
	}
	signal(unix.SIGSTOP)
	began := time.Now()
	if out, err := c.try("remove-nic", "--name", "net0"); err == nil || !strings.Contains(out, "ovs-vsctl") {
		t.Errorf("remove-nic: %v: %s", err, out)
	}
	c.stop()
	took := time.Since(began)
	t.Logf("remove-nic and the stop took %.1f s", took.Seconds())
	if took > bounded {
		t.Errorf("remove-nic and the stop took %.1f s", took.Seconds())
	}
	if out := host(t, "ip", "-o", "link"); strings.Contains(out, "gst") {
		t.Errorf("the host has %s", out)
	}
	if _, err := os.Lstat(pins + c.id); err == nil {
		t.Error("the network namespace is still pinned")
	}
	asked := watch(t, "ovs-vsctl")
	c.refused(bounded, "gst0", "ovs-vsctl")
	if !asked() {
		t.Error("it was refused, and nobody had been asked")
	}

	// Who does not need it does not ask it.
	other := newOther(t)
	other.start()
	if asked() {
		t.Error("a start with a bridge of Linux asks Open vSwitch")
	}
	other.pings("10.78.0.1")
	other.stop()
	signal(unix.SIGCONT)
	reconnected(t)

	// What it could not be told then it learns at the next start and stop.
	c.start()
	ports(t, "gst0", "gst1")
	c.pings("10.77.0.1")
	c.stopsInTime()

	must(t, daemons.database.Process.Kill())
	_ = daemons.database.Wait()
	c.refused(bounded, "gst0", "ovs-vsctl")
	must(t, os.RemoveAll(runDir+"/db.sock"))
	must(t, startDatabase())
	reconnected(t)
	c.start()
	ports(t, "gst0", "gst1")
	c.stopsInTime()
}

// watch returns a function that tells whether a program was executed since the last time.
func watch(t *testing.T, program string) func() bool {
	t.Helper()
	path, err := exec.LookPath(program)
	must(t, err)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
	must(t, err)
	return func() bool {
		executed, events := false, make([]byte, 4096)
		for {
			n, err := unix.Read(fd, events)
			if n <= 0 {
				if err != unix.EAGAIN { //nolint:errorlint // a bare errno
					t.Fatalf("events of %s: %d, %v", path, n, err)
				}
				return executed
			}
			executed = true
		}
	}
}

func newOther(t *testing.T) (c *container) {
	t.Helper()
	t.Run("other", func(t *testing.T) { c = newContainer(t, nic(7, plain, "10.78.0.7/24")) })
	c.t = t
	return c
}

func TestADeadSwitchHangsNothing(t *testing.T) {
	c := newContainer(t, nic(0, bridge, "10.77.0.2/24"))
	must(t, daemons.vswitch.Process.Signal(unix.SIGSTOP))
	c.refused(bounded, "gst0", "ovs-vsctl")
	must(t, daemons.vswitch.Process.Signal(unix.SIGCONT))
	ports(t)
	c.start()
	ports(t, "gst0")
	c.pings("10.77.0.1")
	must(t, daemons.vswitch.Process.Signal(unix.SIGSTOP))
	began := time.Now()
	c.stop()
	if took := time.Since(began); took > bounded {
		t.Errorf("the stop took %.1f s", took.Seconds())
	}
	must(t, daemons.vswitch.Process.Signal(unix.SIGCONT))
	ports(t)
}
