package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"isula.org/isulad-tools/internal/place"
)

// The rows of interfaces and routes. They begin and end with a container that
// does not run.

// network is two pairs, a link that the host lends, and routes through each.
func network() recorded {
	return recorded{
		NICs: []nic{
			{IP: "10.77.0.2/24", MAC: "02:77:00:00:00:02", MTU: 1400, QueueLen: 500, Type: "veth", Bridge: bridge, HostName: links + "v0", Name: "net0"},
			{IP: "fd77::2/64", MTU: 1500, QueueLen: 1000, Type: "veth", Bridge: bridge, HostName: links + "v1", Name: "net1"},
			{IP: "10.79.0.2/24", MTU: 1500, QueueLen: 1000, Type: "eth", HostName: lent, Name: "net2"},
		},
		Routes: []route{
			{Dest: "10.88.0.0/16", GW: "10.77.0.1"},
			{Dest: "default", Dev: "net2"},
			{Dest: "10.89.0.0/16", Src: "10.79.0.2", Dev: "net2"},
			{Dest: "fd88::/32", GW: "fd77::1", Dev: "net1"},
			{GW: "fd77::1"},
			{Dest: "default", GW: "10.77.0.1", Metric: "200"},
			{GW: "fd77::1", Metric: "9"},
		},
	}
}

// pings requires the bridge, and the far end of the lent link's cable, to answer.
func (r *run) pings(addresses ...string) {
	r.t.Helper()
	for _, a := range addresses {
		r.works("ping -c 1 -W 5 " + a)
	}
}

var everybody = []string{"10.77.0.1", "fd77::1", "10.79.0.1"}

// requireNoWires requires the host to be as before any start.
func (r *run) requireNoWires() {
	r.t.Helper()
	r.requireWires(recorded{}, false)
	for _, g := range place.Generations {
		if _, err := os.Lstat(filepath.Join(g.NetNS(), r.id)); err == nil {
			r.t.Errorf("the network namespace is still pinned in %s", g.NetNS())
		}
	}
}

func (r *run) networkStarts() string {
	r.cabling()
	r.requireNoWires()
	r.record(network())
	check(r.t, r.start())
	if r.said != "" {
		r.t.Errorf("prestart wrote %q", r.said)
	}
	r.requireWires(network(), true)
	r.pings(everybody...)
	r.holds(network())
	return yes
}

// networkRestarts ends it in every way, and starts it again.
func (r *run) networkRestarts() string {
	r.stop()
	r.requireNoWires()
	check(r.t, r.start())
	r.requireWires(network(), true)
	r.pings(everybody...)

	check(r.t, syscall.Kill(r.pid(), syscall.SIGKILL))
	r.stop()
	r.requireNoWires()
	check(r.t, r.start())
	r.requireWires(network(), true)

	if !r.real { // nobody ran poststop
		check(r.t, r.held.End())
		check(r.t, r.start())
		r.requireWires(network(), true)
		r.pings(everybody...)
	}
	r.stop()
	r.requireNoWires()
	return yes
}

// ethReturns has starts that fail after the link was lent, its name be taken
// meanwhile, and the container rename it.
func (r *run) ethReturns() string {
	failing := network()
	failing.Routes = append(failing.Routes, route{Dest: "10.90.0.0/16", GW: "10.99.0.1"})
	r.record(failing)
	r.requireError(r.start(), "{dest:10.90.0.0/16,src:,gw:10.99.0.1,dev:}", "remove-route "+r.id)
	r.endFailed()

	failing = network()
	failing.NICs = append(failing.NICs, nic{IP: "10.80.0.2/24", MTU: 1500, QueueLen: 1000, Type: "eth", HostName: links + "none", Name: "net3"})
	r.record(failing)
	r.requireError(r.start(), links+"none", "not found")
	r.endFailed()

	r.record(network())
	check(r.t, r.start())
	taken := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	taken.Name = lent
	check(r.t, netlink.LinkAdd(taken))
	check(r.t, removeIfThere(r.log()))
	r.stop()
	r.requireLog(lent, "returned as "+lent+"_0")
	check(r.t, netlink.LinkDel(taken))
	other, err := netlink.LinkByName(lent + "_0")
	check(r.t, err)
	check(r.t, netlink.LinkSetName(other, lent))
	r.requireNoWires()
	return yes
}

