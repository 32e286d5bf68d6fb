package units

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// leavings are what a container, or whoever else can write there, leaves in a
// directory of ours. out is a directory of the host that must not suffer.
var leavings = map[string]func(t testing.TB, dir, out string){
	"files and directories": func(t testing.TB, dir, _ string) {
		write(t, dir+"/a/b/file", "somebody's")
		write(t, dir+"/file", "somebody's")
		must(t, os.MkdirAll(dir+"/empty/empty", 0))
	},
	"names that are like ours": func(t testing.TB, dir, _ string) {
		write(t, filepath.Join(dir, strings.Repeat("0", 64), "file"), "somebody's")
		write(t, dir+"/node-0000/file", "somebody's")
		write(t, dir+"/.purge-x/file", "somebody's")
		write(t, dir+"/evil\n\x1b[31m\xff/file", "somebody's")
	},
	"what is no file": func(t testing.TB, dir, _ string) {
		must(t, os.Mkdir(dir+"/a", 0o700))
		must(t, unix.Mkfifo(dir+"/a/fifo", 0o600))
		must(t, sandbox.Mknod(dir+"/a/kmsg", unix.S_IFCHR|0o600, 1, 11, 0, 0))
		must(t, sandbox.Mknod(dir+"/disk", unix.S_IFBLK|0o600, 7, 0, 0, 0))
	},
	"links": func(t testing.TB, dir, out string) {
		must(t, os.Mkdir(dir+"/a", 0o700))
		for i, to := range []string{out, out + "/dir", out + "/file", "..", "/", "nowhere"} {
			must(t, os.Symlink(to, fmt.Sprintf("%s/link%d", dir, i)))
			must(t, os.Symlink(to, fmt.Sprintf("%s/a/link%d", dir, i)))
		}
	},
	"a directory deeper than descriptors and paths go": func(t testing.TB, dir, _ string) {
		at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		for range 1100 { // more than 1024 descriptors, and 4096 characters
			must(t, unix.Mkdirat(at, "deep", 0o700))
			next, err := unix.Openat(at, "deep", unix.O_PATH|unix.O_DIRECTORY, 0)
			must(t, err)
			unix.Close(at)
			at = next
		}
		unix.Close(at)
	},
	"more files than are read at once": func(t testing.TB, dir, _ string) {
		must(t, os.Mkdir(dir+"/many", 0o700))
		for i := range 3000 {
			must(t, unix.Mknod(fmt.Sprintf("%s/%d", dir, i), unix.S_IFREG, 0))
			must(t, unix.Mknod(fmt.Sprintf("%s/many/%d", dir, i), unix.S_IFREG, 0))
		}
	},
	"trees of the host, at any depth": func(t testing.TB, dir, out string) {
		for _, at := range []string{"/one", "/a/two", "/a/b/three"} {
			must(t, os.MkdirAll(dir+at, 0o700))
			write(t, dir+at+"/below the mount", "somebody's")
			must(t, unix.Mount(out, dir+at, "", unix.MS_BIND|unix.MS_REC, ""))
			must(t, unix.Mount("", dir+at, "", unix.MS_PRIVATE, "")) // else the next is mounted on the host's, too
			must(t, unix.Mount(out+"/dir", dir+at, "", unix.MS_BIND, ""))
		}
		write(t, dir+"/a/file", "")
		must(t, unix.Mount(out+"/file", dir+"/a/file", "", unix.MS_BIND, ""))
	},
	"the host's whole root": func(t testing.TB, dir, _ string) {
		must(t, os.MkdirAll(dir+"/a/root", 0o700))
		must(t, unix.Mount("/", dir+"/a/root", "", unix.MS_BIND|unix.MS_REC, ""))
	},
	"a tree of the host on it": func(t testing.TB, dir, out string) {
		write(t, dir+"/file", "somebody's")
		must(t, unix.Mount(out, dir, "", unix.MS_BIND, ""))
	},
}

