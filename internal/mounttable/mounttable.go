// Package mounttable finds mounts in the mount namespaces of a container's
// processes by what they show, wherever they are now, and unmounts them there. A
// path is only the way to a mount: the mount's number says whether it led there.
package mounttable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/rootfs"
)

// Left is a mount that could not be reached: something is mounted over it, or the
// container moves it faster than we follow.
type Left struct {
	*mountinfo.Info
	PID int // a process that has it
}

// Of lists the mounts that process pid sees.
func Of(pid int) ([]*mountinfo.Info, error) {
	f, err := open.File(fmt.Sprintf("/proc/%d/mountinfo", pid), unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// rounds bounds how often the mounts are looked for: while the container's processes
// rename what is above them, or copy their namespace, some are missed.
const rounds = 64

// Detach unmounts every mount that is ours in the mount namespaces of the
// processes, and returns those that are left. The first process is the
// container's init; one that has ended has nothing.
func Detach(processes func() ([]int, error), ours func(*mountinfo.Info) bool) ([]Left, error) {
	for try := 1; ; try++ {
		pids, err := namespaces(processes)
		if err != nil {
			return nil, err
		}
		var left []Left
		done := 0
		for _, pid := range pids {
			n, missed, err := detachIn(pid, ours)
			if err != nil && !ended(err) {
				return nil, err
			}
			done += n
			left = append(left, missed...)
		}
		switch {
		case done == 0 && len(left) == 0:
			return nil, nil
		case done == 0 && try > rounds/8, try > rounds:
			return left, nil
		}
	}
}

// ended tells whether err is that of looking at a process that is no more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// namespaces picks one process of each mount namespace, but the host's.
func namespaces(processes func() ([]int, error)) ([]int, error) {
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{host: true}
	return slices.DeleteFunc(pids, func(pid int) bool {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		known := seen[ns] || err != nil
		seen[ns] = true
		return known
	}), nil
}

// detachIn unmounts what is ours in the namespace of one process, as far as it is
// reached from the process's root or from that of the namespace: what is mounted
// on the root of a process is over it, not below.
func detachIn(pid int, ours func(*mountinfo.Info) bool) (done int, left []Left, err error) {
	ns, err := nsenter.EnterMount(pid)
	if err != nil {
		return 0, nil, err
	}
	defer ns.Close()
	var thread int
	if err := ns.Do(func() error { thread = unix.Gettid(); return nil }); err != nil {
		return 0, nil, err
	}
	missed := map[int]Left{}
	for _, viewer := range []int{pid, thread} {
		table, err := Of(viewer)
		if err != nil {
			return done, nil, err
		}
		root, err := rootfs.OfProcess(viewer)
		if err != nil {
			return done, nil, err
		}
		for _, m := range slices.Backward(table) { // what is below goes before
			if !ours(m) {
				continue
			}
			switch err := detach(ns, root, m); {
			case err == nil:
				done++
				delete(missed, m.ID)
			default:
				missed[m.ID] = Left{m, pid}
			}
		}
		root.Close()
	}
	for _, l := range missed {
		left = append(left, l)
	}
	slices.SortFunc(left, func(a, b Left) int { return a.ID - b.ID })
	return done, left, nil
}

// detach unmounts m, if it is what its path leads to.
func detach(ns *nsenter.Mount, root *rootfs.Root, m *mountinfo.Info) error {
	f, err := root.Open(m.Mountpoint, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	if id, err := mountpoint.ID(f); err != nil || id != strconv.Itoa(m.ID) {
		return errors.Join(err, unix.EBUSY)
	}
	return ns.Do(func() error { return Alone(f, nsenter.FD) })
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
func Bind(ns *nsenter.Mount, source, point *os.File, recursive bool) (mnt *os.File, err error) {
	clone, flags := uint(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH), uintptr(unix.MS_BIND)
	if recursive {
		clone, flags = clone|unix.AT_RECURSIVE, flags|unix.MS_REC
	}
	err = ns.Do(func() error {
		fd, err := unix.OpenTree(int(source.Fd()), "", clone)
		if errors.Is(err, unix.ENOSYS) {
			return unix.Mount(nsenter.FD(source), nsenter.FD(point), "", flags, "")
		}
		if err != nil {
			return err
		}
		mnt = os.NewFile(uintptr(fd), point.Name())
		return unix.MoveMount(fd, "", int(point.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	})
	if err != nil {
		mnt.Close()
		if isDir(source) != isDir(point) {
			err = unix.ENOTDIR // as mount(2) says it
		}
		return nil, fmt.Errorf("bind %s on %s: %w", source.Name(), point.Name(), err)
	}
	return mnt, nil
}

func isDir(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.IsDir()
}
