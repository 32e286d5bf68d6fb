package supervisor

import "golang.org/x/sys/unix"

// call describes a system call that may be a point.
type call struct {
	name  string
	class Class
	// args has one letter per argument:
	//	d  directory descriptor of the path that follows
	//	f  descriptor      p  path           s  string
	//	x  hexadecimal     o  octal          i  integer
	//	t  device number   b  buffer, its length is the next argument
	//	_  not shown
	args string
	// narrow decides from the arguments; nil takes class as it is. It returns 0
	// for a call that is no point.
	narrow func(*stopped) Class
	// blocks marks a call that may wait for another thread or process; points of
	// other threads do not wait for its end.
	blocks bool
	// space marks a call that a full disk refuses.
	space bool
}

// calls lists, by number, everything the seccomp filter stops at.
var calls = map[uint64]call{
	unix.SYS_MOUNT:         {name: "mount", class: Change, args: "ppsx"},
	unix.SYS_UMOUNT2:       {name: "umount2", class: Change, args: "px"},
	unix.SYS_MOVE_MOUNT:    {name: "move_mount", class: Change, args: "dpdpx"},
	unix.SYS_OPEN_TREE:     {name: "open_tree", class: Guard, args: "dpx"}, // a clone dies with its descriptor
	unix.SYS_MOUNT_SETATTR: {name: "mount_setattr", class: Change, args: "dpx"},
	unix.SYS_FSOPEN:        {name: "fsopen", class: Guard, args: "sx"},
	unix.SYS_FSCONFIG:      {name: "fsconfig", class: Guard, args: "fis"},
	unix.SYS_FSMOUNT:       {name: "fsmount", class: Guard, args: "fxx"},
	unix.SYS_FSPICK:        {name: "fspick", class: Guard, args: "dpx"},
	unix.SYS_PIVOT_ROOT:    {name: "pivot_root", class: Change, args: "pp"},

	unix.SYS_MKDIR:     {name: "mkdir", class: Change, args: "po", space: true},
	unix.SYS_MKDIRAT:   {name: "mkdirat", class: Change, args: "dpo", space: true},
	unix.SYS_MKNOD:     {name: "mknod", class: Change, args: "pot", space: true},
	unix.SYS_MKNODAT:   {name: "mknodat", class: Change, args: "dpot", space: true},
	unix.SYS_RMDIR:     {name: "rmdir", class: Change, args: "p"},
	unix.SYS_UNLINK:    {name: "unlink", class: Change, args: "p"},
	unix.SYS_UNLINKAT:  {name: "unlinkat", class: Change, args: "dpx"},
	unix.SYS_RENAME:    {name: "rename", class: Change, args: "pp", space: true},
	unix.SYS_RENAMEAT:  {name: "renameat", class: Change, args: "dpdp", space: true},
	unix.SYS_RENAMEAT2: {name: "renameat2", class: Change, args: "dpdpx", space: true},
	unix.SYS_LINK:      {name: "link", class: Change, args: "pp", space: true},
	unix.SYS_LINKAT:    {name: "linkat", class: Change, args: "dpdpx", space: true},
	unix.SYS_SYMLINK:   {name: "symlink", class: Change, args: "sp", space: true},
	unix.SYS_SYMLINKAT: {name: "symlinkat", class: Change, args: "sdp", space: true},
	unix.SYS_CHOWN:     {name: "chown", class: Change, args: "pii"},
	unix.SYS_LCHOWN:    {name: "lchown", class: Change, args: "pii"},
	unix.SYS_FCHOWN:    {name: "fchown", class: Change, args: "fii"},
	unix.SYS_FCHOWNAT:  {name: "fchownat", class: Change, args: "dpiix"},
	unix.SYS_CHMOD:     {name: "chmod", class: Change, args: "po"},
	unix.SYS_FCHMOD:    {name: "fchmod", class: Change, args: "fo"},
	unix.SYS_FCHMODAT:  {name: "fchmodat", class: Change, args: "dpo"},
	unix.SYS_FCHMODAT2: {name: "fchmodat2", class: Change, args: "dpox"},
	unix.SYS_UTIMENSAT: {name: "utimensat", class: Change, args: "dp"},
	unix.SYS_SETXATTR:  {name: "setxattr", class: Change, args: "ps", space: true},
	unix.SYS_LSETXATTR: {name: "lsetxattr", class: Change, args: "ps", space: true},
	unix.SYS_FSETXATTR: {name: "fsetxattr", class: Change, args: "fs", space: true},
	unix.SYS_TRUNCATE:  {name: "truncate", class: Change, args: "pi"},
	unix.SYS_FTRUNCATE: {name: "ftruncate", class: Change, args: "fi"},
	unix.SYS_FALLOCATE: {name: "fallocate", class: Change, args: "fiii", space: true},
	unix.SYS_CREAT:     {name: "creat", class: Change, args: "po", space: true},
	unix.SYS_OPEN:      {name: "open", class: Change, args: "pxo", narrow: openFlags(1), space: true},
	unix.SYS_OPENAT:    {name: "openat", class: Change, args: "dpxo", narrow: openFlags(2), space: true},
	unix.SYS_OPENAT2:   {name: "openat2", class: Change, args: "dp", narrow: openHow, space: true},
	unix.SYS_WRITE:     {name: "write", class: Change, args: "fbi", narrow: fileWrite, space: true},
	unix.SYS_PWRITE64:  {name: "pwrite64", class: Change, args: "fbii", narrow: fileWrite, space: true},
	unix.SYS_WRITEV:    {name: "writev", class: Change, args: "f", narrow: fileWrite, space: true},
	unix.SYS_PWRITEV:   {name: "pwritev", class: Change, args: "f", narrow: fileWrite, space: true},
	unix.SYS_PWRITEV2:  {name: "pwritev2", class: Change, args: "f", narrow: fileWrite, space: true},
	unix.SYS_SENDFILE:  {name: "sendfile", class: Change, args: "ff", narrow: fileWrite, space: true},
	unix.SYS_SENDTO:    {name: "sendto", class: Change, args: "f", narrow: netlinkSend},
	unix.SYS_SENDMSG:   {name: "sendmsg", class: Change, args: "f", narrow: netlinkSend},
	unix.SYS_BPF:       {name: "bpf", class: Change, args: "i"},
	unix.SYS_KILL:      {name: "kill", class: Change, args: "ii", narrow: realSignal},

	unix.SYS_SETHOSTNAME:     {name: "sethostname", class: Change, args: "bi"},
	unix.SYS_INIT_MODULE:     {name: "init_module", class: Change, args: "_is"},
	unix.SYS_FINIT_MODULE:    {name: "finit_module", class: Change, args: "fsx"},
	unix.SYS_DELETE_MODULE:   {name: "delete_module", class: Change, args: "sx"},
	unix.SYS_COPY_FILE_RANGE: {name: "copy_file_range", class: Change, args: "f_f_ix", space: true},

	unix.SYS_FSYNC:     {name: "fsync", class: Guard, args: "f", space: true},
	unix.SYS_FDATASYNC: {name: "fdatasync", class: Guard, args: "f", space: true},
	unix.SYS_SYNCFS:    {name: "syncfs", class: Guard, args: "f", space: true},
	unix.SYS_FLOCK:     {name: "flock", class: Guard, args: "fx", blocks: true},
	unix.SYS_FCNTL:     {name: "fcntl", class: Guard, args: "fi", narrow: fileLock, blocks: true},
	unix.SYS_SETNS:     {name: "setns", class: Guard, args: "fx"},
	unix.SYS_UNSHARE:   {name: "unshare", class: Guard, args: "x"},
	unix.SYS_CHROOT:    {name: "chroot", class: Guard, args: "p"},
	unix.SYS_CHDIR:     {name: "chdir", class: Guard, args: "p"},
	unix.SYS_FCHDIR:    {name: "fchdir", class: Guard, args: "f"},
	unix.SYS_EXECVE:    {name: "execve", class: Guard, args: "p", blocks: true},
	unix.SYS_EXECVEAT:  {name: "execveat", class: Guard, args: "dp", blocks: true},
}