func TestWhatIsLeftBelowTheSharedPathIsRemovedAndNothingThroughIt(t *testing.T) {
	for what, leave := range leavings {
		t.Run(what, func(t *testing.T) {
			out, untouched := victim(t)
			h, target := shared(t, nil)
			data := hostDir(t)
			must(t, addPath(t, target, data, "/mnt/x", "rw"))
			for _, dir := range []string{master, midpath} {
				leave(t, filepath.Join(dir, h.id), out)
			}
			must(t, mounts.PurgeStaging(h.id))
			for _, dir := range []string{master, midpath} {
				gone(t, filepath.Join(dir, h.id))
				if left := mountsBelow(t, filepath.Join(dir, h.id)); left != "" {
					t.Errorf("left mounted:\n%s", left)
				}
			}
			untouched()
			if got := read(t, data+"/file"); got != "hi" {
				t.Errorf("the path's file is %q", got)
			}
		})
	}
}

// A poststop that never ran, or a container that can write there before it has
// ever started.
func TestAStartTakesPlaceWhateverIsLeft(t *testing.T) {
	all := map[string]func(t testing.TB, dir, out string){
		"a file in its place":       func(t testing.TB, dir, _ string) { must(t, firstOf(os.Remove(dir), os.WriteFile(dir, nil, 0o600))) },
		"a link in its place":       func(t testing.TB, dir, out string) { must(t, firstOf(os.Remove(dir), os.Symlink(out, dir))) },
		"a FIFO in its place":       func(t testing.TB, dir, _ string) { must(t, firstOf(os.Remove(dir), unix.Mkfifo(dir, 0o600))) },
		"what cannot be removed":    immutable,
		"a directory without a way": func(t testing.TB, dir, _ string) { must(t, firstOf(os.Mkdir(dir+"/a", 0), os.Chmod(dir, 0))) },
	}
	for what, leave := range leavings {
		all[what] = leave
	}
	for what, leave := range all {
		t.Run(what, func(t *testing.T) {
			out, untouched := victim(t)
			h := hold(t, nil)
			t.Cleanup(func() { must(t, mounts.PurgeStaging(h.id)) })
			for _, dir := range []string{master, midpath} {
				must(t, os.MkdirAll(filepath.Join(dir, h.id), 0o600))
				leave(t, filepath.Join(dir, h.id), out)
			}
			var said []string
			target := h.target(t, hostOwner)
			must(t, mounts.Share(t.Context(), target, func(err error) { said = append(said, err.Error()) }))
			if stays := what == "what cannot be removed"; stays != (len(said) > 0) {
				t.Errorf("it told %q", said)
			}
			data := hostDir(t)
			must(t, addPath(t, target, data, "/mnt/x", "rw"))
			if got := read(t, h.root+"/mnt/x/file"); got != "hi" {
				t.Errorf("the path holds %q", got)
			}
			untouched()
		})
	}
}

// immutable leaves a file that root itself cannot remove until the test ends.
func immutable(t testing.TB, dir, _ string) {
	write(t, dir+"/a/file", "somebody's")
	f, err := os.Open(dir + "/a/file")
	must(t, err)
	const flag = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flag))
	t.Cleanup(func() {
		must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0))
		must(t, f.Close())
	})
}

// While it runs, a container that has made its shared path writable can have the
// names that a path or a device will need: they follow from what is public.
func TestAContainerThatTakesOurNamesGetsItsPathsAllTheSame(t *testing.T) {
	for what, leave := range leavings {
		if what == "a tree of the host on it" || what == "the host's whole root" {
			continue // the host's doing
		}
		t.Run(what, func(t *testing.T) {
			out, untouched := victim(t)
			h, target := shared(t, nil)
			data := hostDir(t)
			for i, host := range []string{data, data + "/file"} {
				sum := sha256.Sum256([]byte(host))
				for _, dir := range []string{master, midpath} {
					place := filepath.Join(dir, h.id, hex.EncodeToString(sum[:]))
					must(t, os.MkdirAll(place, 0o700))
					leave(t, place, out)
				}
				must(t, addPath(t, target, host, fmt.Sprintf("/mnt/%d", i), "rw"))
			}
			if got := read(t, h.root+"/mnt/0/file") + read(t, h.root+"/mnt/1"); got != "hihi" {
				t.Errorf("the paths hold %q", got)
			}
			untouched()
		})
	}
}

