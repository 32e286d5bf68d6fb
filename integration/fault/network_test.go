//go:build linux && amd64

package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/internal/process"
)

// networkRecords are two pairs in a bridge, a link of the host, and routes.
const networkRecords = `{"networkInterfaces":[` + vethRecord + `,` +
	`{"Ip":"fd00::2/64","Mac":"","Mtu":1400,"Qlen":1000,"Type":"veth","Bridge":"br0","HostNicName":"h2","CtrNicName":"eth2"},` +
	ethRecord + `],"networkRoute":[{"dest":"default","src":"","gw":"172.17.28.1","dev":""},` + routeRecord + `]}`

const (
	vethRecord  = `{"Ip":"172.17.28.2/24","Mac":"00:ff:48:23:e2:bb","Mtu":1500,"Qlen":500,"Type":"veth","Bridge":"br0","HostNicName":"h1","CtrNicName":"eth1"}`
	ethRecord   = `{"Ip":"10.9.0.2/24","Mac":"","Mtu":1500,"Qlen":1000,"Type":"eth","Bridge":"","HostNicName":"phy0","CtrNicName":"eth5"}`
	routeRecord = `{"dest":"100.10.0.0/16","src":"172.17.28.2","gw":"","dev":"eth1"}`
)

// networked is a world that is about links only.
type networked struct {
	*world
	records string // the container's at its start
	whole   facts  // of an undisturbed container
}

// newNetworked makes the host's links: a bridge, and one end of a pair that stands
// for hardware: it dies with the namespace that it is in.
func newNetworked(t testing.TB, records string) *networked {
	t.Helper()
	w := &networked{world: newWorld(t), records: records}
	t.Cleanup(func() { w.ip("-force", "link del br0", "link del x_phy0", "link del h1", "link del h2") })
	w.begin()
	must(t, w.up())
	w.whole = w.links()
	w.stop()
	must(t, w.down())
	for fact, want := range map[string]bool{"host h1": false, "host phy0": true, "host br0": true} {
		if _, ok := w.links()[fact]; ok != want {
			t.Fatalf("%s after an undisturbed start and stop: %v", fact, ok)
		}
	}
	return w
}

