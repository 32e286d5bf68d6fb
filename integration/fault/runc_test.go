//go:build linux && amd64

package fault

import (
	"os"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// TestKilledPrestartUnderRunc kills prestart at some points of starts by real
// runc, which then runs poststop itself. It shows that the holder of the other
// tests is a fair substitute; every point is theirs.
func TestKilledPrestartUnderRunc(t *testing.T) {
	const tries = 12
	w := newWorld(t)
	w.learn()
	w.reset()
	must(t, removeTree(image))
	must(t, os.MkdirAll(image, 0o755))
	must(t, sandbox.Rootfs(image))
	must(t, os.Remove(hookFile))

	hook := func(stage string) []sandbox.Hook {
		c := w.command("poststop")
		c.Args[2] = stage
		return []sandbox.Hook{{Path: c.Path, Args: c.Args, Env: c.Env}}
	}
	b := &sandbox.Bundle{
		Dir: bundle, ID: id, Root: image, Env: []string{"KERNEL_MODULES=" + modules},
		Hooks: sandbox.Hooks{Poststop: hook("poststop")},
	}
	var runc sandbox.Runc
	// disturbed starts the container and lets runc go on as the hook ended.
	disturbed := func(f supervisor.Fault) *supervisor.Result {
		t.Helper()
		must(t, os.WriteFile(hookFile, []byte(oldRecords), 0o600))
		held, err := runc.CreateHeld(b)
		must(t, err)
		c := w.command("poststop")
		c.Args[2], c.Stdin = "prestart", held.State
		res, err := c.Run(f)
		must(t, err)
		status := res.ExitCode
		if status < 0 {
			status = 137
		}
		if err := held.Release(status); (err == nil) != (status == 0) {
			t.Fatalf("hook: %v; runc create: %v", res, err)
		}
		return res
	}

	var whole *supervisor.Result
	for range 2 { // the second has the places and mount points of the first, as all later ones
		whole = disturbed(supervisor.Fault{Action: supervisor.Observe})
		if whole.ExitCode != 0 {
			t.Fatalf("prestart: %v: %s", whole, whole.Stderr)
		}
		must(t, runc.Delete(id))
	}

	c := newTally(t, "kill loop, prestart under runc")
	points := len(whole.Points)
	for i := range tries {
		f := supervisor.Fault{At: 1 + i*(points-1)/(tries-1), Action: kills[i%len(kills)]}
		res := disturbed(f)
		if res.Hit == nil {
			t.Fatalf("%v: not reached", f)
		}
		lines := w.recordsDamaged()
		lines = append(lines, w.dataTouched()...)
		lines = append(lines, w.leftAfterRunc(t)...)
		c.add(f, res.Hit, "poststop by runc", lines)
	}

	// What the killed ones left in the image must not disturb a whole start.
	b.Hooks.Prestart = hook("prestart")
	must(t, os.WriteFile(hookFile, []byte(oldRecords), 0o600))
	must(t, sandbox.WriteBundle(b))
	must(t, runc.Run(id, bundle))
	out, err := runc.Exec(id, "/bin/sh", "-c",
		"cat /mnt/rw/a/b/precious /mnt/deep/ro/x/precious /etc/bound; stat -c '%F %t:%T' /dev/one /dev/sub/two; touch /mnt/deep/ro/new 2>&1")
	want := []string{
		"precious /goldhost/rw/a/b/precious", "precious /goldhost/ro/x/precious", "precious /goldhost/file",
		"character special file a:e5", "character special file a:c8", "Read-only file system",
	}
	for _, line := range want {
		if !strings.Contains(out, line) {
			t.Errorf("inside: %q, %v; want %q", out, err, line)
		}
	}
	must(t, runc.Delete(id))
	for _, line := range append(w.leftAfterRunc(t), w.dataTouched()...) {
		t.Errorf("after the whole start: %s", line)
	}
	c.log("some, before or after in turn")
}

// leftAfterRunc is leftBehind without what is runc's and this test's own. runc
// does not wait for the kernel to let go of a cgroup.
func (w *world) leftAfterRunc(t testing.TB) []string {
	t.Helper()
	var lines []string
	sandbox.Await(func() bool {
		lines = nil
		for _, line := range w.leftBehind() {
			if !strings.Contains(line, "/run/runc") && !strings.Contains(line, bundle+"/config.json") {
				lines = append(lines, line)
			}
		}
		return len(lines) == 0
	})
	return lines
}