func TestAContainerThatTakesANodesNameGetsItsDeviceAllTheSame(t *testing.T) {
	for what, leave := range leavings {
		t.Run(what, func(t *testing.T) {
			out, untouched := victim(t)
			h := hold(t, nil, userns)
			target := h.target(t, resource.MappedRoot{UID: mappedRoot, GID: mappedRoot})
			target.UserNS = true
			must(t, share(t, target))
			d := fuse(t, "/dev/node")
			sum := sha256.Sum256([]byte(d.PathInContainer))
			place := filepath.Join(master, h.id, "node-"+hex.EncodeToString(sum[:8]))
			must(t, os.Mkdir(place, 0o700))
			leave(t, place, out)
			must(t, addDevice(t, target, d))
			must(t, devices.Kind.Verify(t.Context(), target, d))
			untouched()
		})
	}
}

// Whoever has the host's / has the directories of our mounts in it: those of the
// shared path that lie on the host's own file system.
func TestAContainerThatHasTheHostsRootStartsAgain(t *testing.T) {
	h, target := shared(t, nil)
	b := bindOf("/", "/mnt/host")
	give(t, target, b)
	write(t, h.root+"/mnt/host"+filepath.Join(midpath, h.id, "junk/deep/file"), "somebody's")
	for range 2 {
		must(t, mounts.PurgeStaging(h.id))
		gone(t, filepath.Join(midpath, h.id))
	}
	next := hold(t, nil)
	again := next.target(t, hostOwner)
	again.ID = h.id
	must(t, share(t, again))
	give(t, again, b)
	must(t, mounts.Kind.Verify(t.Context(), again, b))
}

// The shared path's file system is one for all containers. One that can write there
// takes all the files that it may have.
func TestOneContainerCannotTakeTheSharedPathFromTheOthers(t *testing.T) {
	greedy, _ := shared(t, nil)
	running, other := shared(t, nil)
	mapped := hold(t, nil, userns).target(t, resource.MappedRoot{UID: mappedRoot, GID: mappedRoot})
	mapped.UserNS = true
	must(t, share(t, mapped))
	var fs unix.Statfs_t
	must(t, unix.Statfs(master, &fs))
	t.Cleanup(func() { // it is the next test's, too
		must(t, unix.Mount("", master, "", unix.MS_REMOUNT, fmt.Sprintf("nr_inodes=%d", fs.Files)))
	})
	used := fs.Files - fs.Ffree
	must(t, unix.Mount("", master, "", unix.MS_REMOUNT, fmt.Sprintf("nr_inodes=%d", used+3000)))
	taken := 0
	takeAll := func() {
		t.Helper()
		for range 20_000 {
			taken++
			if err := unix.Mknod(fmt.Sprintf("%s/%s/%d", master, greedy.id, taken), unix.S_IFREG, 0); errors.Is(err, unix.ENOSPC) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("the file system is not full")
	}
	takeAll()
	must(t, addDevice(t, mapped, fuse(t, "/dev/node")))
	must(t, unix.Mount("", master, "", unix.MS_REMOUNT, fmt.Sprintf("nr_inodes=%d", used+uint64(taken)+20)))
	takeAll()
	must(t, addPath(t, other, hostDir(t), "/mnt/x", "rw"))
	if got := read(t, running.root+"/mnt/x/file"); got != "hi" {
		t.Errorf("the path holds %q", got)
	}
	must(t, unix.Mount("", master, "", unix.MS_REMOUNT, fmt.Sprintf("nr_inodes=%d", used+uint64(taken)+40)))
	takeAll()
	next, target := shared(t, nil)
	must(t, addPath(t, target, hostDir(t), "/mnt/x", "rw"))
	if got := read(t, next.root+"/mnt/x/file"); got != "hi" {
		t.Errorf("the path of one that starts holds %q", got)
	}
}

// The one who leaves things may still be at it.
func TestAPurgeThatIsRacedLeadsNowhereElse(t *testing.T) {
	out, untouched := victim(t)
	top := t.TempDir()
	dir, staged := filepath.Join(top, "ours"), filepath.Join(top, "staged")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			// None of it follows a link.
			_ = os.MkdirAll(staged+"/x/y", 0o700)
			_ = os.Symlink(out+"/dir", staged+"/x/y/link")
			_ = os.Mkdir(dir, 0o700)
			_ = os.Symlink(out, dir+"/link")
			_ = os.Rename(staged, dir+"/a")
			_ = unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
		}
	}()
	for range 500 {
		if err := mountpoint.Purge(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ELOOP) {
			t.Errorf("got %v", err)
		}
	}
	close(stop)
	<-stopped
	must(t, mountpoint.Purge(dir))
	gone(t, dir)
	untouched()
}
