package units

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

func bindOf(host, container string) mounts.Bind {
	return mounts.Bind{Host: host, Container: container, Options: "rw,rslave"}
}

// give adds paths as a command does.
func give(t testing.TB, target *resource.Target, binds ...mounts.Bind) {
	t.Helper()
	for _, b := range binds {
		must(t, mounts.Kind.Apply(t.Context(), target, b))
	}
}

// take removes paths as a command does: now are the records that stay.
func take(t testing.TB, target *resource.Target, now []mounts.Bind, gone ...mounts.Bind) error {
	t.Helper()
	for _, b := range gone {
		if err := mounts.Kind.Remove(t.Context(), target, b); err != nil {
			return err
		}
	}
	return mounts.Kind.Reconcile(t.Context(), target, now, gone)
}

// servedDirectly makes a target of a container that was started without the hook.
func servedDirectly(t testing.TB, h *fakeContainer) *resource.Target {
	t.Helper()
	target := h.target(t, hostOwner)
	must(t, mounts.DetectSharedPath(target))
	if target.NoSharedPath == nil {
		t.Fatal("a container that was never given a shared path has one")
	}
	return target
}

// ways runs f for each way by which a container is served, as far as the kernel
// has it.
func ways(t *testing.T, prepare func(image string), f func(t *testing.T, h *fakeContainer, target *resource.Target)) {
	for name, options := range map[string][]option{
		"before pivot_root": nil, "after it": {pivoted}, "user namespace": {userns}, "user namespace after pivot_root": {userns, pivoted},
	} {
		if canShare(options) {
			t.Run(name, func(t *testing.T) {
				h := hold(t, prepare, options...)
				target := h.target(t, hostOwner)
				target.UserNS, target.Pivoted = has(options, userns), has(options, pivoted)
				must(t, share(t, target))
				must(t, mounts.DetectSharedPath(target))
				if target.NoSharedPath != nil {
					t.Fatalf("with a shared path: %v", target.NoSharedPath)
				}
				f(t, h, target)
			})
		}
	}
	if !lacks(unix.SYS_MOUNT_SETATTR) {
		t.Run("without the hook", func(t *testing.T) {
			h := hold(t, prepare, pivoted)
			target := servedDirectly(t, h)
			target.Pivoted = true
			f(t, h, target)
		})
	}
}

func within(t testing.TB, target *resource.Target, do func() error) {
	t.Helper()
	must(t, target.NS.Do(do))
}

// at is a container path as a thread in the container's namespace has it.
func (h *fakeContainer) at(path string) string {
	if strings.HasSuffix(h.root, "/root") {
		return path
	}
	return h.image + path
}

func TestAPathGoesWithAllThatItBrought(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		for _, options := range []string{"rw", "ro", "rw,rslave", "ro,rslave", "rprivate", "private,ro"} {
			dir := hostDir(t)
			below := filepath.Join(dir, "below")
			must(t, os.Mkdir(below, 0o755))
			must(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
			t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
			write(t, filepath.Join(below, "data"), "mine")
			before, host, data := h.mountsOf(t), allMounts(t), tree(t, dir)
			binds := []mounts.Bind{{Host: dir, Container: "/mnt/d", Options: options}, {Host: dir + "/file", Container: "/new/f", Options: options}}
			give(t, target, binds...)
			if read(t, h.root+"/mnt/d/below/data") != "mine" || read(t, h.root+"/new/f") != "hi" {
				t.Errorf("%s: the paths are not there", options)
			}
			for range 2 { // one that is gone already is fine
				if err := take(t, target, nil, binds...); err != nil {
					t.Fatalf("%s: %v", options, err)
				}
			}
			if after := h.mountsOf(t); after != before {
				t.Errorf("%s: the container had the mounts\n%s\nand has\n%s", options, before, after)
			}
			if after := allMounts(t); after != host {
				t.Errorf("%s: the host had the mounts\n%s\nand has\n%s", options, host, after)
			}
			if after := tree(t, dir); after != data {
				t.Errorf("%s: the host's files were\n%s\nand are\n%s", options, data, after)
			}
			if left := names(t, filepath.Join(master, h.id)) + names(t, filepath.Join(midpath, h.id)); left != "" {
				t.Errorf("%s: on the host there is still %s", options, left)
			}
		}
		// Mount points stay: the image may have had them before.
		if _, err := os.Lstat(h.root + "/mnt/d"); err != nil {
			t.Error(err)
		}
	})
}