// ip runs lines of ip(8).
func (w *networked) ip(option string, lines ...string) {
	w.t.Helper()
	cmd := exec.Command("ip", option, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil && option != "-force" {
		w.t.Fatalf("ip %q: %v: %s", lines, err, out)
	}
}

// begin brings the host back to where no hook ever ran, and starts a container
// without its hook.
func (w *networked) begin() {
	w.t.Helper()
	w.reset()
	w.ip("-force", "link del h1", "link del h2", "link del x_phy0", "link del br0")
	w.ip("-4", "link add br0 address 02:00:00:00:00:01 type bridge", "link set br0 up", "link add phy0 up type veth peer name x_phy0")
	must(w.t, os.WriteFile(hookFile, []byte(w.records), 0o600))
	w.start()
}

// up and down run the hooks, undisturbed.
func (w *networked) up() error   { return w.hook("prestart") }
func (w *networked) down() error { return w.hook("poststop") }

func (w *networked) hook(stage string) error {
	w.t.Helper()
	if res := w.run(stage, supervisor.Fault{}); res.ExitCode != 0 {
		return fmt.Errorf("%s: %v: stderr %q log %q", stage, res, res.Stderr, w.log())
	}
	return nil
}

// links are the links and routes of host and container. A link that came back is
// down, and the kernel chooses what it is not told.
func (w *networked) links() facts {
	w.t.Helper()
	all := facts{}
	sides := map[string][]string{"host": nil}
	if w.holder != nil {
		sides["container"] = []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", w.holder.Pid)}
	}
	for side, enter := range sides {
		cmd := append(slices.Clone(enter), "sh", "-c", "ip -j addr; ip -j route; ip -j -6 route")
		out, err := exec.Command(cmd[0], cmd[1:]...).Output()
		must(w.t, err)
		answers := json.NewDecoder(strings.NewReader(string(out)))
		for answers.More() {
			var list []struct {
				Name, MAC, Master, Dst, Gateway, Dev, Prefsrc, Protocol string
				MTU, Qlen                                               int
				Flags                                                   []string
				Addrs                                                   []struct {
					Local, Scope string
					Length       int
				}
			}
			text := json.RawMessage{}
			must(w.t, answers.Decode(&text))
			named := strings.NewReplacer(`"ifname"`, `"name"`, `"address"`, `"mac"`, `"txqlen"`, `"qlen"`, `"addr_info"`, `"addrs"`, `"prefixlen"`, `"length"`)
			must(w.t, json.Unmarshal([]byte(named.Replace(string(text))), &list))
			for _, l := range list {
				switch {
				case l.Name == "lo" || l.Name == "x_phy0" || l.Protocol == "kernel":
				case l.Dst != "":
					all[side+" route "+l.Dst] = l.Gateway + " " + l.Dev + " " + l.Prefsrc
				default:
					fact := fmt.Sprintf("mtu %d qlen %d in %q", l.MTU, l.Qlen, l.Master)
					if side == "container" || l.Name != "phy0" {
						fact += fmt.Sprintf(" up %v", slices.Contains(l.Flags, "UP"))
					}
					if strings.HasPrefix(l.MAC, "00:ff") {
						fact += " " + l.MAC
					}
					for _, a := range l.Addrs {
						if a.Scope == "global" {
							fact += fmt.Sprintf(" %s/%d", a.Local, a.Length)
						}
					}
					all[side+" "+l.Name] = fact
				}
			}
		}
	}
	return all
}

// bare are the facts of a host whose containers have nothing of it.
var bare = facts{`host br0`: `mtu 1500 qlen 1000 in "" up true`, `host phy0`: `mtu 1500 qlen 1000 in ""`}

// ended stops the container as a runtime does; nothing may be left.
func (w *networked) ended() []string {
	w.t.Helper()
	w.stop()
	var lines []string
	if err := w.down(); err != nil {
		lines = append(lines, err.Error())
	}
	return append(lines, w.isBare("after poststop")...)
}

// isBare wants the host's links. The MTU of a bridge without ports is the last
// one's.
func (w *networked) isBare(when string) []string {
	now := w.links()
	now["host br0"] = strings.Replace(now["host br0"], "mtu 1400", "mtu 1500", 1)
	return prefix(when, bare.diff(now))
}

// isWhole wants the container to be as after an undisturbed start.
func (w *networked) isWhole(when string) []string { return prefix(when, w.whole.diff(w.links())) }

// again is the next start, on whatever the last one left.
func (w *networked) again() []string {
	w.t.Helper()
	w.start()
	if err := w.up(); err != nil {
		return append(w.ended(), err.Error())
	}
	return append(w.isWhole("next start"), w.ended()...)
}

// TestKilledPrestartNetwork kills a prestart that gives a container interfaces and
// routes at every point.
func TestKilledPrestartNetwork(t *testing.T) {
	w := newNetworked(t, networkRecords)
	c := newTally(t, "kill loop, prestart, network")
	for name, sequel := range map[string]func() []string{
		"stopped and started anew": func() []string { return append(w.ended(), w.again()...) },
		"started anew at once":     func() []string { w.stop(); return w.again() },
		"the hook again for the same start": func() []string {
			lines := []string{}
			if err := w.up(); err != nil {
				lines = append(lines, err.Error())
			}
			return append(append(lines, w.isWhole("second hook")...), w.ended()...)
		},
	} {
		// Before a point is after the last one.
		for _, action := range []supervisor.Action{supervisor.KillAfter} {
			w.everyPoint(c, action, 0, name, func(f supervisor.Fault) (*supervisor.Point, []string) {
				w.begin()
				hit := w.run("prestart", f).Hit
				return hit, sequel()
			})
		}
	}
	c.log("after × 3 sequels")
}

// everyPoint calls try for every point until one is reached no more.
func (w *networked) everyPoint(c *tally, action supervisor.Action, errno unix.Errno, what string, try func(supervisor.Fault) (*supervisor.Point, []string)) {
	w.t.Helper()
	for n := 1; ; n++ {
		f := supervisor.Fault{At: n, Action: action, Errno: errno}
		hit, lines := try(f)
		if hit == nil {
			if len(lines) > 0 {
				w.t.Errorf("%s, undisturbed: %s", what, strings.Join(lines, "\n\t"))
			}
			return
		}
		c.add(f, hit, what, lines)
	}
}

// TestKilledPoststopNetwork kills poststop at every point.
func TestKilledPoststopNetwork(t *testing.T) {
	w := newNetworked(t, networkRecords)
	c := newTally(t, "kill loop, poststop, network")
	for name, sequel := range map[string]func() []string{
		"stopped again": func() []string { must(t, w.down()); return w.isBare("after the second poststop") },
		"started anew":  func() []string { return w.again() },
	} {
		for _, action := range []supervisor.Action{supervisor.KillAfter} {
			w.everyPoint(c, action, 0, name, func(f supervisor.Fault) (*supervisor.Point, []string) {
				w.begin()
				must(t, w.up())
				w.stop()
				hit := w.run("poststop", f).Hit
				return hit, sequel()
			})
		}
	}
	c.log("after × 2 sequels")
}

// TestFailingPrestartNetwork lets every point fail: what fails leaves nothing half
// made, and poststop takes back the rest.
func TestFailingPrestartNetwork(t *testing.T) {
	w := newNetworked(t, networkRecords)
	c := newTally(t, "fault loop, prestart, network")
	for _, errno := range []unix.Errno{unix.EIO, unix.EPERM} {
		w.everyPoint(c, supervisor.Fail, errno, "", func(f supervisor.Fault) (*supervisor.Point, []string) {
			w.begin()
			res := w.run("prestart", f)
			lines := w.badEnd("prestart", res, 0, 1)
			switch {
			case res.ExitCode == 0:
				lines = append(lines, w.isWhole("exit 0")...)
			case res.ExitCode == 1:
				lines = append(lines, notOneLine(res)...)
				for fact, is := range w.links() {
					if want, ok := w.whole[fact]; (!ok || want != is) && bare[fact] != is && fact != "host br0" {
						lines = append(lines, fmt.Sprintf("half made: %s: %s", fact, is))
					}
				}
			}
			return res.Hit, append(lines, w.ended()...)
		})
	}
	c.log("EIO, EPERM")
}

// TestFailingPoststopNetwork lets every point fail: a second run finds what is left.
func TestFailingPoststopNetwork(t *testing.T) {
	w := newNetworked(t, networkRecords)
	c := newTally(t, "fault loop, poststop, network")
	w.everyPoint(c, supervisor.Fail, unix.EIO, "", func(f supervisor.Fault) (*supervisor.Point, []string) {
		w.begin()
		must(t, w.up())
		w.stop()
		res := w.run("poststop", f)
		lines := w.badEnd("poststop", res, 0)
		if err := w.down(); err != nil {
			lines = append(lines, err.Error())
		}
		return res.Hit, append(lines, w.isBare("after the second poststop")...)
	})
	c.log("EIO")
}

// tool is a command on the running container, found by what runc has of it.
func (w *networked) tool(f supervisor.Fault, args ...string) *supervisor.Result {
	w.t.Helper()
	const root = "/run/runc-for-tests"
	init, err := process.Find(w.holder.Pid)
	must(w.t, err)
	state, err := json.Marshal(map[string]any{
		"id": id, "init_process_pid": init.PID, "init_process_start": init.Start,
		"config": map[string]any{"labels": []string{"bundle=" + bundle}},
	})
	must(w.t, err)
	must(w.t, os.MkdirAll(filepath.Join(root, id), 0o700))
	must(w.t, os.WriteFile(filepath.Join(root, id, "state.json"), state, 0o600))
	cmd := supervisor.Command{
		Path: w.bin, Args: append([]string{"isulad-tools", "--syslog-service", "", "--engine", "runc:" + root}, args...),
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Dir: "/", Timeout: hang, Classes: w.classes, Ignore: ofRuntime,
	}
	res, err := cmd.Run(f)
	must(w.t, err)
	return res
}

// recorded is the content of device_hook.json, as good as empty for none.
func recorded(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(hookFile)
	if os.IsNotExist(err) {
		return "{}"
	}
	must(t, err)
	return strings.TrimSpace(string(data))
}

// commands are those that are disturbed: what they find recorded, what they do,
// and what undoes it.
var networkCommands = map[string]struct {
	records    string
	args, undo []string
}{
	"add veth": {
		`{}`,
		[]string{"add-nic", "--type", "veth", "--name", "h1:eth1", "--ip", "172.17.28.2/24", "--bridge", "br0", id},
		[]string{"remove-nic", "--name", "eth1", id},
	},
	"remove veth with a route": {
		`{"networkInterfaces":[` + vethRecord + `],"networkRoute":[` + routeRecord + `]}`,
		[]string{"remove-nic", "--name", "eth1", id},
		nil,
	},
	"update veth": {
		`{"networkInterfaces":[` + vethRecord + `],"networkRoute":[` + strings.Replace(routeRecord, `"172.17.28.2"`, `""`, 1) + `]}`,
		[]string{"update-nic", "--name", "eth1", "--ip", "172.17.28.9/24", "--mtu", "1400", "--mac", "00:ff:48:23:e2:cc", id},
		nil,
	},
	"add eth": {
		`{}`,
		[]string{"add-nic", "--type", "eth", "--name", "phy0:eth5", "--ip", "10.9.0.2/24", id},
		[]string{"remove-nic", "--name", "eth5", id},
	},
	"remove eth": {`{"networkInterfaces":[` + ethRecord + `]}`, []string{"remove-nic", "--name", "eth5", id}, nil},
	"add route": {
		`{"networkInterfaces":[` + vethRecord + `]}`,
		[]string{"add-route", id, "[" + routeRecord + "]"},
		[]string{"remove-route", id, `[{"dest":"100.10.0.0/16"}]`},
	},
	"remove route": {
		`{"networkInterfaces":[` + vethRecord + `],"networkRoute":[` + routeRecord + `]}`,
		[]string{"remove-route", id, `[{"dest":"100.10.0.0/16"}]`},
		nil,
	},
}

// TestDisturbedNetworkCommands kills the commands at every point, and lets every
// point fail. A failed command has changed nothing, one that succeeded everything;
// after a kill, what is recorded and what is real can be brought together by the
// command that undoes it or by the same again, and by the container's end.
func TestDisturbedNetworkCommands(t *testing.T) {
	for name, command := range networkCommands {
		t.Run(name, func(t *testing.T) {
			w := newNetworked(t, command.records)
			w.begin()
			must(t, w.up())
			before, recordsBefore := w.links(), recorded(t)
			if res := w.tool(supervisor.Fault{}, command.args...); res.ExitCode != 0 {
				t.Fatalf("undisturbed: %v: %s", res, res.Stderr)
			}
			after, recordsAfter := w.links(), recorded(t)
			w.stop()
			must(t, w.down())

			c := newTally(t, "kill loop, "+name)
			for _, action := range []supervisor.Action{supervisor.KillAfter} {
				w.everyPoint(c, action, 0, "", func(f supervisor.Fault) (*supervisor.Point, []string) {
					w.begin()
					must(t, w.up())
					hit := w.tool(f, command.args...).Hit
					sequel, links, records := command.args, after, recordsAfter
					if command.undo != nil {
						sequel, links, records = command.undo, before, recordsBefore
					}
					res := w.tool(supervisor.Fault{}, sequel...)
					lines := w.badEnd("the next command", res, 0, 1) // 1: there is nothing left to do
					lines = append(lines, prefix("after the next command", links.diff(w.links()))...)
					if now := recorded(t); now != records {
						lines = append(lines, fmt.Sprintf("recorded is %s, want %s", now, records))
					}
					return hit, append(lines, w.ended()...)
				})
			}
			c.log("after")

			c = newTally(t, "fault loop, "+name)
			w.everyPoint(c, supervisor.Fail, unix.EIO, "", func(f supervisor.Fault) (*supervisor.Point, []string) {
				w.begin()
				must(t, w.up())
				res := w.tool(f, command.args...)
				lines := w.badEnd(name, res, 0, 1)
				links, records := after, recordsAfter
				if res.ExitCode != 0 {
					links, records = before, recordsBefore
				}
				lines = append(lines, prefix(fmt.Sprintf("exit %d", res.ExitCode), links.diff(w.links()))...)
				if now := recorded(t); now != records {
					lines = append(lines, fmt.Sprintf("exit %d: recorded is %s, want %s: %s", res.ExitCode, now, records, res.Stderr))
				}
				return res.Hit, append(lines, w.ended()...)
			})
			c.log("EIO")
		})
	}
}
