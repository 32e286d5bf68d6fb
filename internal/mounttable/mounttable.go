// Package mounttable finds mounts in the mount namespaces of a container's
// processes by what they show, wherever they are now, and unmounts them there. A
// path is only the way to a mount: the mount's number says whether it led there.
package mounttable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/internal/rootfs"
)

// Container is a container as its mounts are looked for.
type Container struct {
	Threads func() ([]int, error) // its init first
	Whose   string                // in errors
	Wait    *deadline.Waiter      // for its file systems
}

// Left is a mount that could not be reached: something is mounted over it, or the
// container moves it faster than we follow.
type Left struct {
	ID    int
	Point string
	PID   int // a process that has it
}

// In is the mount's path in a container whose root is at root, as a message has it: the
// container has chosen it.
func (l Left) In(root string) string {
	const shown = 200
	path := filepath.Join("/", strings.TrimPrefix(l.Point, root))
	if len(path) > shown {
		return command.Printable(path[:shown]) + "…"
	}
	return command.Printable(path)
}

// maxRounds bounds how often the mounts are looked for: while the container's processes
// rename what is above them, or copy their namespace, some are missed.
const maxRounds = 64

// Detach unmounts every mount that is ours in the mount namespaces of the
// container's processes, and returns those that are left. A process that has ended
// has nothing.
func Detach(c Container, ours func(*mountpoint.Mount) bool) ([]Left, error) {
	for try := 1; ; try++ {
		pids, err := c.namespaces()
		if err != nil {
			return nil, err
		}
		var left []Left
		done := 0
		for _, pid := range pids {
			n, missed, err := c.detachIn(pid, ours)
			if err != nil && !isGoneOrHost(err) {
				return nil, err
			}
			done += n
			left = append(left, missed...)
		}
		switch {
		case done == 0 && len(left) == 0:
			return nil, nil
		case done == 0 && try > maxRounds/8, try > maxRounds && len(left) > 0:
			return left, nil
		case try > maxRounds:
			return nil, errors.New("the container mounts it again faster than it is unmounted: repeat, or stop the container")
		}
	}
}

// isGoneOrHost tells whether err is that of looking at a process that is no more, or is the
// host's: a runtime puts its helper among the container's before it enters.
func isGoneOrHost(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, process.ErrGone) || errors.Is(err, nsenter.ErrHostMount)
}

// namespaces picks one thread of each mount namespace, but the host's and those of
// runtime's helpers.
func (c Container) namespaces() ([]int, error) {
	pids, err := c.Threads()
	if err != nil {
		return nil, err
	}
	// Of a container whose root is the host's, nothing tells them.
	helpers := len(pids) > 0 && !c.onHost(pids[0])
	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{host: true}
	return slices.DeleteFunc(pids, func(pid int) bool {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		known := seen[ns] || err != nil || helpers && c.isHelper(pid)
		seen[ns] = true
		return known
	}), nil
}

// isHelper tells whether a process has the host's root directory and process ids, as a
// helper has that runtime has put into the container's cgroup and that has not entered
// yet: an engine may have a mount namespace of its own. A process of the container that
// was given the host's root directory has process ids of its own.
func (c Container) isHelper(pid int) bool {
	ours, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return false
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return err == nil && its == ours && c.onHost(pid)
}

// onHost tells whether a process has the host's root directory.
func (c Container) onHost(pid int) bool {
	root, err := rootfs.OfProcess(pid, c.Whose, c.Wait)
	if err != nil {
		return false
	}
	defer root.Close()
	same, err := root.Same("/")
	return err == nil && same
}

// maxBatch is how many bytes the paths of the mounts have that are unmounted together:
// a container may have mounted a tree of ours 100,000 times.
const maxBatch = 4 << 20

