// Package credentials makes files as somebody else's (credentials(7)): what is created
// belongs to its owner, and has its mode and SELinux label, from its first moment on, so
// that nothing that has a name meanwhile is changed afterwards. The kernel keeps all of
// this per thread.
package credentials

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// Owner is the user and group, in host ids, that own what is created for a
// container.
type Owner struct{ UID, GID int }

// Maker is who makes a file.
type Maker struct {
	Owner
	Label string // of SELinux, where the host has that; "": the policy's
}

// Root runs create, which makes a file, with all of root's rights. The file has the
// mode that create says, whatever the umask.
func (m Maker) Root(create func() error) error {
	// The umask is the process's.
	defer unix.Umask(unix.Umask(0))
	switch {
	case m.labels():
		// Taking the label back may fail. A thread that ends need not.
		return onOwnThread(func() error {
			if err := m.label(); err != nil {
				return err
			}
			return withFsIDs(m.Owner, create)
		})
	case m.Owner == Owner{}:
		return create()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return withFsIDs(m.Owner, create)
}

// onOwnThread runs f on a thread that ends with f, and with it all that f sets for the thread.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		done <- f()
	}()
	return <-done
}

// withFsIDs runs create with other ids for files. Root's capabilities stay: the kernel
// takes those for files with the id, and gives them back with it.
func withFsIDs(own Owner, create func() error) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if own.UID != 0 {
		if err := unix.Capget(&header, &has[0]); err != nil {
			return os.NewSyscallError("capget", err)
		}
	}
	// setfsuid(2) has no errors to give: root may set any, and come back.
	_, _ = unix.SetfsgidRetGid(own.GID)
	defer unix.SetfsgidRetGid(0)
	if own.UID != 0 {
		_, _ = unix.SetfsuidRetUid(own.UID)
		defer unix.SetfsuidRetUid(0)
		if err := unix.Capset(&header, &has[0]); err != nil {
			return os.NewSyscallError("capset", err)
		}
	}
	return create()
}

// Range is a range of ids of a user namespace, in host ids: of linux.uidMappings, say.
type Range struct{ First, Size uint32 }

// Rights are what the root user of a container may do with files.
type Rights struct {
	// UIDs and GIDs are its user namespace's; nil: it has none of its own.
	UIDs, GIDs []Range
	// Override tells whether it can have CAP_DAC_OVERRIDE; nil: it cannot.
	Override func() bool
}

// Run runs create, which makes a file in the open directory dir, with the rights that
// the container's root has there, and no more: capabilities count only for what belongs
// to ids of its user namespace (capable_wrt_inode_uidgid in the kernel).
func (r Rights) Run(m Maker, dir *os.File, create func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	override := r.Override != nil && r.Override() && r.Maps(st.Uid, st.Gid)
	return onOwnThread(func() error {
		if err := dropRights(m, override); err != nil {
			return err
		}
		return create()
	})
}

// Maps tells whether both ids are of the container's user namespace.
func (r Rights) Maps(uid, gid uint32) bool { return has(r.UIDs, uid) && has(r.GIDs, gid) }

func has(ids []Range, id uint32) bool {
	return ids == nil || slices.ContainsFunc(ids, func(r Range) bool { return r.First <= id && id-r.First < r.Size })
}

// dropRights gives this thread the rights of somebody else.
func dropRights(m Maker, override bool) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // for a umask of its own
		return os.NewSyscallError("unshare", err)
	}
	unix.Umask(0)
	if m.labels() {
		if err := m.label(); err != nil {
			return err
		}
	}
	// The function of this name changes all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	_, _ = unix.SetfsgidRetGid(m.GID)
	_, _ = unix.SetfsuidRetUid(m.UID)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if override {
		none[0].Effective = 1 << unix.CAP_DAC_OVERRIDE
		none[0].Permitted = none[0].Effective
	}
	return os.NewSyscallError("capset", unix.Capset(&header, &none[0]))
}

// labels tells whether what m makes gets its label.
func (m Maker) labels() bool { return m.Label != "" && hasSELinux() }

// label sets what SELinux gives the files that this thread creates from now on.
func (m Maker) label() error {
	f, err := open.File("/proc/thread-self/attr/fscreate", unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = open.WriteTo(f, m.Label)
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: the host's SELinux policy does not know this label", err)
	}
	if err != nil {
		return fmt.Errorf("label new files: %w", err)
	}
	return nil
}

// hasSELinux tells whether the kernel has SELinux, and it is not switched off.
var hasSELinux = sync.OnceValue(func() bool {
	var fs unix.Statfs_t
	return unix.Statfs("/sys/fs/selinux", &fs) == nil && fs.Type == unix.SELINUX_MAGIC
})
