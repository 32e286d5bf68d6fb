//go:build linux && amd64

package fault

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// The loops of interfaces and routes. All else in a start has loops of its own:
// these begin where the network namespace is pinned.

// fromPin returns the number of the first point at which a start deals with the
// network namespace, and the points from there on.
func fromPin(t testing.TB, points []supervisor.Point) []supervisor.Point {
	t.Helper()
	i := slices.IndexFunc(points, func(p supervisor.Point) bool { return strings.Contains(p.Args, "/netns") })
	if i < 0 {
		t.Fatal("no point has to do with the network namespace")
	}
	return points[i:]
}

// TestKilledPrestartWithNetwork kills prestart at every point from there on. What
// the host lent comes back, and the next start has it.
func TestKilledPrestartWithNetwork(t *testing.T) {
	w := newWiredWorld(t)
	points, _ := w.learn()
	points = fromPin(t, points)
	listPoints(t, "prestart, network,", points)
	c := newTally(t, "kill loop, prestart, network")
	for _, action := range kills {
		everyPointFrom(w, c, action, points[0].N, prestartSequels(action))
	}
	c.log("before/after × 3 sequels")
}

// TestKilledPoststopWithNetwork kills poststop at every point.
func TestKilledPoststopWithNetwork(t *testing.T) {
	w := newWiredWorld(t)
	_, points := w.learn()
	listPoints(t, "poststop, network,", points)
	c := newTally(t, "kill loop, poststop, network")
	for _, action := range kills {
		everyPoint(w, c, action, poststopSequels(action))
	}
	c.log("before/after × 2 sequels")
}

// TestFailingPrestartWithNetwork lets every point from there on fail.
func TestFailingPrestartWithNetwork(t *testing.T) {
	w := newWiredWorld(t)
	points, _ := w.learn()
	c := newTally(t, "fault loop, prestart, network")
	everyFault(w, c, errnos, fromPin(t, points), failPrestart)
	c.log("the errors that apply")
}

// TestBlindPrestartWithNetwork lets it fail to open what it wants to read.
func TestBlindPrestartWithNetwork(t *testing.T) {
	w := newWiredWorld(t)
	w.classes = supervisor.Look
	points, _ := w.learn()
	c := newTally(t, "fault loop, prestart, network, reading")
	everyFault(w, c, lookErrnos, fromPin(t, points), failPrestart)
	c.log("the errors that apply")
}

// TestFailingPoststopWithNetwork lets every point of poststop fail.
func TestFailingPoststopWithNetwork(t *testing.T) {
	w := newWiredWorld(t)
	_, points := w.learn()
	c := newTally(t, "fault loop, poststop, network")
	everyFault(w, c, errnos, points, failPoststop)
	c.log("the errors that apply")
}

var (
	addPair    = []string{"add-nic", "--type", "veth", "--name", pairs + "3:net3", "--ip", "10.80.0.2/24", "--mac", "02:77:00:00:00:03", "--bridge", bridge, id}
	removePair = []string{"remove-nic", "--name", "net3", id}
	// lend gives back what the recorded interface borrowed, for a command to borrow.
	lend   = []string{"remove-nic", "--name", "net2", id}
	borrow = []string{"add-nic", "--type", "eth", "--name", lent + ":net2", "--ip", "10.79.0.2/24", "--qlen", "1000", id} // on the host it has no queue
)

var wiredChanges = []change{
	{name: "add-nic, veth", args: addPair, inverse: removePair},
	{name: "add-nic, eth", before: [][]string{lend}, args: borrow, inverse: lend},
	{name: "remove-nic, veth", before: [][]string{addPair}, args: removePair, inverse: addPair},
	{
		name: "remove-nic, eth with a route", args: lend,
		inverse: borrow, also: []string{"add-route", id, `[{"dest":"default","dev":"net2"}]`},
	},
	{
		name: "update-nic, address", args: []string{"update-nic", "--name", "net0", "--ip", "10.77.0.3/24", "--mtu", "1300", "--qlen", "100", "--mac", "02:77:00:00:00:04", id},
		inverse: []string{"update-nic", "--name", "net0", "--ip", "10.77.0.2/24", "--mtu", "1400", "--qlen", "500", "--mac", "02:77:00:00:00:02", id},
	},
	{
		name: "add-route", args: []string{"add-route", id, `[{"dest":"10.99.0.0/16","gw":"10.77.0.1"}]`},
		inverse: []string{"remove-route", id, `[{"dest":"10.99.0.0/16"}]`},
	},
	{
		name: "add-route, IPv6", args: []string{"add-route", id, `[{"dest":"fd99::/32","dev":"net1"}]`},
		inverse: []string{"remove-route", id, `[{"dest":"fd99::/32"}]`},
	},
	{
		name: "remove-route", args: []string{"remove-route", id, `[{"dest":"10.88.0.0/16"}]`},
		inverse: []string{"add-route", id, `[{"dest":"10.88.0.0/16","gw":"10.77.0.1"}]`},
	},
	{
		name: "remove-route, IPv6", args: []string{"remove-route", id, `[{"dev":"net1"}]`},
		inverse: []string{"add-route", id, `[{"dest":"fd88::/32","gw":"fd77::1","dev":"net1"}]`},
	},
}

// TestKilledNetworkCommands and TestFailingNetworkCommands are
// TestKilledCommands and TestFailingCommands for interfaces and routes.
func TestKilledNetworkCommands(t *testing.T) { newWiredCommandWorld(t).killAll(t, wiredChanges) }

func TestFailingNetworkCommands(t *testing.T) { newWiredCommandWorld(t).failAll(t, wiredChanges) }

func newWiredCommandWorld(t *testing.T) *world {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(rulesFile), 0o755))
	must(t, os.WriteFile(rulesFile, []byte(noRules), 0o600))
	t.Cleanup(func() { must(t, os.Remove(rulesFile)) })
	w := newWiredWorld(t)
	sandbox.Udevadm(t, "true")
	w.learn()
	return w
}
