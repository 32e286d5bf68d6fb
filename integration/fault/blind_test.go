//go:build linux && amd64

package fault

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// TestBlindAddDevice has a container ask for a device that it could choose, because it may
// write the directory. add-device refuses that, whatever it cannot look at.
func TestBlindAddDevice(t *testing.T) {
	w := newCommandWorld(t)
	w.classes = supervisor.Look
	const node, link = hostDir + "/rw/node", hostDir + "/rw/link"
	for path, make := range map[string]func() error{
		node: func() error { return sandbox.Mknod(node, unix.S_IFCHR|0o600, 10, 237, 0, 0) },
		link: func() error { return os.Symlink(hostDir+"/three", link) },
	} {
		t.Run(path, func(t *testing.T) {
			defer w.on(t)()
			must(t, make())
			t.Cleanup(func() { must(t, os.Remove(path)) })
			w.data = w.hostData()
			args := []string{"add-device", id, path + ":/dev/chosen:rwm"}
			w.up(&change{})
			before := w.now()
			whole := w.tool(args, supervisor.Fault{})
			if whole.ExitCode != 1 {
				t.Fatalf("undisturbed: %v: %s", whole, whole.Stderr)
			}
			c := newTally(t, "blind add-device")
			for _, p := range whole.Points {
				f := supervisor.Fault{At: p.N, Action: supervisor.Fail, Errno: unix.EMFILE}
				res := w.tool(args, f)
				if res.Hit == nil {
					t.Errorf("%v: %v was not reached", f, p)
					continue
				}
				now := w.now()
				lines := append(w.badEnd("add-device", res, 1), before.facts.diff(now.facts)...)
				c.add(f, res.Hit, "", append(lines, same("its records", before, now)...))
				if fmt.Sprint(now) != fmt.Sprint(before) {
					w.end()
					w.up(&change{})
				}
			}
			c.log("EMFILE")
			w.end()
		})
	}
}
