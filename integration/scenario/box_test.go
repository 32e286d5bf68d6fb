package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/isula"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/integration/table"
)

// kind is a way in which containers are made.
type kind struct {
	real   bool // runc; otherwise a pivoted holder, as lcr of iSulad 2.1
	pod    bool // podman has runc run it
	mapped bool // with a user namespace of its own
	kernel holder.Kernel
}

func (k kind) name() string {
	switch {
	case k.pod:
		return table.Podman
	case k.real && k.mapped:
		return table.MappedRunc
	case k.real:
		return table.Runc
	case k.mapped:
		return table.MappedLCR
	}
	return table.LCR
}

// idMaps are the user namespace's.
var idMaps = []sandbox.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

const graph = "/var/lib/isulad"

// box is one container, over all its starts.
type box struct {
	kind
	t      *testing.T
	id     string
	bundle string
	rootfs string // on the host
	root   string // what lcr says it is
	env    []string
	sysctl map[string]string
	roRoot bool           // a read-only root
	linux  map[string]any // of the specification, instead of what iSulad wrote
	bare   bool           // started without our hook
	busy   bool           // others change it meanwhile
	daemon bool           // isulad knows it, though runc runs it

	podman *ofPodman // nil: it is not podman's
	runc   sandbox.Runc
	isulad *isula.Container // who answers for a pivoted holder
	held   *holder.Container
	said   string // what prestart wrote
}

// newBox furnishes a container that is not started yet.
func newBox(t *testing.T, k kind, id string) *box {
	t.Helper()
	engine := "lcr"
	if k.real {
		engine = "runc"
	}
	b := &box{kind: k, t: t, id: id, bundle: filepath.Join(graph, "engines", engine, id)}
	b.rootfs = filepath.Join(scratch(t), "rootfs")
	b.root = b.rootfs
	b.runc.Root = "/run/runc"
	check(t, sandbox.Rootfs(b.rootfs))
	if !k.pod {
		check(t, os.MkdirAll(b.bundle, 0o755))
		t.Cleanup(func() { check(t, os.RemoveAll(b.bundle)) })
	}
	check(t, isula.Install())
	var err error
	b.isulad, err = isula.Create(id, "c-"+id[:min(8, len(id))], b.bundle)
	check(t, err)
	t.Cleanup(func() { check(t, b.isulad.Remove()) })
	if k.pod {
		b.podman = &ofPodman{Podman: sandbox.Podman{Dir: filepath.Join(filepath.Dir(b.rootfs), "podman")}}
		check(t, b.makePodman())
	}
	if !k.mapped && !k.real {
		// An ordinary container's: empty on the host.
		b.root = filepath.Join(graph, "mnt/rootfs")
		check(t, os.MkdirAll(b.root, 0o755))
	}
	return b
}

// ends ends the container, if it runs then, with the test.
func (b *box) ends() {
	t := b.t
	t.Cleanup(func() {
		b.t = t
		if b.podman != nil {
			check(t, b.podman.Remove(b.name()))
		} else if b.real {
			if b.runc.Knows(b.id) {
				check(t, b.runc.Delete(b.id))
			}
		} else if b.held != nil {
			_ = b.held.Kill()
			b.poststop()
			check(t, b.held.End())
		}
	})
}