func TestTheTransferMountsGoWithTheLastOfAHostPath(t *testing.T) {
	h, target := shared(t, nil)
	dir := hostDir(t)
	x, y, z := bindOf(dir, "/mnt/x"), bindOf(dir+"/", "/mnt/y"), bindOf(hostDir(t), "/mnt/z")
	give(t, target, x, y, z)
	for _, c := range []struct {
		gone mounts.Bind
		now  []mounts.Bind
		left int
	}{{x, []mounts.Bind{y, z}, 2}, {y, []mounts.Bind{z}, 1}, {z, nil, 0}} {
		must(t, take(t, target, c.now, c.gone))
		for _, side := range []string{master, midpath, h.root + "/.sharedpath"} {
			dir := filepath.Join(side, h.id)
			if strings.HasPrefix(side, h.root) {
				dir = side
			}
			if n := len(strings.Fields(names(t, dir))); n != c.left {
				t.Errorf("without %s %s has %d names, want %d", c.gone, side, n, c.left)
			}
		}
		for _, b := range c.now {
			must(t, mounts.Kind.Verify(t.Context(), target, b))
		}
	}
}

// What a command left that was killed goes with the next one.
func TestTransferMountsThatNobodyRecordedAreSwept(t *testing.T) {
	h, target := shared(t, nil)
	kept := bindOf(hostDir(t), "/mnt/kept")
	give(t, target, kept, bindOf(hostDir(t), "/mnt/killed"))
	must(t, mounts.Kind.Reconcile(t.Context(), target, []mounts.Bind{kept}, nil))
	if n := len(strings.Fields(names(t, filepath.Join(master, h.id)))); n != 1 {
		t.Errorf("%d staging mounts stay, want 1", n)
	}
	must(t, mounts.Kind.Verify(t.Context(), target, kept))
}

func TestAPathBelowAnotherIsTakenAloneAndComesBackWhenThatGoes(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		over, under := bindOf(hostDir(t), "/mnt/x"), bindOf(hostDir(t), "/mnt/x/sub")
		must(t, os.Mkdir(filepath.Join(over.Host, "sub"), 0o755))
		write(t, filepath.Join(under.Host, "own"), "under")
		give(t, target, over, under)
		must(t, take(t, target, []mounts.Bind{under}, over))
		gone(t, h.root+"/mnt/x/file")
		if got := read(t, h.root+"/mnt/x/sub/own"); got != "under" {
			t.Errorf("what was below is %q", got)
		}
		must(t, take(t, target, nil, under))
		give(t, target, over, under)
		must(t, take(t, target, []mounts.Bind{over}, under))
		must(t, mounts.Kind.Verify(t.Context(), target, over))
		gone(t, h.root+"/mnt/x/sub/own")
		give(t, target, under)
		must(t, take(t, target, nil, over, under))
		gone(t, h.root+"/mnt/x/file")
		if h.mountAt(t, "/mnt/x")+h.mountAt(t, "/mnt/x/sub") != "" {
			t.Errorf("still mounted:\n%s", h.mountsOf(t))
		}
	})
}

func TestWhatIsMountedOverAPathIsRefusedByName(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		for _, over := range []string{"/mnt/x", "/mnt"} {
			b := bindOf(hostDir(t), "/mnt/x")
			give(t, target, b)
			within(t, target, func() error { return unix.Mount("tmpfs", h.at(over), "tmpfs", 0, "") })
			before := h.mountsOf(t)
			err := take(t, target, nil, b)
			if err == nil || !strings.Contains(err.Error(), "something else is mounted over /mnt/x") {
				t.Errorf("over %s: %v, want a refusal", over, err)
			}
			if after := h.mountsOf(t); after != before {
				t.Errorf("over %s: the container had\n%s\nand has\n%s", over, before, after)
			}
			within(t, target, func() error { return unix.Unmount(h.at(over), unix.MNT_DETACH) })
			must(t, take(t, target, nil, b))
			if at := h.mountAt(t, "/mnt/x"); at != "" {
				t.Errorf("still mounted: %s", at)
			}
		}
	})
}