// detachIn unmounts what is ours in the namespace of one process, as far as it is
// reached from the process's root or from that of the namespace: what is mounted
// on the root of a process is over it, not below.
func (c Container) detachIn(pid int, ours func(*mountpoint.Mount) bool) (done int, left []Left, err error) {
	ns, err := nsenter.EnterMount(pid, c.Whose, c.Wait)
	if err != nil {
		return 0, nil, err
	}
	defer ns.Close()
	thread, err := ns.Thread()
	if err != nil {
		return 0, nil, err
	}
	missed := map[int]Left{}
	var late *deadline.NoAnswer
	for _, viewer := range []int{pid, thread} {
		found, err := find(viewer, ours)
		if err != nil {
			return done, nil, err
		}
		root, err := rootfs.OfProcess(viewer, c.Whose, c.Wait)
		if err != nil {
			return done, nil, err
		}
		for _, m := range slices.Backward(found) { // what is below goes before
			if err := detach(ns, root, m); err == nil {
				done++
				delete(missed, m.ID)
			} else if m.PID = pid; !errors.As(err, &late) {
				missed[m.ID] = m
			}
		}
		root.Close()
	}
	if late != nil {
		return done, nil, late
	}
	for _, l := range missed {
		left = append(left, l)
	}
	sort.Slice(left, func(i, j int) bool { return left[i].ID < left[j].ID })
	return done, left, nil
}

// find lists the mounts that are ours among those that process pid sees.
func find(pid int, ours func(*mountpoint.Mount) bool) (found []Left, err error) {
	size := 0
	err = mountpoint.Each(pid, func(m *mountpoint.Mount) bool {
		if size < maxBatch && ours(m) {
			found = append(found, Left{ID: m.ID, Point: m.Point.String()})
			size += len(m.Point)
		}
		return size < maxBatch
	})
	return found, err
}

// detach unmounts m, if it is what its path leads to.
func detach(ns *nsenter.Mount, root *rootfs.Root, m Left) error {
	f, err := openDeep(root, m.Point)
	if err != nil {
		return err
	}
	defer f.Close()
	if id, err := mountpoint.ID(f); err != nil || id != m.ID {
		return errors.Join(err, unix.EBUSY)
	}
	return ns.Do(func() error { return open.Hold(func() error { return Alone(f, nsenter.FD) }, f) })
}

// openDeep opens a path that may be longer than the kernel takes at once.
func openDeep(root *rootfs.Root, path string) (*os.File, error) {
	if len(path) < unix.PathMax {
		return root.Open(path, unix.O_PATH|unix.O_NOFOLLOW)
	}
	cut := max(strings.LastIndexByte(path[:unix.PathMax], '/'), 0)
	sub, err := root.Sub(path[:cut])
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	return openDeep(sub, path[cut:])
}

// Alone unmounts the mount whose root is open; path is how system calls name it.
// It may be a peer of a tree of the host: were it not cut off first, what is
// mounted below it would be unmounted in all the others. A slave stays one, so that
// a failure changes nothing.
func Alone(mnt *os.File, path func(*os.File) string) error {
	if err := unix.Mount("", path(mnt), "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("set the propagation of %s: %w", mnt.Name(), err)
	}
	if err := unix.Unmount(path(mnt), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", mnt.Name(), err)
	}
	return nil
}

// Bind mounts what source has open on what point has open, both in the namespace
// of ns, and with recursive what is mounted below it. It returns the root of the
// new mount, which no path leads to for sure; nil before Linux 5.2.
func Bind(ns *nsenter.Mount, source, point *os.File, recursive bool) (*os.File, error) {
	made := make(chan *os.File, 1)
	err := ns.Do(func() error {
		return open.Hold(func() error {
			mnt, err := bind(source, point, recursive)
			made <- mnt
			if err != nil {
				return fmt.Errorf("bind %s on %s: %w", source.Name(), point.Name(), err)
			}
			return nil
		}, source, point)
	})
	if err != nil {
		return nil, err
	}
	return <-made, nil
}

func bind(source, point *os.File, recursive bool) (mnt *os.File, err error) {
	clone, flags := uint(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH), uintptr(unix.MS_BIND)
	if recursive {
		clone, flags = clone|unix.AT_RECURSIVE, flags|unix.MS_REC
	}
	fd, err := unix.OpenTree(int(source.Fd()), "", clone)
	if err == nil {
		mnt = os.NewFile(uintptr(fd), point.Name())
		err = unix.MoveMount(fd, "", int(point.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	if err == nil {
		return mnt, nil
	}
	mnt.Close()
	if errors.Is(err, unix.ENOSYS) {
		if err = unix.Mount(nsenter.FD(source), nsenter.FD(point), "", flags, ""); err == nil {
			return nil, nil
		}
	}
	if isDir(source) != isDir(point) {
		err = unix.ENOTDIR // as mount(2) says it
	}
	return nil, err
}

func isDir(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.IsDir()
}
