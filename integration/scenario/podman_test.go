package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"isula.org/isulad-tools/integration/sandbox"
)

// hooksD is where podman looks for hooks, and CRI-O.
const hooksD = "/usr/share/containers/oci/hooks.d"

// ofPodman is a container that podman keeps. Its id and bundle are podman's.
type ofPodman struct {
	sandbox.Podman
	made string // how it was made
}

// makePodman makes the container again, where it is to be another one. Its record stays.
func (b *box) makePodman() error {
	how := fmt.Sprint(b.env, b.roRoot, b.bare)
	if how == b.podman.made {
		return nil
	}
	record, err := os.ReadFile(filepath.Join(b.bundle, "device_hook.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c := sandbox.PodmanContainer{
		Name: b.name(), Rootfs: b.rootfs, Env: b.env,
		Args:    []string{"--cap-add", "SYS_ADMIN,MKNOD,NET_RAW,NET_ADMIN,AUDIT_WRITE"},
		Command: []string{"/bin/sleep", "2000000000"},
	}
	if b.roRoot {
		c.Args = append(c.Args, "--read-only")
	}
	if !b.bare {
		c.Args = append(c.Args, "--annotation", "isula.org/tools=true")
	}
	if err := errors.Join(b.podman.Remove(c.Name), b.putHooks()); err != nil {
		return err
	}
	if b.id, err = b.podman.Create(c); err != nil {
		return err
	}
	b.podman.made, b.bundle = how, b.podman.Bundle(b.id)
	if record == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(b.bundle, "device_hook.json"), record, 0o600)
}

// putHooks has what `make install` puts there, with a log of this container's.
func (b *box) putHooks() error {
	if err := os.MkdirAll(hooksD, 0o755); err != nil {
		return err
	}
	for _, stage := range []string{"prestart", "poststop"} {
		h := b.hook("isulad-hooks", stage)
		path, argv, err := h.Kernel.Command(h.Path, h.Args)
		if err != nil {
			return err
		}
		text, err := json.Marshal(map[string]any{
			"version": "1.0.0", "hook": map[string]any{"path": path, "args": argv, "env": h.Env},
			"when":   map[string]any{"annotations": map[string]string{`^isula\.org/tools$`: "^true$"}},
			"stages": []string{stage},
		})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(hooksD, "isulad-tools-"+stage+".json"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (b *box) startPodman() error {
	_, err := b.podman.Do("start", b.id)
	return err
}

// stopPodman ends it, which may have ended already.
func (b *box) stopPodman() error {
	_, err := b.podman.Do("stop", "--ignore", "--time", "0", b.id)
	return errors.Join(err, b.podman.AwaitStopped(b.id))
}

// podmansOwn is what podman and its tools have on the host.
func (b *box) podmansOwn() []string {
	if b.podman == nil {
		return nil
	}
	own := []string{"file /run/runc", "file /dev/shm/libpod_lock"}
	for _, dir := range sandbox.CgroupDirs(sandbox.CgroupParent()) {
		own = append(own, "cgroup "+filepath.Join(dir, "conmon"))
	}
	return own
}
