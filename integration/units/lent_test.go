package units

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// lendable is a link of the host with everything that a link can have, and a
// check that it has all of it.
func lendable(t testing.TB, name, queue string) (asBefore func(t testing.TB, when string)) {
	t.Helper()
	physical(t, name)
	ip(t, "link", "set", name, "down", "mtu", "9000", "address", "02:11:22:33:44:55")
	ip(t, "link", "set", name, "txqueuelen", queue, "alias", "rack 7, port 3")
	ip(t, "link", "property", "add", "dev", name, "altname", "rack7port3")
	ip(t, "link", "set", name, "up")
	ip(t, "link", "set", "x_"+name, "up")
	ip(t, "addr", "add", "10.77.0.1/24", "dev", name)
	ip(t, "addr", "add", "fd77::1/64", "dev", name, "nodad")
	ip(t, "route", "add", "10.78.0.0/16", "via", "10.77.0.9", "dev", name)
	ip(t, "-6", "route", "add", "fd78::/64", "via", "fd77::9", "dev", name)
	look := func() string {
		out := func(args ...string) string {
			text, err := exec.Command("ip", args...).CombinedOutput()
			if err != nil {
				return string(text)
			}
			return string(text)
		}
		link := strings.Join(strings.Fields(strings.SplitN(out("-o", "link", "show", name), ":", 2)[1]), " ")
		var all []string
		for _, text := range []string{link, out("-o", "addr", "show", "dev", name, "scope", "global"), out("route", "show", "dev", name), out("-6", "route", "show", "dev", name)} {
			for line := range strings.Lines(text) {
				if _, rest, ok := strings.Cut(line, name); ok && strings.Contains(line, "inet") {
					line = rest // without the number
				}
				if !strings.Contains(line, "fe80::") {
					all = append(all, strings.Join(strings.Fields(line), " "))
				}
			}
		}
		return strings.Join(all, "\n")
	}
	before := look()
	return func(t testing.TB, when string) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); look() != before && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		} // its state of operation follows
		if now := look(); now != before {
			t.Errorf("%s the link was\n%s\nand is\n%s", when, before, now)
		}
	}
}

// changeNICs does one change to what is recorded of interfaces, as a command does.
func changeNICs(t *testing.T, dir string, target *resource.Target, plan func(*resource.Edit[network.NIC])) *resource.Task {
	t.Helper()
	doc, err := config.Load(dir)
	must(t, err)
	change := resource.NewChange(doc, resource.Stop)
	edit, err := network.Interfaces.Edit(change)
	must(t, err)
	plan(edit)
	must(t, change.Do(t.Context(), target))
	return change.Tasks[0]
}

// service is a process of the container with a network namespace of its own.
func (h *fakeContainer) service(t *testing.T) int {
	t.Helper()
	return inNamespace(t, h, "unshare", "-n", "cat")
}

// A link of the host comes back as it was, whatever the container has done to it.
func TestALentLinkComesBackAsItWas(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, h *fakeContainer){
		"untouched":       func(*testing.T, *fakeContainer) {},
		"without a queue": func(*testing.T, *fakeContainer) {},
		"renamed, and another one has its name": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "set", "eth5", "down")
			h.ip(t, "link", "set", "eth5", "name", "lan0")
			h.ip(t, "link", "add", "eth5", "type", "veth", "peer", "name", "trap")
		},
		"changed": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "set", "eth5", "down", "mtu", "1280", "address", "02:66:66:66:66:66", "alias", "isulad-tools other")
			h.ip(t, "link", "set", "eth5", "txqueuelen", "3")
		},
		"named like another link of the host's": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "property", "del", "dev", "eth5", "altname", "rack7port3")
			h.ip(t, "link", "property", "add", "dev", "eth5", "altname", "x_phy0")
		},
		"used by a link on top of it": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "add", "link", "eth5", "name", "v7", "type", "macvlan")
			h.ip(t, "link", "set", "v7", "up")
		},
		"moved to a namespace of its own": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "set", "eth5", "netns", fmt.Sprint(h.service(t)))
		},
	} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped %v", name, stopped), func(t *testing.T) {
				if stopped && strings.HasPrefix(name, "moved") {
					return // the namespace is gone with its process, and so is a pair's end
				}
				queue := "77"
				if name == "without a queue" {
					queue = "0"
				}
				asBefore := lendable(t, "phy0", queue)
				h := hold(t, nil)
				target := h.target(t, hostOwner)
				h.keepLedger(t, target)
				dir, n := t.TempDir(), eth("phy0", "eth5", "10.9.0.2/24")
				n.MAC = "02:aa:aa:aa:aa:aa"
				must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
				same(t, "host", hostLinks(t))
				do(t, h)
				if !stopped {
					task := changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) })
					if task.Err != nil || task.Warning != nil {
						t.Errorf("%v, warning %v", task.Err, task.Warning)
					}
				} else { // and its records are lost
					must(t, network.Pin(place.Isulad, h.id, h.pid))
					must(t, network.Cleanup{ID: h.id, Ledger: target.Ledger, SwitchPorts: true}.Do(t.Context()))
					must(t, network.Unpin(h.id))
				}
				asBefore(t, "before it was lent")
				if open := target.Ledger.Grants(network.Interfaces.Name, false); len(open) > 0 {
					t.Errorf("the ledger has %s", open[0].Record)
				}
				if left := strings.Join(h.links(t), "\n"); strings.Contains(left, "v7") {
					t.Errorf("the container has\n%s", left)
				}
			})
		}
	}
}

