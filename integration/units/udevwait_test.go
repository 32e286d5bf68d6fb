package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
)

func TestUdevdIsNotKeptWaitingForALock(t *testing.T) {
	p := plug(t)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record("/dev/"+p.name, "/dev/x", "rw")}}, pivoted)
	lock, err := config.LockContainer(t.Context(), b.dir, time.Second)
	must(t, err)
	defer lock.Unlock()
	p.cut(t, 1)
	args := []string{"add", b.id, p.part(1), "/dev/x", p.name}
	start := time.Now()
	units := booted(t)
	helper(t, 0, args...)
	if !strings.Contains(units(), "--direct "+strings.Join(args, " ")) {
		t.Errorf("systemd-run %s", units())
	}
	if took := time.Since(start); took > 15*time.Second { // 5 s
		t.Errorf("the event took %v", took)
	}
}

// What is looked at once more, because udevd has other rules now, is no less an event.
func TestUdevdIsNotKeptWaitingForALockThatIsTakenMeanwhile(t *testing.T) {
	p := plug(t)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record("/dev/"+p.name, "/dev/x", "rw")}}, pivoted)
	b.start()
	units := booted(t)
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	ended := filepath.Join(t.TempDir(), "ended")
	fakeProgram(t, "udevadm", "(flock "+b.dir+"/.device_hook.lock sleep 7; touch "+ended+") </dev/null >/dev/null 2>&1 & sleep 0.5")
	args := []string{"add", b.id, p.name, "/dev/x", "-"}
	helper(t, 0, args...)
	if !strings.Contains(units(), "--direct "+strings.Join(args, " ")) {
		t.Errorf("systemd-run %s", units())
	}
	if !sandbox.Await(func() bool { _, err := os.Stat(ended); return err == nil }) {
		t.Error("the lock is not let go")
	}
}

// Where no systemd runs nobody else serves an event: each looks at its own device only, so
// that one which is given up is lost.
func TestUdevdIsKeptWaitingWhereNobodyElseServesAnEvent(t *testing.T) {
	p := plug(t)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record("/dev/"+p.name, "/dev/x", "rw")}}, pivoted)
	b.start()
	lock, err := config.LockContainer(t.Context(), b.dir, time.Second)
	must(t, err)
	one := p.cut(t, 1)
	time.AfterFunc(7*time.Second, lock.Unlock)
	helper(t, 0, "add", b.id, p.part(1), "/dev/x", p.name)
	b.has(map[string]string{"/dev/x": fmt.Sprintf("7:%d", p.minor), "/dev/xp1": one})
}
