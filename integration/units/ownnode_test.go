package units

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/resource"
)

// A node that was there before is not ours to remove, whoever says so: the record,
// the specification or the runtime. One that was made in its place is.
func TestANodeThatWasThereBeforeStays(t *testing.T) {
	fuseThere := resource.Node{Path: "/dev/node", Type: "c", Major: 10, Minor: 229}
	for name, c := range map[string]struct {
		own   bool
		nodes []resource.Node
		there bool
		stays bool
	}{
		"as the record says":            {own: true, there: true, stays: true},
		"as the specification says":     {nodes: []resource.Node{fuseThere}, there: true, stays: true},
		"it had gone, and was made":     {own: true, nodes: []resource.Node{fuseThere}},
		"an earlier start's":            {there: true},
		"the specification has another": {nodes: []resource.Node{{Path: "/dev/node", Type: "c", Major: 10, Minor: 228}}, there: true},
	} {
		for _, ledger := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, with a ledger %v", name, ledger), func(t *testing.T) {
				h := hold(t, nil)
				target := h.target(t, hostOwner)
				if ledger {
					h.keepLedger(t, target)
				}
				target.Nodes = c.nodes
				if c.there {
					must(t, sandbox.Mknod(h.root+"/dev/node", unix.S_IFCHR|0o640, 10, 229, 3, 4))
				}
				d := fuse(t, "/dev/node")
				d.Own = c.own
				must(t, target.Ledger.Intend(devices.Kind.Name, nil, d))
				must(t, addDevice(t, target, d))
				removeDevice(t, target, d)
				_, err := os.Lstat(h.root + "/dev/node")
				// Without a ledger nobody knows who made it.
				if stays := err == nil; stays != (c.stays || !ledger && (c.own || len(c.nodes) > 0 && c.nodes[0] == fuseThere)) {
					t.Errorf("it stays: %v, want %v", stays, c.stays)
				}
				if rules := h.allowed(t); strings.Contains(rules, "10:229") {
					t.Errorf("the container may use %q", rules)
				}
			})
		}
	}
}