// The container does with its mounts as it likes. Nothing of its own, and
// nothing of the host's, is unmounted for that.
func TestNothingButThePathIsUnmountedWhereverItIs(t *testing.T) {
	out, untouched := victim(t)
	for name, act := range map[string]func(h *fakeContainer) error{
		"it mounted its own instead": func(h *fakeContainer) error {
			return firstOf(unix.Unmount(h.at("/a/x"), unix.MNT_DETACH), unix.Mount("tmpfs", h.at("/a/x"), "tmpfs", 0, ""))
		},
		"it moved the mount": func(h *fakeContainer) error {
			return firstOf(os.Mkdir(h.at("/z"), 0o755), unix.Mount(h.at("/a/x"), h.at("/z"), "", unix.MS_MOVE, ""))
		},
		"it moved the parent away": func(h *fakeContainer) error {
			return firstOf(os.Rename(h.at("/a"), h.at("/b")), os.MkdirAll(h.at("/a/x"), 0o755))
		},
		"the parent is a link to another mount": func(h *fakeContainer) error {
			return firstOf(os.Rename(h.at("/a"), h.at("/b")), os.MkdirAll(h.at("/c/x"), 0o755),
				unix.Mount("tmpfs", h.at("/c/x"), "tmpfs", 0, ""), os.Symlink("/c", h.at("/a")))
		},
		"the parent is a link to the host": func(h *fakeContainer) error {
			return firstOf(os.Rename(h.at("/a"), h.at("/b")), os.Symlink("../../../../../../../../.."+out, h.at("/a")))
		},
		"the path is a link to itself": func(h *fakeContainer) error {
			return firstOf(unix.Unmount(h.at("/a/x"), unix.MNT_DETACH), os.Remove(h.at("/a/x")), os.Symlink("x", h.at("/a/x")))
		},
		"the path is a file": func(h *fakeContainer) error {
			return firstOf(unix.Unmount(h.at("/a/x"), unix.MNT_DETACH), os.Remove(h.at("/a/x")), os.WriteFile(h.at("/a/x"), nil, 0o600))
		},
		"the path is a FIFO": func(h *fakeContainer) error {
			return firstOf(unix.Unmount(h.at("/a/x"), unix.MNT_DETACH), os.Remove(h.at("/a/x")), unix.Mkfifo(h.at("/a/x"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, target := shared(t, func(image string) { must(t, os.MkdirAll(image+"/a/x", 0o755)) })
			b, other := bindOf(hostDir(t), "/a/x"), bindOf(hostDir(t), "/mnt/other")
			before := h.mountsOf(t)
			give(t, target, b, other)
			within(t, target, func() error { return act(h) })
			var own []string
			for line := range strings.Lines(ownMounts(t, h, before)) {
				if !strings.Contains(line, b.Host[strings.LastIndex(b.Host, "/0"):]+" ") {
					own = append(own, line)
				}
			}
			must(t, take(t, target, []mounts.Bind{other}, b))
			if after, want := ownMounts(t, h, before), strings.Join(own, ""); after != want {
				t.Errorf("without the path the container's own mounts were\n%s\nand are\n%s", want, after)
			}
			must(t, mounts.Kind.Verify(t.Context(), target, other))
		})
	}
	untouched()
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ownMounts are those that came since, and did not come over the shared path.
func ownMounts(t testing.TB, h *fakeContainer, before string) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(h.mountsOf(t)) {
		if !strings.Contains(before, strings.TrimSpace(line)) && !strings.Contains(line, "/.sharedpath/") {
			all = append(all, line)
		}
	}
	return strings.Join(all, "")
}

func TestAHostPathThatIsGoneIsStillTakenAway(t *testing.T) {
	for what, act := range map[string]func(dir string) error{
		"removed":      os.RemoveAll,
		"renamed":      func(dir string) error { return os.Rename(dir, dir+"-before") },
		"made anew":    func(dir string) error { return firstOf(os.Rename(dir, dir+"-before"), os.Mkdir(dir, 0o755)) },
		"now a file":   func(dir string) error { return firstOf(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) },
		"now dangling": func(dir string) error { return firstOf(os.RemoveAll(dir), os.Symlink("nowhere", dir)) },
	} {
		t.Run(what, func(t *testing.T) {
			ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
				b := bindOf(hostDir(t), "/mnt/x")
				give(t, target, b)
				must(t, act(b.Host))
				err := take(t, target, nil, b)
				at := h.mountAt(t, "/mnt/x")
				if target.NoSharedPath != nil && err != nil {
					// It has no staging mount to be known by.
					if !strings.Contains(err.Error(), "unmount it there first") || at == "" {
						t.Errorf("%v; mounted: %q", err, at)
					}
					return
				}
				must(t, err)
				if at != "" {
					t.Errorf("still mounted: %s", at)
				}
			})
		})
	}
}