// endFailed ends a container whose prestart failed: what it was lent is back. podman
// runs no poststop then, and the next start gives it back.
func (r *run) endFailed() {
	r.t.Helper()
	if r.podman != nil {
		r.record(recorded{})
		check(r.t, r.start())
		r.stop()
	}
	defer r.requireNoWires()
	if r.real {
		if _, err := r.runc.State(r.id); err == nil {
			r.t.Error("runc knows a container that failed to start")
		}
		return
	}
	r.poststop()
	check(r.t, r.held.End())
	r.held = nil
}

// addNIC are the arguments that record n, and what is said.
func addNIC(n nic) (args []string, says string) {
	args = []string{"add-nic", "--type", n.Type, "--name", n.HostName + ":" + n.Name, "--ip", n.IP}
	if n.MAC != "" {
		args = append(args, "--mac", n.MAC, "--mtu", "1400", "--qlen", "500")
	}
	if n.Bridge != "" {
		args = append(args, "--bridge", n.Bridge)
	}
	return append(args, NAME), "Add network interface (" + n.HostName + ") to container (NAME," + n.Name + ") done"
}

func removeNIC(n nic) (args []string, says string) {
	return []string{"remove-nic", "--name", n.Name, NAME}, "Remove network interface (" + n.HostName + ") from container (NAME," + n.Name + ") done"
}

func (p route) String() string {
	text := "{dest:" + p.Dest + ",src:" + p.Src + ",gw:" + p.GW + ",dev:" + p.Dev
	if p.Metric != "" {
		text += ",metric:" + p.Metric
	}
	return text + "}"
}

func jsonOf(v any) string {
	data, _ := json.Marshal(v) // of what is ours
	return string(data)
}

// wire adds everything by command.
func (r *run) wire(w recorded) {
	r.t.Helper()
	for _, n := range w.NICs {
		args, says := addNIC(n)
		r.does(args, says)
	}
	var says []string
	for _, p := range w.Routes {
		says = append(says, "Add route to container NAME, route: "+p.String()+" done")
	}
	r.does([]string{"add-route", NAME, jsonOf(w.Routes)}, says...)
}

// unwire removes everything but the third interface's routes' interface by
// command: routes by a filter, and with what they go through.
func (r *run) unwire(w recorded, running bool) {
	r.t.Helper()
	gone := func(list []route) (says []string) {
		for _, p := range list {
			says = append(says, "Remove route from container NAME, route: "+p.String()+" done")
		}
		return says
	}
	look := func() {
		r.t.Helper()
		r.holds(w)
		r.requireWires(w, running)
	}
	through := func(dev string) []route {
		var list []route
		w.Routes = slices.DeleteFunc(slices.Clone(w.Routes), func(p route) bool {
			match := p.Dev == dev || dev == "net1" && strings.Contains(p.GW, ":") || dev == "net0" && p.GW == "10.77.0.1"
			if match {
				list = append(list, p)
			}
			return match
		})
		return list
	}
	says := gone(through("net2"))
	r.does([]string{"remove-route", NAME, `[{"dev":"net2"}]`}, says...)
	look()
	for _, name := range []string{"net1", "net2", "net0"} {
		i := slices.IndexFunc(w.NICs, func(n nic) bool { return n.Name == name })
		args, said := removeNIC(w.NICs[i])
		w.NICs = slices.Delete(slices.Clone(w.NICs), i, i+1)
		r.does(args, append([]string{said}, gone(through(name))...)...)
		if len(w.Routes) == 0 {
			w.Routes = nil
		}
		if len(w.NICs) == 0 {
			w.NICs = nil
		}
		look()
	}
}

