//go:build vmguest

package ovs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// share is the host's folder with the binary under test and its installer.
const share = "/share"

const (
	graph    = "/var/lib/isulad"
	hook     = graph + "/hooks/isulad-hooks"
	runDir   = "/run/openvswitch"
	database = "/etc/openvswitch/conf.db"
	schema   = "/usr/share/openvswitch/vswitch.ovsschema"
	pins     = "/run/isulad-tools/netns/"
)

// The switch, and a bridge of Linux beside it; both have the same addresses, one
// at a time.
const (
	bridge = "ovsbr"
	plain  = "lnxbr"
)

// daemons are Open vSwitch's two.
var daemons struct{ database, vswitch *exec.Cmd }

func TestMain(m *testing.M) {
	if os.Getenv("ISULAD_VM") != "1" {
		fmt.Fprintln(os.Stderr, "guest: this is not the test machine: run `go test ./integration/vm`")
		os.Exit(1)
	}
	if out, err := exec.Command(share+"/isulad-tools", "install").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "guest: install isulad-tools: %v\n%s", err, out)
		os.Exit(1)
	}
	if err := startSwitch(); err != nil {
		fmt.Fprintf(os.Stderr, "guest: start Open vSwitch: %v\n", err)
		os.Exit(1)
	}
	code := m.Run()
	for _, d := range []*exec.Cmd{daemons.vswitch, daemons.database} {
		_ = d.Process.Kill() // they hold our output
	}
	os.Exit(code)
}

func startSwitch() error {
	if err := errors.Join(os.MkdirAll(runDir, 0o755), os.MkdirAll(filepath.Dir(database), 0o755)); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"modprobe", "-a", "openvswitch", "bridge", "veth"},
		{"ovsdb-tool", "create", database, schema},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w: %s", args, err, out)
		}
	}
	if err := startDatabase(); err != nil {
		return err
	}
	if out, err := exec.Command("ovs-vsctl", "--no-wait", "init").CombinedOutput(); err != nil {
		return fmt.Errorf("ovs-vsctl init: %w: %s", err, out)
	}
	return startVSwitch()
}

func startDatabase() error {
	daemons.database = exec.Command("ovsdb-server", "-vconsole:off", database, "--remote=punix:"+runDir+"/db.sock", "--unixctl="+runDir+"/db.ctl")
	if err := daemons.database.Start(); err != nil {
		return err
	}
	for range 1000 {
		if _, err := os.Stat(runDir + "/db.sock"); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the database does not listen")
}

// reconnected returns when the switch follows the database again: it tries at ever
// longer intervals, up to eight seconds, which is longer than a start waits.
func reconnected(t *testing.T) {
	t.Helper()
	vsctl(t, "set", "bridge", bridge, "external-ids:reconnected="+strconv.FormatInt(time.Now().UnixNano(), 10))
}

// startVSwitch waits until ten seconds after boot: ovs-vswitchd 3.1 takes its first
// count of the processors for fresh before that, which is none, and starts no thread
// that asks the kernel for packets. All are lost then.
func startVSwitch() error {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &since); err != nil {
		return err
	}
	time.Sleep(11*time.Second - time.Duration(since.Nano()))
	daemons.vswitch = exec.Command("ovs-vswitchd", "-vconsole:off", "unix:"+runDir+"/db.sock", "--unixctl="+runDir+"/switch.ctl")
	return daemons.vswitch.Start()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host runs a program on the host and returns what it wrote.
func host(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func vsctl(t *testing.T, args ...string) string {
	t.Helper()
	return host(t, append([]string{"ovs-vsctl", "--timeout=60"}, args...)...)
}

// ports requires the switch's database to have exactly these ports, without an
// error, and the kernel the same.
func ports(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Fields(vsctl(t, "list-ports", bridge)); !slices.Equal(got, want) {
		t.Errorf("the switch has the ports %q, want %q", got, want)
	}
	for _, p := range want {
		if e := vsctl(t, "get", "interface", p, "error"); e != "[]" {
			t.Errorf("the switch says of %s: %s", p, e)
		}
		if out := host(t, "ip", "-o", "link", "show", "dev", p); !strings.Contains(out, "master ovs-system") || !strings.Contains(out, ",UP") {
			t.Errorf("the kernel's datapath has not %s: %s", p, out)
		}
	}
	for _, line := range strings.Split(host(t, "ip", "-o", "link"), "\n") {
		_, rest, _ := strings.Cut(line, ": ")
		name, _, _ := strings.Cut(rest, "@")
		if strings.HasPrefix(name, "gst") && !slices.Contains(want, name) && !strings.Contains(line, "master "+plain) {
			t.Errorf("the host has %s", line)
		}
	}
}

// container is one that runc runs with the installed hooks, or with some.
type container struct {
	t    *testing.T
	id   string
	dir  string
	runc sandbox.Runc
}

// nic is a record.
func nic(n int, bridge, address string) map[string]any {
	return map[string]any{
		"Ip": address, "Mac": "", "Mtu": 1500, "Qlen": 1000, "Type": "veth", "Bridge": bridge,
		"HostNicName": fmt.Sprintf("gst%d", n), "CtrNicName": fmt.Sprintf("net%d", n),
	}
}

func newContainer(t *testing.T, records ...map[string]any) *container {
	t.Helper()
	id := strings.Repeat(fmt.Sprintf("%x", t.Name()), 8)[:63] + "e"
	c := &container{t: t, id: id, dir: filepath.Join(graph, "engines/runc", id)}
	must(t, sandbox.Rootfs(filepath.Join(c.dir, "rootfs")))
	c.write(true)
	data, err := json.Marshal(map[string]any{"networkInterfaces": records})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(c.dir, "device_hook.json"), data, 0o600))
	c.runc.DeleteAtEnd(t, id)
	return c
}