// A second path of a host path that was made anew replaces the staging mounts.
func TestATreeThatTheTransferMountsNoLongerKnowIsNotForgotten(t *testing.T) {
	h, target := shared(t, nil)
	old, b := bindOf(hostDir(t), "/mnt/old"), mounts.Bind{}
	give(t, target, old)
	must(t, firstOf(os.Rename(old.Host, old.Host+"-before"), os.Mkdir(old.Host, 0o755)))
	b = bindOf(old.Host, "/mnt/new")
	give(t, target, b)
	err := take(t, target, []mounts.Bind{b}, old)
	if err == nil || !strings.Contains(err.Error(), "data-before, not of the recorded host path: unmount it there first") {
		t.Errorf("%v, want an error that says what to do", err)
	}
	must(t, mounts.Kind.Verify(t.Context(), target, b))
	within(t, target, func() error { return unix.Unmount(h.at("/mnt/old"), unix.MNT_DETACH) })
	must(t, take(t, target, []mounts.Bind{b}, old))
}

// Later mounts of the host arrive, and leave, however the path came; nothing
// that the container mounts below it comes out.
func TestWhatTheHostMountsBelowAPathLaterArrives(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		b := bindOf(hostDir(t), "/mnt/x")
		below := filepath.Join(b.Host, "below")
		must(t, os.Mkdir(below, 0o755))
		give(t, target, b)
		must(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
		write(t, below+"/later", "")
		if got := names(t, h.root+"/mnt/x/below"); got != "later" {
			t.Errorf("inside there is %q", got)
		}
		must(t, unix.Unmount(below, unix.MNT_DETACH))
		if got := names(t, h.root+"/mnt/x/below"); got != "" {
			t.Errorf("inside there is still %q", got)
		}
		within(t, target, func() error { return unix.Mount("tmpfs", h.at("/mnt/x/below"), "tmpfs", 0, "") })
		if mounted(t, below) {
			t.Error("a mount of the container's came out")
		}
	})
}

func TestTwoHundredTimesLeaveNothing(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		noCollector(t)
		dir, state := hostDir(t), t.TempDir()
		var fds int
		var inContainer, onHost string
		for i := range 201 {
			binds := []mounts.Bind{bindOf(dir, fmt.Sprintf("/mnt/%d", i%7)), bindOf(dir+"/file", "/mnt/file")}
			for _, add := range []bool{true, false} {
				doc, err := config.Load(state)
				must(t, err)
				c := resource.NewChange(doc, resource.Stop)
				e, err := mounts.Kind.Edit(c)
				must(t, err)
				for _, b := range binds {
					if add {
						e.Add(b)
					} else {
						e.Remove(b)
					}
				}
				must(t, c.Do(t.Context(), target))
				for _, task := range c.Tasks {
					must(t, task.Err)
				}
			}
			if i == 0 { // what stays for the next one is there now
				fds, inContainer, onHost = descriptors(t), h.mountsOf(t), allMounts(t)
			}
		}
		if after := descriptors(t); after != fds {
			t.Errorf("%d descriptors after the first, %d after all", fds, after)
		}
		if after := h.mountsOf(t); after != inContainer {
			t.Errorf("the container had\n%s\nand has\n%s", inContainer, after)
		}
		if after := allMounts(t); after != onHost {
			t.Errorf("the host had\n%s\nand has\n%s", onHost, after)
		}
		if got := read(t, filepath.Join(state, config.Name)); got != "{}\n" {
			t.Errorf("recorded is %s", got)
		}
		if left := names(t, filepath.Join(master, h.id)) + names(t, filepath.Join(midpath, h.id)); left != "" {
			t.Errorf("on the host there is still %s", left)
		}
	})
}