// A pair goes by its end on the host, which the container cannot touch.
func TestAVethGoesWhereverItsOtherEndIs(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, h *fakeContainer){
		"renamed": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "set", "eth1", "down")
			h.ip(t, "link", "set", "eth1", "name", "lan0")
		},
		"moved to another namespace": func(t *testing.T, h *fakeContainer) {
			h.ip(t, "link", "set", "eth1", "netns", fmt.Sprint(h.service(t)))
		},
		"deleted": func(t *testing.T, h *fakeContainer) { h.ip(t, "link", "del", "eth1") },
	} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped %v", name, stopped), func(t *testing.T) {
				bridges(t, "br0")
				h := hold(t, nil)
				target := h.target(t, hostOwner)
				h.keepLedger(t, target)
				dir, n := t.TempDir(), veth("h1", "eth1", "172.17.28.2/24")
				must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
				do(t, h)
				if stopped {
					must(t, network.Pin(place.Isulad, h.id, h.pid))
					must(t, network.Cleanup{ID: h.id, Ledger: target.Ledger, SwitchPorts: true}.Do(t.Context()))
					must(t, network.Unpin(h.id))
				} else {
					must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) }).Err)
				}
				same(t, "host", hostLinks(t), br0)
			})
		}
	}
}

// What the container has destroyed is no reason to keep its record for ever; what
// nobody can reach is.
func TestALinkThatIsGoneOrHeldIsSaid(t *testing.T) {
	physical(t, "phy0")
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	h.keepLedger(t, target)
	dir, n := t.TempDir(), eth("phy0", "eth5", "10.9.0.2/24")
	must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
	ip(t, "netns", "add", "hidden")
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", "hidden").Run() })
	pin, err := os.Open("/run/netns/hidden")
	must(t, err)
	defer pin.Close()
	h.ip(t, "link", "set", "eth5", "netns", "hidden")
	task := changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) })
	if task.Err == nil || !strings.Contains(task.Err.Error(), "network namespace") || !strings.Contains(read(t, filepath.Join(dir, config.Name)), "phy0") {
		t.Errorf("held: %v", task.Err)
	}
	ip(t, "link", "del", "x_phy0")
	task = changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) })
	if task.Err != nil || task.Warning == nil || !strings.Contains(task.Warning.Error(), "destroyed") {
		t.Errorf("destroyed: %v, warning %v", task.Err, task.Warning)
	}
}

// What the operator has forgotten keeps the container from no start.
func TestALinkThatIsForgottenIsLookedForNoMore(t *testing.T) {
	physical(t, "phy0")
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	h.keepLedger(t, target)
	n := eth("phy0", "eth5", "10.9.0.2/24")
	must(t, changeNICs(t, t.TempDir(), target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
	h.ip(t, "link", "set", "eth5", "netns", fmt.Sprint(h.service(t)))
	must(t, network.Pin(place.Isulad, h.id, h.pid))
	t.Cleanup(func() { must(t, network.Unpin(h.id)) })
	for _, c := range []struct {
		name   string
		forget bool
		held   bool
	}{{"held", false, true}, {"forgotten", true, true}, {"by the next start", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			err := network.Cleanup{ID: h.id, Ledger: target.Ledger, Forget: c.forget}.Do(t.Context())
			if errors.Is(err, network.ErrStillInUse) != c.held {
				t.Errorf("%s: %v, want that it is held: %v", c.name, err, c.held)
			}
		})
	}
}