// scratch is a folder that all users can enter, outside of what Fingerprint
// looks at.
func scratch(t *testing.T) string {
	t.Helper()
	check(t, os.MkdirAll("/srv", 0o755))
	dir, err := os.MkdirTemp("/srv", "scenario-")
	check(t, err)
	check(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	return dir
}

// hook is the hook of an installation, argv[0] as given.
func (b *box) hook(argv0, stage string) holder.Hook {
	return holder.Hook{
		Path: filepath.Join(graph, "hooks", "isulad-hooks"), Args: []string{argv0, "--state", stage, "--log", b.log()},
		Env: []string{"PATH=/usr/bin:/bin"}, Kernel: b.kernel,
	}
}

// log is where the hooks log to.
func (b *box) log() string {
	if b.podman != nil {
		return b.podman.Dir + ".log"
	}
	return filepath.Join(b.bundle, "hook.log")
}

// write writes the bundle: config.json and, in it, the hooks, prestart twice as
// where the daemon's hook spec and the container's were merged.
func (b *box) write() {
	b.t.Helper()
	spec := &sandbox.Bundle{
		Dir: b.bundle, ID: b.id, Root: b.rootfs, Env: b.env, System: !b.real,
		Edit: func(spec map[string]any) {
			sets := spec["process"].(map[string]any)["capabilities"].(map[string]any)
			for name, list := range sets {
				sets[name] = append(list.([]any), "CAP_SYS_ADMIN")
			}
			spec["root"].(map[string]any)["readonly"] = b.roRoot
			maps.Copy(spec["linux"].(map[string]any), b.linux)
		},
	}
	if b.mapped {
		spec.UID, spec.GID = idMaps, idMaps
		spec.Sysctl = b.sysctl
	}
	at := func(stage string) sandbox.Hook {
		h := b.hook("isulad-hooks", stage)
		path, argv, err := h.Kernel.Command(h.Path, h.Args)
		check(b.t, err)
		return sandbox.Hook{Path: path, Args: argv, Env: h.Env}
	}
	spec.Hooks = sandbox.Hooks{
		Prestart:  []sandbox.Hook{at("prestart"), at("prestart")},
		Poststart: []sandbox.Hook{at("poststart")},
		Poststop:  []sandbox.Hook{at("poststop")},
	}
	if b.bare {
		spec.Hooks = sandbox.Hooks{}
	}
	check(b.t, sandbox.WriteBundle(spec))
	check(b.t, os.Chmod(b.bundle, 0o755))
}

// start starts the container. Its error is that of the prestart hook.
func (b *box) start() error {
	b.t.Helper()
	if b.podman != nil {
		return errors.Join(b.makePodman(), b.startPodman())
	}
	if !b.busy {
		b.write()
	}
	if b.mapped {
		check(b.t, os.Chmod(filepath.Dir(b.rootfs), 0o755))
		if n, err := sandbox.Lstat(b.rootfs); err != nil || n.UID != idMaps[0].HostID {
			check(b.t, err)
			check(b.t, holder.Chown(b.rootfs, idMaps))
		}
	}
	if !b.real {
		return b.isulad.Do(b.hold)
	}
	return b.isulad.Do(func() (int, error) {
		if err := b.runc.Run(b.id, b.bundle); err != nil {
			return 0, err
		}
		return b.pid(), nil
	})
}

// hold starts a pivoted holder, as the daemon does.
func (b *box) hold() (pid int, err error) {
	b.t.Helper()
	spec, err := container.ReadSpec(b.bundle)
	check(b.t, err)
	o := holder.Options{ID: b.id, Rootfs: b.rootfs, Pivoted: true, ReadOnly: b.roRoot, Rules: spec.DeviceRules("lcr")}
	if b.mapped {
		o.Maps = idMaps
	}
	c, err := holder.Start(o)
	check(b.t, err)
	b.held = c
	if b.bare {
		return c.Pid, c.Release()
	}
	b.said, err = b.prestart()
	if err != nil {
		check(b.t, c.Kill())
		return 0, err
	}
	b.again()
	return c.Pid, c.Release()
}

// again runs prestart for the second time in one start, which changes nothing.
func (b *box) again() {
	b.t.Helper()
	var before sandbox.Fingerprint
	if !b.busy {
		before = b.everything()
	}
	if again, err := b.prestart(); err != nil || again != b.said {
		b.t.Errorf("second prestart: %v, wrote %q", err, again)
	}
	if b.busy {
		return
	}
	for _, d := range before.Diff(b.everything()) {
		b.t.Errorf("the second prestart of one start changed: %s", d)
	}
}

// prestart calls the hook as lcr does.
func (b *box) prestart() (string, error) {
	return b.hook("", "prestart").Run(holder.State(b.id, b.held.Pid, b.root, b.bundle))
}

// poststop calls the hook as lcr does, after the container's end.
func (b *box) poststop() {
	b.t.Helper()
	if out, err := b.hook("", "poststop").Run(holder.State(b.id, -1, b.root, b.bundle)); err != nil || out != "" {
		b.t.Errorf("poststop: %v, wrote %q", err, out)
	}
}

// stop ends the container as `kill -9` of its init does.
func (b *box) stop() {
	b.t.Helper()
	if b.podman != nil {
		check(b.t, b.stopPodman())
		return
	}
	if b.real {
		check(b.t, b.isulad.Do(func() (int, error) {
			return 0, errors.Join(b.runc.Stop(b.id), b.runc.Delete(b.id))
		}))
		return
	}
	check(b.t, b.isulad.Do(func() (int, error) {
		check(b.t, b.held.Kill())
		if !b.bare {
			b.poststop()
		}
		return 0, b.held.End()
	}))
	b.held = nil
}

// halt ends the container, which its engine still knows: runc runs poststop only
// when it deletes one.
func (b *box) halt() {
	b.t.Helper()
	if !b.real || b.podman != nil {
		b.stop()
		return
	}
	check(b.t, b.isulad.Do(func() (int, error) { return 0, b.runc.Stop(b.id) }))
}

// resume starts what was halted.
func (b *box) resume() error {
	b.t.Helper()
	if b.real && b.podman == nil {
		check(b.t, b.runc.Delete(b.id))
	}
	return b.start()
}

// sh runs a script inside, as the container's root.
func (b *box) sh(script string) (string, error) {
	script = "exec 2>&1\n" + script
	if b.real {
		out, err := b.runc.Exec(b.id, "/bin/sh", "-c", script)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return strings.TrimSpace(out), err
	}
	out, err := b.held.Exec("/bin/sh", "-c", script)
	return strings.TrimSpace(out), err
}

// works requires a script inside to succeed and returns its output.
func (b *box) works(script string) string {
	b.t.Helper()
	out, err := b.sh(script)
	if err != nil {
		b.t.Errorf("inside, %s: %v", script, err)
	}
	return out
}

// fails requires a script inside to fail with a message.
func (b *box) fails(script, message string) {
	b.t.Helper()
	if out, err := b.sh(script); err == nil || !strings.Contains(out+err.Error(), message) {
		b.t.Errorf("inside, %s: %q, %v; want failure with %q", script, out, err, message)
	}
}

// group is its cgroup.
func (b *box) group() string {
	if b.podman != nil {
		return filepath.Join(sandbox.CgroupParent(), "libpod-"+b.id)
	}
	return filepath.Join(sandbox.CgroupParent(), b.id)
}

// pid is the container's init.
func (b *box) pid() int {
	b.t.Helper()
	if !b.real {
		return b.held.Pid
	}
	pid, err := b.runc.Pid(b.id)
	check(b.t, err)
	return pid
}

// record writes device_hook.json.
func (b *box) record(r recorded) {
	b.t.Helper()
	data, err := json.Marshal(r)
	check(b.t, err)
	check(b.t, os.WriteFile(filepath.Join(b.bundle, "device_hook.json"), data, 0o600))
}

// everything is the host and the container's mounts and files.
func (b *box) everything() sandbox.Fingerprint {
	b.t.Helper()
	f := fingerprint(b.t)
	delete(f, "file "+b.log())
	list, err := sandbox.Mounts(b.pid())
	check(b.t, err)
	for i, m := range list {
		f[fmt.Sprintf("inside mount %d", i)] = sandbox.MountLine(m)
	}
	tree, err := sandbox.ContainerTree(b.pid(), strings.TrimPrefix(b.inside(), fmt.Sprintf("/proc/%d/root", b.pid())))
	check(b.t, err)
	for p, n := range tree {
		f["inside "+p] = n.String()
	}
	return f
}

// inside is the container's root by way of its mount namespace.
func (b *box) inside() string {
	if b.held != nil {
		return b.held.Root()
	}
	return fmt.Sprintf("/proc/%d/root", b.pid())
}

func fingerprint(t *testing.T) sandbox.Fingerprint {
	t.Helper()
	f, err := sandbox.TakeFingerprint()
	check(t, err)
	return f
}