func TestAnOptionalPathThatIsMissingIsSkippedAndNotMade(t *testing.T) {
	h, target := shared(t, nil)
	state, there, missing := t.TempDir(), hostDir(t), filepath.Join(t.TempDir(), "vanished")
	made := filepath.Join(t.TempDir(), "made")
	write(t, filepath.Join(state, config.Name), fmt.Sprintf(
		`{"bindToAdd":["%[1]s:/mnt/there:rw","%[2]s:/mnt/missing:rw","%[3]s:/mnt/made:rw"],"optionalPaths":["%[1]s:/mnt/there:rw","%[2]s:/mnt/missing:rw"]}`,
		there, missing, made))
	doc, err := config.Load(state)
	must(t, err)
	plan, err := mounts.Restore(nil, doc)
	must(t, err)
	var said []string
	must(t, plan.Do(t.Context(), target, func(err error) { said = append(said, err.Error()) }))
	if len(said) != 1 || !strings.Contains(said[0], missing) || !strings.Contains(said[0], "skipping") {
		t.Errorf("said %q, want one warning of what is missing", said)
	}
	gone(t, missing)
	gone(t, h.root+"/mnt/missing")
	if got := read(t, h.root+"/mnt/there/file"); got != "hi" {
		t.Errorf("the one that is there has %q", got)
	}
	node(t, made, "d 0755 0:0")
}

// Without the shared path, what cannot be given says so, and leaves nothing.
func TestAContainerWithoutTheHookSaysWhatItNeeds(t *testing.T) {
	for _, options := range [][]option{{pivoted}, {pivoted, userns}} {
		h := hold(t, nil, options...)
		target := servedDirectly(t, h)
		target.UserNS = has(options, userns)
		b := bindOf(filepath.Join(t.TempDir(), "new"), "/mnt/x")
		before, image := h.mountsOf(t), tree(t, h.image)
		err := mounts.Kind.Apply(t.Context(), target, b)
		if !target.UserNS && !lacks(unix.SYS_MOUNT_SETATTR) {
			must(t, err)
			must(t, mounts.Kind.Verify(t.Context(), target, b))
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "start it with --hook-spec") {
			t.Errorf("%v: %v, want an error that says what to do", options, err)
		}
		gone(t, b.Host)
		if after := h.mountsOf(t); after != before {
			t.Errorf("%v: the container had\n%s\nand has\n%s", options, before, after)
		}
		if after := tree(t, h.image); after != image {
			t.Errorf("%v: the image was\n%s\nand is\n%s", options, image, after)
		}
	}
}

// Not even its root makes writable what a container with a user namespace was
// given read-only.
func TestAReadOnlyPathStaysSoInAUserNamespace(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		if !target.UserNS || target.Pivoted {
			return // or it has no program to try it with
		}
		b := mounts.Bind{Host: hostDir(t), Container: "/mnt/x", Options: "ro,rslave"}
		must(t, os.Chmod(b.Host, 0o777))
		give(t, target, b)
		inContainer := func(args ...string) (string, error) {
			out, err := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(h.pid), "-U", "-m", "--"}, args...)...).CombinedOutput()
			return string(out), err
		}
		if out, err := inContainer("mount", "-o", "remount,bind,rw", h.at("/mnt/x")); err == nil {
			t.Errorf("it was remounted: %s", out)
		}
		if out, err := inContainer("mount", "-t", "tmpfs", "mine", h.at("/dev")); err != nil {
			t.Errorf("its root cannot mount at all: %v, %s", err, out) // then the above says nothing
		}
		if err := os.WriteFile(h.root+"/mnt/x/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing: %v, want EROFS", err)
		}
	})
}

