package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// A container that starts with the host waits for devices that udev has not made yet,
// and its lock is free meanwhile; later nothing is waited for.
func TestAStartWaitsForDevicesWhileTheHostStarts(t *testing.T) {
	const whileItStarts = "--boot-time=87600h"
	for _, c := range []struct {
		name  string
		flags []string
		comes bool // the device, while the start waits
		code  int
		waits bool
	}{
		{"it comes", []string{whileItStarts}, true, 0, true},
		{"it does not come", []string{whileItStarts, "--boot-wait=1s"}, false, 1, true},
		{"the host has started", []string{"--boot-time=1ns"}, false, 1, false},
		{"waiting is switched off", []string{whileItStarts, "--boot-wait=0"}, false, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "late")
			b := inBundle(t, hold(t, nil), fmt.Sprintf(`{"deviceToAdd":[{"Type":"c","Minor":229,"Major":10,"PathOnHost":%q,"PathInContainer":"/dev/x","CgroupPermissions":"rw","Parent":""}]}`, path))
			begin := time.Now()
			p := start(t, b.state, append([]string{"prestart", "--log", filepath.Join(t.TempDir(), "log")}, c.flags...)...)
			if c.comes {
				for len(names(t, b.dir)) == 0 || !strings.Contains(names(t, b.dir), ".device_hook.lock") {
					time.Sleep(time.Millisecond)
				}
				if got := b.tool(t, "list-device", b.id); got.code != 0 {
					t.Errorf("another command: %+v", got)
				}
				must(t, sandbox.Mknod(path, unix.S_IFCHR|0o600, 10, 229, 0, 0))
			}
			got := p.wait()
			if got.code != c.code {
				t.Fatalf("%+v, want exit code %d", got, c.code)
			}
			if _, err := os.Lstat(b.root + "/dev/x"); (err == nil) != (c.code == 0) {
				t.Errorf("its node: %v", err)
			}
			if took := time.Since(begin); !c.comes && c.waits != (took >= time.Second) && c.waits {
				t.Errorf("it took %v", took)
			}
			b.hook(t, "poststop")
		})
	}
}