// write writes the bundle, with a poststop hook or without.
func (c *container) write(poststop bool) {
	c.t.Helper()
	at := func(stage string) []sandbox.Hook {
		return []sandbox.Hook{{Path: hook, Args: []string{"isulad-hooks", "--state", stage, "--log", c.dir + "/hook.log"}, Env: []string{}}}
	}
	hooks := sandbox.Hooks{Prestart: at("prestart")}
	if poststop {
		hooks.Poststop = at("poststop")
	}
	must(c.t, sandbox.WriteBundle(&sandbox.Bundle{Dir: c.dir, ID: c.id, CgroupsPath: "/isulad/" + c.id, Hooks: hooks}))
}

// killed is what is said of an ovs-vsctl that was given up after some seconds. On this machine,
// which is emulated, and may share a processor with many others, that may be too early though
// nothing is dead: then it is done once more.
var killed = regexp.MustCompile("execute ovs-vsctl: .*(deadline exceeded|alarm clock)")

// unlessKilled does something, and again while that is why it fails: beside racers the machine
// has an eighth of a processor, for a minute.
func unlessKilled(do func() error) (err error) {
	for range 10 {
		if err = do(); err == nil || !killed.MatchString(err.Error()) {
			return err
		}
	}
	return err
}

func (c *container) start() {
	c.t.Helper()
	must(c.t, unlessKilled(func() error { return c.runc.Run(c.id, c.dir) }))
}

// refused requires the start to fail within a time, and returns what it said.
func (c *container) refused(within time.Duration, words ...string) {
	c.t.Helper()
	began := time.Now()
	err := c.runc.Run(c.id, c.dir)
	if err == nil {
		c.t.Fatal("the container started")
	}
	took := time.Since(began)
	c.t.Logf("refused after %.1f s: %v", took.Seconds(), err)
	if took > within {
		c.t.Errorf("it took %.1f s to refuse the start", took.Seconds())
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			c.t.Errorf("the error does not say %q", w)
		}
	}
}

func (c *container) stop() {
	c.t.Helper()
	must(c.t, c.runc.Delete(c.id))
}

// stopsInTime stops the container, and no port is left. What the switch could not be told it
// learns at the next start and stop.
func (c *container) stopsInTime() {
	c.t.Helper()
	for try := 0; ; try++ {
		before := c.log()
		c.stop()
		if try == 2 || !killed.MatchString(strings.TrimPrefix(c.log(), before)) {
			break
		}
		c.start()
	}
	ports(c.t)
}

// log is what its hooks have logged.
func (c *container) log() string {
	text, err := os.ReadFile(c.dir + "/hook.log")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	return string(text)
}

// pings requires the bridge to answer, in either family.
func (c *container) pings(addresses ...string) {
	c.t.Helper()
	for _, a := range addresses {
		if out, err := c.runc.Exec(c.id, "ping", "-c", "1", "-W", "5", a); err != nil {
			c.t.Errorf("in the container, ping %s: %v: %s", a, err, out)
		}
	}
}

// tool runs a command, which must succeed.
func (c *container) tool(args ...string) {
	c.t.Helper()
	must(c.t, unlessKilled(func() error {
		out, err := c.try(args...)
		if err != nil {
			err = fmt.Errorf("%q: %w: %s", args, err, out)
		}
		return err
	}))
}

func (c *container) try(args ...string) (string, error) {
	cmd := exec.Command("/usr/local/bin/isulad-tools", append([]string{"--engine", "runc"}, append(args, c.id)...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