func (r *run) networkRunning() string {
	r.record(recorded{})
	check(r.t, r.start())
	w := network()
	r.wire(w)
	r.requireWires(w, true)
	r.holds(w)
	r.pings(everybody...)
	r.lists(w)
	for _, c := range []struct{ args, words []string }{
		{[]string{"add-nic", "--type", "veth", "--name", links + "v9:net9", "--ip", "10.77.0.2/16", "--bridge", bridge, NAME}, []string{"interface ip conflict: 10.77.0.2/16"}},
		{[]string{"add-nic", "--type", "eth", "--name", links + "none:net9", "--ip", "10.81.0.2/16", NAME}, []string{"HostNic(" + links + "none) not found, please check"}},
		{[]string{"add-route", NAME, `[{"dest":"10.88.0.0/16","gw":"10.77.0.1"}]`}, []string{"alread exist"}},
		{[]string{"add-route", NAME, `[{"dest":"10.90.0.0/16","gw":"10.99.0.1"}]`}, []string{"failed to add route"}},
		{[]string{"update-nic", "--name", "net0", "--bridge", links + "none", NAME}, []string{"failed to upadte nic in container: "}},
	} {
		r.refuses(c.args, c.words...)
		r.requireWires(w, true)
	}
	// What is changed moves to the end of the list.
	changed := w.NICs[0]
	changed.IP, changed.MTU, changed.QueueLen = "10.77.0.3/24", 1300, 0
	r.does([]string{"update-nic", "--name", "net0", "--ip", changed.IP, "--mtu", "1300", "--qlen", "0", NAME},
		"Update IP address for network interface (net0,10.77.0.3/24) done",
		"Update Mtu for network interface (net0,1300) done",
		"Update Qlen for network interface (net0,0)")
	w.NICs = append(slices.Clone(w.NICs[1:]), changed)
	r.requireWires(w, true)
	r.holds(w)
	r.pings(everybody...)

	r.stop()
	r.requireNoWires()
	check(r.t, r.start())
	r.requireWires(w, true)
	r.holds(w)
	r.pings(everybody...)
	r.unwire(w, true)
	r.stop()
	r.requireNoWires()
	return yes
}

// lists requires the lists to be what is recorded.
func (r *run) lists(w recorded) {
	r.t.Helper()
	for _, c := range []struct {
		args []string
		want any
	}{
		{[]string{"list-nic", NAME}, w.NICs},
		{[]string{"list-nic", "--filter", `{"type":"eth"}`, NAME}, w.NICs[2:]},
		{[]string{"list-route", NAME}, w.Routes},
		{[]string{"list-route", "--filter", `{"dev":"net2"}`, NAME}, w.Routes[1:3]},
	} {
		out, err := r.tool(c.args...)
		check(r.t, err)
		if d := cmp.Diff(jsonOf(c.want), strings.TrimSpace(out)); d != "" {
			r.t.Errorf("%q (-want +got):\n%s", c.args, d)
		}
	}
}

func (r *run) networkStopped() string {
	r.record(recorded{})
	check(r.t, r.start())
	r.halt()
	w := network()
	r.wire(w)
	r.holds(w)
	r.requireWires(w, false)
	check(r.t, r.resume())
	r.requireWires(w, true)
	r.pings(everybody...)
	// What the container has of the host comes back, be it before poststop or then.
	r.halt()
	r.unwireStopped(w)
	check(r.t, r.resume())
	r.requireWires(recorded{}, true)
	r.stop()
	r.requireNoWires()
	return yes
}

// unwireStopped removes everything from a container that does not run.
func (r *run) unwireStopped(w recorded) {
	r.t.Helper()
	r.does([]string{"remove-route", NAME, `[{}]`}, func() (says []string) {
		for _, p := range w.Routes {
			says = append(says, "Remove route from container NAME, route: "+p.String()+" done")
		}
		return says
	}()...)
	for _, n := range w.NICs {
		args, says := removeNIC(n)
		r.does(args, says)
	}
	r.holds(recorded{})
}
