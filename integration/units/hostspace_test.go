package units

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// namespaced starts a process with namespaces of its own, as far as flags say.
func namespaced(t testing.TB, flags uintptr) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	})
	return cmd.Process.Pid
}

// A broken specification, or engine, leaves a container in the host's mount
// namespace: mounts and nodes would be the host's.
func TestAContainerInTheHostsMountNamespaceIsRefused(t *testing.T) {
	pid := namespaced(t, unix.CLONE_NEWNET|unix.CLONE_NEWIPC)
	h := &fakeContainer{id: "in-the-hosts", image: filepath.Join(t.TempDir(), "image")}
	must(t, os.MkdirAll(filepath.Join(h.image, "dev"), 0o755))
	dir := bundleOf(t, h, map[string]any{"process": map[string]any{"env": []string{"KERNEL_MODULES=ext4"}}})
	state := map[string]any{"id": h.id, "pid": pid, "bundle": dir, "root": h.image}
	before, err := sandbox.TakeFingerprint()
	must(t, err)
	image := tree(t, h.image)

	code, stderr := stage(t, "prestart", state)
	if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "no mount namespace of its own") {
		t.Errorf("prestart: got %d, %q, want 1 and one line that says why", code, stderr)
	}
	init, err := process.ByPID(pid)
	must(t, err)
	spec, err := container.ReadSpec(dir)
	must(t, err)
	if _, _, err := container.Open(nil, place.Isulad, h.id, container.Start{Init: init, Bundle: dir, Root: h.image}, spec); !errors.Is(err, nsenter.ErrHostMount) {
		t.Errorf("for a command: got %v, want %v", err, nsenter.ErrHostMount)
	}
	if code, stderr := stage(t, "poststop", state); code != 0 || stderr != "" {
		t.Errorf("poststop: got %d, %q, want 0", code, stderr)
	}

	after, err := sandbox.TakeFingerprint()
	must(t, err)
	for _, d := range before.Diff(after, "cgroup ") {
		t.Errorf("on the host: %s", d)
	}
	if now := tree(t, h.image); now != image {
		t.Errorf("the image was\n%s\nand is\n%s", image, now)
	}
}

func TestOnlyTheHostsMountNamespaceIsRefused(t *testing.T) {
	own := namespaced(t, unix.CLONE_NEWNS)
	for name, c := range map[string]struct {
		pid  int
		want error
	}{
		"our own":     {os.Getpid(), nsenter.ErrHostMount},
		"our child's": {namespaced(t, 0), nsenter.ErrHostMount},
		"another":     {own, nil},
		"nobody's":    {1 << 30, os.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			if err := nsenter.CheckMount(c.pid); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			m, err := nsenter.EnterMount(c.pid, "the container", nil)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err == nil {
				m.Close()
			}
		})
	}
}
