package units

import (
	"fmt"
	"testing"

	"isula.org/isulad-tools/devices"
)

// rounds are as many as the test machine's udevd has no time for.
const rounds = 50

func TestAPartitionComesAndGoesFiftyTimes(t *testing.T) {
	fakeProgram(t, "udevadm", "")
	either(t, func(t *testing.T, options ...option) {
		p := plug(t)
		host, disk := "/dev/"+p.name, fmt.Sprintf("7:%d", p.minor)
		b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record(host, "/dev/x", "rw")}}, options...)
		b.start()
		before := b.records()
		for n := range rounds {
			helper(t, 0, "add", b.id, p.part(1), "/dev/x", p.name)
			b.has(map[string]string{"/dev/x": disk})
			one := p.cut(t, 1)
			helper(t, 0, "add", b.id, p.part(1), "/dev/x", p.name)
			b.has(map[string]string{"/dev/x": disk, "/dev/xp1": one})
			p.uncut(t, 1)
			helper(t, 0, "remove", b.id, p.part(1), "/dev/x", p.name)
			b.has(map[string]string{"/dev/x": disk})
			if got := b.records(); got != before || t.Failed() {
				t.Fatalf("round %d: recorded %s, want %s", n, got, before)
			}
		}
	})
}