// A system container shares its mounts with its services, which have namespaces of
// their own: there a path comes and goes, too.
func TestAPathReachesTheContainersOwnNamespaces(t *testing.T) {
	h, target := shared(t, nil)
	within(t, target, func() error { return unix.Mount("", h.image, "", unix.MS_SHARED|unix.MS_REC, "") })
	service := exec.Command("nsenter", "-t", fmt.Sprint(h.pid), "-m", "--", "unshare", "-m", "--propagation", "unchanged", "cat")
	stdin, err := service.StdinPipe()
	must(t, err)
	must(t, service.Start())
	t.Cleanup(func() { stdin.Close(); must(t, service.Wait()) })
	ready := sandbox.Await(func() bool { // it has its namespace, and is the program in it
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", service.Process.Pid))
		return err == nil && string(name) == "cat\n"
	})
	if !ready {
		t.Fatal("the service does not start")
	}
	at := func() string {
		for line := range strings.Lines(mountsOf(t, service.Process.Pid)) {
			if strings.HasPrefix(line, h.at("/mnt/x")+" ") {
				return line
			}
		}
		return ""
	}
	b := bindOf(hostDir(t), "/mnt/x")
	give(t, target, b)
	if at() == "" {
		t.Error("it did not come")
	}
	must(t, take(t, target, nil, b))
	if line := at(); line != "" {
		t.Errorf("it stays: %s", line)
	}
}

func TestAPathIsLostWhenNothingOfItIsThere(t *testing.T) {
	ways(t, nil, func(t *testing.T, h *fakeContainer, target *resource.Target) {
		b := bindOf(hostDir(t), "/mnt/x")
		lost := func(want bool, when string) {
			t.Helper()
			if got, _ := mounts.Lost(t.Context(), target, b); got != want {
				t.Errorf("%s: lost %v", when, got)
			}
		}
		lost(true, "before it is made")
		give(t, target, b)
		lost(false, "made")
		within(t, target, func() error { return unix.Mount("tmpfs", h.at("/mnt/x"), "tmpfs", 0, "") })
		lost(false, "mounted over")
		within(t, target, func() error { return unix.Unmount(h.at("/mnt/x"), unix.MNT_DETACH) })
		within(t, target, func() error { return unix.Unmount(h.at("/mnt/x"), unix.MNT_DETACH) })
		lost(true, "unmounted by the container")
	})
}

// A container that spoils its shared path keeps nothing by that.
func TestASpoiltSharedPathKeepsNoPath(t *testing.T) {
	for what, spoil := range map[string]func(h *fakeContainer, sha string) error{
		"something in a mount point": func(h *fakeContainer, sha string) error {
			return firstOf(unix.Mount("", h.at("/.sharedpath"), "", unix.MS_REMOUNT|unix.MS_BIND, ""),
				unix.Unmount(h.at("/.sharedpath/"+sha), unix.MNT_DETACH), os.WriteFile(h.at("/.sharedpath/"+sha+"/mine"), nil, 0o600))
		},
		"names like ours": func(h *fakeContainer, _ string) error {
			return firstOf(unix.Mount("", h.at("/.sharedpath"), "", unix.MS_REMOUNT|unix.MS_BIND, ""),
				os.MkdirAll(h.at("/.sharedpath/"+strings.Repeat("ab", 32)+"/mine"), 0o700), os.Symlink("/etc", h.at("/.sharedpath/"+strings.Repeat("cd", 32))))
		},
		"unmounted": func(h *fakeContainer, _ string) error { return unix.Unmount(h.at("/.sharedpath"), unix.MNT_DETACH) },
		"mounted over": func(h *fakeContainer, _ string) error {
			return unix.Mount("tmpfs", h.at("/.sharedpath"), "tmpfs", 0, "")
		},
	} {
		t.Run(what, func(t *testing.T) {
			h, target := shared(t, nil)
			b := bindOf(hostDir(t), "/mnt/x")
			give(t, target, b)
			sha := names(t, filepath.Join(midpath, h.id))
			within(t, target, func() error { return spoil(h, sha) })
			t.Cleanup(func() { must(t, os.RemoveAll(filepath.Join(master, h.id, sha))) })
			t.Cleanup(func() { must(t, os.RemoveAll(filepath.Join(master, h.id, strings.Repeat("ab", 32)))) })
			must(t, mounts.DetectSharedPath(target))
			must(t, take(t, target, nil, b))
			if at := h.mountAt(t, "/mnt/x"); at != "" {
				t.Errorf("still mounted: %s", at)
			}
			for line := range strings.Lines(allMounts(t)) {
				if strings.Contains(line, h.id+"/") {
					t.Errorf("on the host: %s", line)
				}
			}
		})
	}
}