// openFlags tells an open that creates or empties a file from one that looks.
func openFlags(arg int) func(*stopped) Class {
	return func(s *stopped) Class { return openClass(s.arg[arg]) }
}

// resolveCached is RESOLVE_CACHED of openat2(2).
const resolveCached = 0x20

// cachedOnly tells whether openat2 is to look into the kernel's cache only (Linux
// 5.12). What that has is another thing in each run, and depends on what else the
// machine does: the program is always told to ask.
func cachedOnly(s *stopped) bool {
	resolve, ok := s.word(s.arg[2] + 16) // in struct open_how
	return ok && resolve&resolveCached != 0
}

func openHow(s *stopped) Class {
	flags, ok := s.word(s.arg[2]) // struct open_how begins with the flags
	if !ok {
		return 0
	}
	return openClass(flags)
}

func openClass(flags uint64) Class {
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	if flags&unix.O_PATH != 0 {
		return Look
	}
	if flags&(unix.O_CREAT|unix.O_TRUNC|tmpfile) != 0 {
		return Change
	}
	return Look
}

// fileWrite takes writes to files, among them those of cgroup, proc and sys, and
// leaves out the standard streams, pipes, sockets and what the kernel calls
// anonymous inodes (eventfd, epoll, timers).
func fileWrite(s *stopped) Class {
	if s.arg[0] <= 2 || !s.isFile(s.arg[0]) {
		return 0
	}
	return Change
}

func netlinkSend(s *stopped) Class {
	if !s.isNetlink(s.arg[0]) {
		return 0
	}
	return Change
}

func fileLock(s *stopped) Class {
	switch s.arg[1] {
	case unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return Guard
	}
	return 0
}

// realSignal leaves out the question whether a process lives.
func realSignal(s *stopped) Class {
	if s.arg[1] == 0 {
		return 0
	}
	return Change
}
